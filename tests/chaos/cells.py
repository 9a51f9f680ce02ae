"""One cell of the matrix: a yard, one piece of work, one fault at one point, and what must be true afterwards."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ground import ENOUGH_ROWS, HOST, INGEST, SCHEDULER, TRAINER, clock, wait_for

from trainyard.testing.crashpoints import chaos

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ground import Ground, Keeper, Yard
    from matrix import Cell

#: Far above what any cell needs on an idle machine (8 s): the tests of a whole project may run beside it.
DONE_SECONDS = 90.0
_MODULES = {"scheduler": SCHEDULER, "trainer": TRAINER, "ingest": INGEST}
_FLEET = {"TRAINYARD_FLEET_MAX": "1", "TRAINYARD_IDLE_SECONDS": "1"}


@dataclass(frozen=True)
class Outcome:
    """What a cell that held took."""

    seconds: float
    attempts: int


def run_cell(ground: Ground, cell: Cell) -> Outcome:
    """Run one cell; AssertionError or TimeoutError when something does not hold."""
    with ground.yard(**(_FLEET if cell.row.drive == "fleet" else {})) as yard:
        return _Run(yard, cell).run()


class _Run:
    def __init__(self, yard: Yard, cell: Cell) -> None:
        self._yard = yard
        self._cell = cell
        self._fired: Path = yard.directory / "fired"
        self._armed: Keeper | None = None

    def run(self) -> Outcome:
        begun = clock.monotonic()
        {"rows": self._rows, "landing": self._landing, "fleet": self._fleet}[self._cell.row.drive]()
        self._until(self._fired.exists, lambda: f"{self._cell} did not fire")
        self._check_end()
        self._until(self._done, lambda: f"one request done; there are {self._yard.figures()}")
        self._until(lambda: not self._unsettled(), lambda: f"rest; but {self._unsettled()}")
        self._check_truth()
        return Outcome(clock.monotonic() - begun, self._yard.requests()[0]["attempt"])

    # --- how the point is reached ---

    def _rows(self) -> None:
        self._yard.make_model()
        self._yard.add_rows()
        self._start(SCHEDULER)
        self._start(TRAINER)

    def _landing(self) -> None:
        self._yard.make_model()
        self._yard.setup_aws()
        self._yard.land_rows()
        for module in (INGEST, SCHEDULER, TRAINER):
            self._start(module)

    def _fleet(self) -> None:
        self._yard.make_model()
        self._yard.add_rows()
        self._start(SCHEDULER)
        # The host's trainers inherit its environment; the host itself passes no point.
        self._start(HOST, self._order() if self._cell.row.process == "trainer" else {})

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
        match self._cell.fault:
            case "kill9":
                assert self._armed.wait_end(1, seconds=DONE_SECONDS) == -signal.SIGKILL
            case "sigterm":
                assert self._armed.wait_end(1, seconds=30) == 0, "SIGTERM must lead to an orderly end within 30 s"

    def _done(self) -> bool:
        return [request["state"] for request in self._yard.requests()] == ["done"]

    def _unsettled(self) -> list[str]:
        problems = self._yard.settled()
        if self._cell.row.drive == "fleet":
            problems += [f"instance {name} is left" for name in self._yard.instances()]
            open_launches = self._yard.one("SELECT count(*) FROM core.launch WHERE state IN ('asked', 'launched')")
            problems += [f"{open_launches} launch(es) are open"] if open_launches else []
        return problems

    def _check_truth(self) -> None:
        yard, cell = self._yard, self._cell
        (request,) = yard.requests()
        versions = yard.rows("SELECT request_id::text, version, fence, artifact_key FROM core.version")
        assert [v["request_id"] for v in versions] == [request["id"]], "one request, one version"
        assert versions[0]["fence"] == request["fence"], "the version is the last holder's"
        aliases = yard.rows("SELECT name, version FROM core.alias")
        assert aliases == [{"name": "champion", "version": versions[0]["version"]}], "the alias points to it"
        assert len(yard.rows("SELECT 1 FROM core.deployment")) == 1, "it was promoted once"
        assert yard.artifacts() == [versions[0]["artifact_key"]], "no orphan"
        assert yard.one("SELECT last_seq FROM core.dataset") == ENOUGH_ROWS, "each row once"
        if cell.fault == "sigterm":
            assert request["attempt"] == 1, "a stop that was asked for costs no attempt"
        if self._armed is not None:
            ends = {"kill9": [-signal.SIGKILL], "sigterm": [0]}.get(cell.fault, [])
            assert self._armed.codes == ends, "the process ended as the fault says, and never again"

    def _until(self, condition: Callable[[], object], what: Callable[[], str]) -> None:
        wait_for(condition, what, seconds=DONE_SECONDS)


