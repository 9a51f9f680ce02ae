"""What every board of batches on their way in does.

The class needs the fixtures ``board``, ``warehouse`` (its ledger, empty), ``clock`` (the board's, a ManualClock),
``age``: a callable that makes a line, by its id, so many seconds older, and ``kept``: one that counts all lines.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from trainyard.contracts.loading import Origins
from trainyard.contracts.warehouse import Intake, Rows
from trainyard.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainyard.clock import ManualClock
    from trainyard.contracts.loading import LoadingBoard
    from trainyard.contracts.warehouse import Dataset, Warehouse

    Age = Callable[[str, float], None]
    Kept = Callable[[], int]

_SCHEMA = Schema.from_dict({"columns": [{"name": "id", "type": "int"}]})
_ORIGINS = Origins("http", "k1", "trace-7", 1_000)


def _id() -> str:
    return str(uuid.uuid4())


class LoadingContract:
    """Lines that come, change, go, and are forgotten."""

    @pytest.fixture
    def dataset(self, warehouse: Warehouse) -> Dataset:
        """An empty dataset."""
        return warehouse.create("shop", _SCHEMA, actor="k1")[0]

    def test_nothing_stands_there_before_the_first_word(self, board: LoadingBoard, dataset: Dataset) -> None:
        """A batch that ends before it says anything was never on the board."""
        ident = _id()
        line = board.begin(ident, dataset, _ORIGINS)
        assert (board.listed(dataset, 9), board.find(ident)) == ([], None)
        line.end()
        assert board.listed(dataset, 9) == []

    def test_the_first_word(self, board: LoadingBoard, dataset: Dataset) -> None:
        """A line has everything that is known of its batch."""
        ident = _id()
        board.begin(ident, dataset, _ORIGINS).touch("receiving", 10, 2)
        (found,) = board.listed(dataset, 9)
        assert found == board.find(ident)
        assert (found.id, found.dataset, found.origins) == (ident, "shop", _ORIGINS)
        assert (found.stage, found.bytes_done, found.rows_done) == ("receiving", 10, 2)
        shown = found.as_dict()
        assert (shown["state"], shown["trace_id"], shown["progress"]["bytes_total"]) == ("loading", "trace-7", 1_000)

    def test_words_once_a_second_and_at_every_stage(
        self, board: LoadingBoard, dataset: Dataset, clock: ManualClock
    ) -> None:
        """In the same stage a second must pass; another stage is written at once."""
        line = board.begin(_id(), dataset, _ORIGINS)
        seen = []
        for stage, wait, count in (
            ("receiving", 0.0, 1),
            ("receiving", 0.9, 2),
            ("receiving", 0.2, 3),
            ("waiting", 0.0, 4),
            ("loading", 0.0, 5),
            ("loading", 0.5, 6),
        ):
            clock.advance(wait)
            line.touch(stage, count * 10, count)
            (found,) = board.listed(dataset, 9)
            seen.append((found.stage, found.bytes_done, found.rows_done))
        assert seen == [
            ("receiving", 10, 1),
            ("receiving", 10, 1),
            ("receiving", 30, 3),
            ("waiting", 40, 4),
            ("loading", 50, 5),
            ("loading", 50, 5),
        ]

    def test_the_end(self, board: LoadingBoard, dataset: Dataset) -> None:
        """The line goes, and a word that comes late does not bring it back."""
        line = board.begin(_id(), dataset, _ORIGINS)
        line.touch("loading", 1, 1)
        line.end()
        line.touch("committing", 2, 2)
        assert board.listed(dataset, 9) == []

    def test_newest_first_and_by_dataset(
        self, board: LoadingBoard, warehouse: Warehouse, dataset: Dataset, clock: ManualClock
    ) -> None:
        """A dataset's own lines, at most as many as asked for."""
        other, _ = warehouse.create("other", _SCHEMA, actor="k1")
        idents = [_id() for _ in range(3)]
        for ident in idents:
            clock.advance(0.01)
            board.begin(ident, dataset, _ORIGINS).touch("loading", 1, 1)
        board.begin(_id(), other, Origins("landing", "landing/other/a.csv")).touch("loading", 1, 1)
        assert [found.id for found in board.listed(dataset, 2)] == idents[:0:-1]
        (found,) = board.listed(other, 9)
        assert found.origins == Origins("landing", "landing/other/a.csv", None, None)

    def test_what_is_in_the_ledger_is_not_on_its_way(
        self, board: LoadingBoard, warehouse: Warehouse, dataset: Dataset
    ) -> None:
        """Between COMMIT and the end of the line the ledger counts."""
        ident = _id()
        board.begin(ident, dataset, _ORIGINS).touch("committing", 1, 1)
        intake = Intake(source="http", source_name="k1", fingerprint="f", body_sha256="x")
        stored = warehouse.load(dataset, Rows(("id",), iter([b"1\n"])), lambda: intake, batch_id=ident)
        assert stored.batch.id == ident
        assert (board.listed(dataset, 9), board.find(ident)) == ([], None)

    def test_lines_of_processes_that_are_no_more(
        self, board: LoadingBoard, dataset: Dataset, age: Age, kept: Kept
    ) -> None:
        """A minute without a word hides a line, the first word of another takes it away, its own brings it back."""
        old, young, next_one = _id(), _id(), _id()
        lines = [board.begin(ident, dataset, _ORIGINS) for ident in (old, young)]
        for line in lines:
            line.touch("loading", 1, 1)
        age(old, 61)
        assert [found.id for found in board.listed(dataset, 9)] == [young]
        assert board.find(old) is None
        assert kept() == 2
        board.begin(next_one, dataset, _ORIGINS).touch("loading", 1, 1)
        assert kept() == 2
        lines[0].touch("committing", 2, 2)
        assert board.find(old) is not None

    @pytest.mark.parametrize("ident", ["", "x", "' OR 1", "00000000-0000-0000-0000-000000000000"])
    def test_ids_that_nobody_has(self, board: LoadingBoard, ident: str) -> None:
        """Any text may be asked for."""
        assert board.find(ident) is None
