"""Expand, migrate, contract: while an upgrade lasts the release before works on the new schema, beside this one."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.postgres import previous_release
from tests.integration.postgres.schema import revisions

from trainyard.adapters.postgres.engine import make_engine
from trainyard.adapters.postgres.migrate import migrate
from trainyard.adapters.postgres.prediction_log import PostgresPredictionLog
from trainyard.adapters.postgres.scheduling import PostgresStore
from trainyard.adapters.postgres.snapshots import PostgresSnapshots
from trainyard.adapters.postgres.warehouse import PostgresWarehouse
from trainyard.clock import SystemClock
from trainyard.contracts.prediction_log import Added
from trainyard_ingest.domain.formats import CSV
from trainyard_ingest.use_cases.intake import Origin, RowIntake

if TYPE_CHECKING:
    from collections.abc import Callable

    import sqlalchemy as sa


SCRIPT = Path(__file__).with_name("old_release.py")


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The packages of the release before."""
    return previous_release.unpack(tmp_path_factory.mktemp("release"))


@pytest.fixture
def old(packages: list[str], url: str) -> Callable[..., dict[str, Any]]:
    """Let the release before take a step."""

    def run(step: str, word: str = "", *known: str) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, str(SCRIPT), step, url, word, *known],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(packages)},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr[-6_000:]
        found: dict[str, Any] = json.loads(done.stdout)
        origin = found.pop("from")
        assert any(Path(origin).is_relative_to(path) for path in packages), origin
        return found

    return run


def test_it_is_known(packages: list[str]) -> None:
    """The release's newest revision is the newest that its packages have, and part of the history."""
    (common,) = [path for path in packages if "common" in path]
    newest = max(path.name[:4] for path in Path(common).glob("trainyard/adapters/postgres/migrations/versions/0*.py"))
    assert newest == previous_release.REVISION
    assert newest in revisions()


def test_the_release_before_works_on_the_new_schema(url: str, old: Callable[..., dict[str, Any]]) -> None:
    """It loads old and new datasets, trains, predicts, takes labels and reads, in turns with this release."""
    old("migrate")
    assert old("work", "one") == _worked({"d_one": [1, 40]})
    migrate(url)
    assert old("work", "two", "d_one") == _worked({"d_one": [41, 80], "d_two": [1, 40]})

    engine = make_engine(url, service="new")
    warehouse, log = PostgresWarehouse(engine, SystemClock()), PostgresPredictionLog(engine)
    spans = {name: _load(warehouse, name) for name in ("d_one", "d_two")}
    assert spans == {"d_one": (81, 82), "d_two": (41, 42)}
    first = log.page(model=None, version=None, limit=1)[0].prediction
    assert log.add([first]) == Added(0), "what the release before has logged is known"
    assert [_snapshot_rows(engine, warehouse, name) for name in spans] == [40, 40], "the latest of each key"

    assert old("work", "three", "d_one", "d_two") == _worked(
        {"d_one": [83, 122], "d_two": [43, 82], "d_three": [1, 40]}
    )
    seen = old("read")
    assert [ident for _, ident, _ in seen["log"]] == [
        f"{word}-{n}" for word in ("one", "two", "three") for n in range(3)
    ]
    assert [seq for seq, _, _ in seen["log"]] == sorted(seq for seq, _, _ in seen["log"])
    assert [label for _, _, label in seen["log"]] == [False, None, None] * 3
    assert seen["batches"] == {"d_one": 4, "d_two": 3, "d_three": 1}
    assert (seen["predictions"]["doubled"], seen["predictions"]["strangers"]) == ([], [])
    assert _kinds_of(engine, "m_two") == [("linear", "tree_ensemble"), ["linear", "tree_ensemble"], "linear"]
    engine.dispose()


def _kinds_of(engine: sa.Engine, model: str) -> list[Any]:
    """Return what the release before has stored under other names: in the policy, a request and a trial."""
    with PostgresStore(engine).begin() as records:
        found = records.models.get(model)
        assert found is not None
        (request,) = records.requests.page(9, None, model_id=found.id)
        (run,) = records.requests.runs(model, 9, None)
        shown = records.requests.run(run.id)
        assert shown is not None
        return [found.policy.kinds, request.settings["kinds"], shown.trials[0]["kind"]]


def _worked(spans: dict[str, list[int]]) -> dict[str, Any]:
    return {"spans": spans, "version": 1, "parked": 0}


def _load(warehouse: PostgresWarehouse, name: str) -> tuple[int | None, int | None]:
    body = io.BytesIO(b"id,age,bought\n1,33,true\n2,34,\n")
    batch = RowIntake(warehouse, SystemClock()).take(name, body, CSV, Origin("http", "", f"new:{name}", None)).batch
    return batch.first_seq, batch.last_seq


def _snapshot_rows(engine: sa.Engine, warehouse: PostgresWarehouse, name: str) -> int:
    dataset = warehouse.dataset(name)
    return PostgresSnapshots(engine).read(dataset.id, dataset.last_seq).rows


def test_a_history_that_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where git does not have the release, the test fails and says how to get it; it is never skipped."""
    monkeypatch.setattr(previous_release, "COMMIT", "0" * 40)
    with pytest.raises(RuntimeError, match="clone without --depth, or fetch the rest with `git fetch --unshallow`"):
        previous_release.unpack(tmp_path)
