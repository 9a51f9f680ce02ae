"""How far a body is: what the board hears of it, and that no trouble with the board reaches the load."""

from __future__ import annotations

import io

import pytest

from trainyard.clock import ManualClock
from trainyard.errors import ServiceError, TransientError
from trainyard.schema import Schema
from trainyard.testing.fakes import MemoryLoadingBoard, MemoryWarehouse
from trainyard_ingest.domain.formats import CSV
from trainyard_ingest.use_cases.intake import Origin, RowIntake

SCHEMA = Schema.from_dict({"columns": [{"name": "id", "type": "int"}, {"name": "note", "type": "text"}]})
LARGE = b"id,note\n" + b"".join(b"%d,%s\n" % (number, b"x" * 1000) for number in range(3000))
SMALL = b"id,note\n1,a\n"


class Scene:
    """An intake with a board, and a dataset."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.warehouse = MemoryWarehouse(self.clock)
        self.board = MemoryLoadingBoard(self.clock, self.warehouse)
        self.intake = RowIntake(self.warehouse, self.clock, board=self.board)
        self.dataset, _ = self.warehouse.create("shop", SCHEMA, actor="k")

    def take(self, body: bytes, size: int | None = None, fingerprint: str | None = None):
        """Take a CSV body whose length was announced as ``size``."""
        return self.intake.take("shop", io.BytesIO(body), CSV, Origin("http", "k", fingerprint, "trace", size))


@pytest.fixture
def scene() -> Scene:
    """A scene of the test's own."""
    return Scene()


@pytest.mark.parametrize("announced", [True, False])
def test_a_large_body_goes_through_all_stages(scene, announced):
    """Receiving, waiting, loading, committing, in that order, and the line is wiped out at the end."""
    scene.take(LARGE, len(LARGE) if announced else None)
    stages = [stage for stage, _, _ in scene.board.words]
    assert list(dict.fromkeys(stages)) == ["receiving", "waiting", "loading", "committing"]
    assert scene.board.words[-1] == ("committing", len(LARGE), 3000)
    assert len(scene.board) == 0


def test_a_small_body_is_not_told(scene):
    """It would cost it time, and it is over before anybody could look."""
    scene.take(SMALL, len(SMALL))
    scene.take(SMALL.replace(b"1", b"2"))
    assert scene.board.words == []


def test_the_batch_bears_the_id_that_the_board_showed(scene):
    """Whoever looked at a batch on its way finds it in the ledger."""
    seen = []
    write = scene.board.write
    scene.board.write = lambda line: (seen.append(line), write(line))
    stored = scene.take(LARGE, len(LARGE))
    assert {line.id for line in seen} == {stored.batch.id}
    assert {(line.origins.trace_id, line.origins.bytes_total) for line in seen} == {("trace", len(LARGE))}


@pytest.mark.parametrize(
    "body", [LARGE.replace(b"id,", b"no,", 1), LARGE.replace(b",x", b',"x', 1), LARGE.replace(b"\n1", b"\nx")]
)
def test_a_refusal_wipes_the_line_out(scene, body):
    """A batch that will never be is not on its way, whenever it turned out."""
    with pytest.raises(ServiceError):
        scene.take(body, len(body))
    assert len(scene.board) == 0


def test_a_body_that_is_known_wipes_the_line_out(scene):
    """By its key before it is read, or by its content behind."""
    scene.take(LARGE, len(LARGE), "f")
    assert not scene.take(LARGE, len(LARGE), "f").new
    scene.take(LARGE, len(LARGE))
    assert not scene.take(LARGE, len(LARGE)).new
    assert len(scene.board) == 0


def test_a_board_that_is_away(scene):
    """The load goes on without it."""
    scene.board.outage = TransientError("away")
    assert scene.take(LARGE, len(LARGE)).batch.rows == 3000


def test_no_board(scene):
    """Nobody needs one to take rows."""
    intake = RowIntake(scene.warehouse, scene.clock)
    stored = intake.take("shop", io.BytesIO(LARGE), CSV, Origin("landing", "k", "f", None, len(LARGE)))
    assert stored.batch.rows == 3000
