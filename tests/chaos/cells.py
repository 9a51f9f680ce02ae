"""One cell of the matrix: a yard, one piece of work, one fault at one point, and what must be true afterwards."""

from __future__ import annotations

import csv
import io
import json
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from asking import Asker
from ground import ENOUGH_ROWS, HOST, INGEST, MODEL, POLL, PREDICTOR, SCHEDULER, TRAINER, clock, wait_for

from trainyard.testing.crashpoints import chaos

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ground import Ground, Keeper, Yard
    from matrix import Cell

#: Far above what any cell needs on an idle machine (8 s): the tests of a whole project may run beside it.
DONE_SECONDS = 120.0
_MODULES = {"scheduler": SCHEDULER, "trainer": TRAINER, "ingest": INGEST, "predictor": PREDICTOR, "poller": POLL}
_LABELS, _FEW_ROWS = 3, 20
#: What gunicorn's master ends with when its worker cannot start.
_BOOT_FAILED = 3
_WATCHED = {"window_rows": 100, "min_rows": 50, "persistence": 1, "max_alarms_per_day": 1}
#: Of a file that is scored: so many rows, of so many bytes, are two parts; one line is bad.
_BATCH_ROWS, _BATCH_ROW_BYTES, _BAD_LINE = 6_000, 1_000, 3_000
#: Another worker takes over soon, and a message comes again within the time that a cell has.
_BATCH = {
    "TRAINYARD_BATCH_LEASE_SECONDS": "3",
    "TRAINYARD_BATCH_LOOK_SECONDS": "1",
    "TRAINYARD_BATCH_SLICE_SECONDS": "10",
    "TRAINYARD_MESSAGE_SECONDS": "10",
}
#: A message is sent again only after an instance has had time to start, as in production.
_FLEET = {"TRAINYARD_FLEET_MAX": "1", "TRAINYARD_IDLE_SECONDS": "1", "TRAINYARD_RESEND_SECONDS": "20"}


@dataclass(frozen=True)
class Outcome:
    """What a cell that held took."""

    seconds: float
    attempts: int


def run_cell(ground: Ground, cell: Cell) -> Outcome:
    """Run one cell; AssertionError or TimeoutError when something does not hold."""
    with ground.yard(**{"fleet": _FLEET, "batch": _BATCH}.get(cell.row.drive, {})) as yard:
        return _Run(yard, cell).run()


class _Run:
    def __init__(self, yard: Yard, cell: Cell) -> None:
        self._yard = yard
        self._cell = cell
        self._fired: Path = yard.directory / "fired"
        self._armed: Keeper | None = None

    def run(self) -> Outcome:
        begun = clock.monotonic()
        drive = self._cell.row.drive
        getattr(self, f"_drive_{drive}")()
        self._until(self._fired.exists, lambda: f"{self._cell} did not fire")
        self._check_end()
        if drive == "pull":
            self._yard.end_pull_leases()
        self._until(self._done, lambda: f"the work done; there are {self._yard.figures()}")
        self._until(lambda: not self._unsettled(), lambda: f"rest; but {self._unsettled()}")
        if drive == "labels":
            self._check_labels()
        if drive == "predictions":
            self._check_predictions()
        if drive == "batch":
            self._check_batch()
        self._check_versions(2 if drive == "drift" else 1)
        self._check_armed()
        return Outcome(clock.monotonic() - begun, max((r["attempt"] for r in self._yard.requests()), default=0))

    # --- how the point is reached ---

    def _drive_rows(self) -> None:
        self._yard.make_model()
        self._yard.add_rows()
        self._start(SCHEDULER)
        self._start(TRAINER)

    def _drive_landing(self) -> None:
        self._yard.make_model()
        self._yard.setup_aws()
        self._yard.land_rows()
        for module in (INGEST, SCHEDULER, TRAINER):
            self._start(module)

    def _drive_pull(self) -> None:
        self._yard.make_model()
        self._yard.offer_rows()
        for module in (INGEST, SCHEDULER, TRAINER):
            self._start(module)

    def _drive_fleet(self) -> None:
        self._yard.make_model()
        self._yard.add_rows()
        self._start(SCHEDULER)
        # The host's trainers inherit its environment; the host itself passes no point.
        self._start(HOST, self._order() if self._cell.row.process == "trainer" else {})

    def _drive_labels(self) -> None:
        yard = self._yard
        self._first_version()
        yard.predict(_LABELS, age=30)
        yard.give_labels(_LABELS)
        self._start(INGEST)

    def _drive_drift(self) -> None:
        """A first version serves rows that are nothing like those it learnt from."""
        yard = self._yard
        self._first_version(on_drift=True, monitoring=_WATCHED)
        yard.profile_version()
        yard.add_rows(_FEW_ROWS)
        yard.predict(_WATCHED["window_rows"], age=500)

    def _drive_predictions(self) -> None:
        """A client with a key asks; whatever is no good answer, it asks again with the same Idempotency-Key."""
        key = self._yard.make_key("predict")
        self._first_version()
        self._until(lambda: list(self._yard.blobs.list(f"aliases/{MODEL}/champion")), lambda: "the alias on S3")
        self._start(INGEST)
        self._start(PREDICTOR)
        self._asker = Asker(self._yard.config.predictor_port, key, MODEL)
        for _ in range(2):
            self._asker.ask_all(seconds=DONE_SECONDS)

    def _drive_batch(self) -> None:
        """A file is dropped that takes two parts; one of its lines is no row."""
        self._first_version()
        self._until(lambda: list(self._yard.blobs.list(f"aliases/{MODEL}/champion")), lambda: "the alias on S3")
        filler = "x" * _BATCH_ROW_BYTES
        lines = [f"{20 + number % 50},{number},{filler}" for number in range(_BATCH_ROWS)]
        lines[_BAD_LINE] = "no row"
        self._yard.blobs.put(f"batch/in/{MODEL}/file.csv", "\n".join(["age,number,filler", *lines]).encode())
        self._start(POLL)

    def _first_version(self, **policy: Any) -> None:
        self._yard.make_model(**policy)
        self._yard.add_rows()
        self._start(SCHEDULER)
        self._start(TRAINER)
        self._until(lambda: self._yard.rows("SELECT 1 FROM core.alias"), lambda: f"a champion; {self._yard.figures()}")

    def _start(self, module: str, variables: dict[str, str] | None = None) -> None:
        armed = variables is None and _MODULES[self._cell.row.process] == module
        keeper = self._yard.keep(module, **(self._order() if armed else variables or {}))
        if armed:
            self._armed = keeper

    def _order(self) -> dict[str, str]:
        return chaos(self._cell.row.point, self._cell.fault, once=self._fired)

    # --- what must be true ---

    def _check_end(self) -> None:
        """The fault did to the process what it says."""
        if self._armed is None:
            return
        if self._cell.row.process == "predictor":
            self._until(lambda: self._boots() >= self._expected_boots(), lambda: "the predictor to be there again")
            return
        match self._cell.fault:
            case "kill9":
                assert self._armed.wait_end(1, seconds=DONE_SECONDS) == -signal.SIGKILL
            case "sigterm":
                assert self._armed.wait_end(1, seconds=30) == 0, "SIGTERM must lead to an orderly end within 30 s"

    def _done(self) -> bool:
        drive = self._cell.row.drive
        if drive == "predictions" and not self._asker.promised <= set(self._logged()):
            return False
        if drive == "batch" and (self._made("summary.json") is None or list(self._yard.blobs.list("batch/open/"))):
            return False
        if drive == "labels" and self._yard.one("SELECT count(*) FROM core.feedback") < _LABELS:
            return False
        return [request["state"] for request in self._yard.requests()] == ["done"] * (2 if drive == "drift" else 1)

    def _unsettled(self) -> list[str]:
        problems = self._yard.settled()
        if self._cell.row.drive == "fleet":
            problems += [f"instance {name} is left" for name in self._yard.instances()]
            open_launches = self._yard.one("SELECT count(*) FROM core.launch WHERE state IN ('asked', 'launched')")
            problems += [f"{open_launches} launch(es) are open"] if open_launches else []
        return problems

    def _check_versions(self, count: int) -> None:
        """Each request has one version, the newest is the champion, and nothing else is there."""
        yard = self._yard
        requests = yard.requests()
        versions = yard.rows("SELECT request_id::text, version, fence, artifact_key FROM core.version ORDER BY version")
        made = [(version["request_id"], version["fence"]) for version in versions]
        assert made == [(r["id"], r["fence"]) for r in requests], "one version for a request, by its last holder"
        assert [version["version"] for version in versions] == list(range(1, count + 1))
        champion = yard.rows("SELECT version FROM core.alias WHERE name = 'champion'")
        assert champion == [{"version": count}], "the alias points to the newest"
        moves = yard.one("SELECT count(*) FROM core.deployment WHERE alias = 'champion'")
        assert moves == count, "each was promoted once"
        assert yard.artifacts() == sorted({version["artifact_key"] for version in versions}), "no orphan"
        rows = ENOUGH_ROWS if count == 1 else ENOUGH_ROWS + _FEW_ROWS
        assert yard.one("SELECT last_seq FROM core.dataset") == rows, "each row once"
        assert yard.one("SELECT count(*) FROM core.alarm") == count - 1, "one alarm for one window"
        if self._cell.fault == "sigterm":
            assert {request["attempt"] for request in requests} == {1}, "a stop that was asked for costs no attempt"

    def _check_labels(self) -> None:
        """Each label is there once."""
        labelled = self._yard.rows("SELECT prediction_id FROM core.feedback")
        assert len(labelled) == len({row["prediction_id"] for row in labelled}) == _LABELS, "each label once"

    def _check_predictions(self) -> None:
        """What was promised is in the log once, and every repetition had the ids of the first."""
        logged = self._logged()
        assert len(logged) == len(set(logged)), "each prediction once"
        assert self._asker.promised <= set(logged) <= self._asker.answered, "what was promised, and nothing unheard of"

    def _check_batch(self) -> None:
        """Every row is there once, in order, and the bad one apart; nothing else is left."""
        output, rejects = self._made("file.csv"), self._made("rejects.ndjson")
        assert output is not None
        assert rejects is not None
        rows = list(csv.DictReader(io.StringIO(output.decode())))
        assert [int(row["number"]) for row in rows] == [n for n in range(_BATCH_ROWS) if n != _BAD_LINE]
        assert len({row["prediction_id"] for row in rows}) == _BATCH_ROWS - 1
        assert [json.loads(line)["row"] for line in rejects.splitlines()] == [_BAD_LINE + 1]
        assert list(self._yard.blobs.list("batch/work/")) == [], "no checkpoint is left"
        assert len(list(self._yard.blobs.list("batch/jobs/"))) == 1, "the file led to one job"

    def _made(self, name: str) -> bytes | None:
        """Return the object of that name which a batch job has made."""
        found = [info.key for info in self._yard.blobs.list(f"batch/out/{MODEL}/") if info.key.endswith(f"/{name}")]
        return self._yard.blobs.get(found[0]).data if found else None

    def _logged(self) -> list[str]:
        return [str(row["id"]) for row in self._yard.rows("SELECT id FROM core.prediction")]

    def _boots(self) -> int:
        """How many workers the predictor has had: its master starts another one when one ends."""
        assert self._armed is not None
        return self._armed.log.read_text().count("Booting worker")

    def _expected_boots(self) -> int:
        ends = self._cell.fault in ("kill9", "sigterm") or (self._cell.row.point, self._cell.fault) == ("K32", "error")
        return 1 + ends

    def _check_armed(self) -> None:
        if self._cell.row.process == "predictor" and self._armed is not None:
            assert self._boots() == self._expected_boots(), "the worker ended as the fault says, and never again"
            # A worker that cannot start ends its master, which is started again as a supervisor does.
            assert self._armed.codes == (
                [_BOOT_FAILED] if (self._cell.row.point, self._cell.fault) == ("K32", "error") else []
            )
            return
        if self._armed is not None:
            ends = {"kill9": [-signal.SIGKILL], "sigterm": [0]}.get(self._cell.fault, [])
            assert self._armed.codes == ends, "the process ended as the fault says, and never again"

    def _until(self, condition: Callable[[], object], what: Callable[[], str]) -> None:
        wait_for(condition, what, seconds=DONE_SECONDS)
