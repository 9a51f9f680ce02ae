"""Batches on their way in: the fake and Postgres behave alike."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from trainyard.adapters.postgres.engine import make_engine
from trainyard.adapters.postgres.loading import PostgresLoadingBoard, make_board_engine
from trainyard.adapters.postgres.warehouse import PostgresWarehouse
from trainyard.clock import ManualClock
from trainyard.contracts.loading import Origins
from trainyard.errors import TransientError
from trainyard.schema import Schema
from trainyard.testing.contracts import LoadingContract
from trainyard.testing.fakes import MemoryLoadingBoard, MemoryWarehouse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SCHEMA = Schema.from_dict({"columns": [{"name": "id", "type": "int"}]})


@pytest.fixture
def clock() -> ManualClock:
    """Time that the test moves."""
    return ManualClock()


class TestMemory(LoadingContract):
    """The fake."""

    @pytest.fixture
    def warehouse(self, clock: ManualClock) -> MemoryWarehouse:
        """An empty ledger."""
        return MemoryWarehouse(clock)

    @pytest.fixture
    def board(self, clock: ManualClock, warehouse: MemoryWarehouse) -> MemoryLoadingBoard:
        """An empty board."""
        return MemoryLoadingBoard(clock, warehouse)

    @pytest.fixture
    def age(self, board: MemoryLoadingBoard) -> Callable[[str, float], None]:
        """Set a line back."""
        return board.age

    @pytest.fixture
    def kept(self, board: MemoryLoadingBoard) -> Callable[[], int]:
        """Count all lines."""
        return lambda: len(board)


class TestPostgres(LoadingContract):
    """The adapter."""

    @pytest.fixture
    def engine(self, database_url: str) -> Iterator[sa.Engine]:
        """An empty database."""
        engine = make_board_engine(database_url, service="test")
        yield engine
        engine.dispose()

    @pytest.fixture
    def warehouse(self, database_url: str, clock: ManualClock) -> Iterator[PostgresWarehouse]:
        """Its ledger."""
        engine = make_engine(database_url, service="test")
        yield PostgresWarehouse(engine, clock)
        engine.dispose()

    @pytest.fixture
    def board(self, engine: sa.Engine, clock: ManualClock) -> PostgresLoadingBoard:
        """Its board."""
        return PostgresLoadingBoard(engine, clock)

    @pytest.fixture
    def age(self, engine: sa.Engine) -> Callable[[str, float], None]:
        """Set a line back."""

        def back(ident: str, seconds: float) -> None:
            with engine.begin() as connection:
                connection.execute(
                    sa.text(
                        "UPDATE core.loading SET touched_at = touched_at - make_interval(secs => :seconds)"
                        " WHERE id = CAST(:id AS uuid)"
                    ),
                    {"id": ident, "seconds": seconds},
                )

        return back

    @pytest.fixture
    def kept(self, engine: sa.Engine) -> Callable[[], int]:
        """Count all lines."""

        def count() -> int:
            with engine.connect() as connection:
                return int(connection.execute(sa.text("SELECT count(*) FROM core.loading")).scalar_one())

        return count

    def test_a_line_that_somebody_holds_holds_up_nobody(
        self, engine: sa.Engine, board: PostgresLoadingBoard, warehouse: PostgresWarehouse, clock: ManualClock
    ) -> None:
        """Writing gives up soon, says so in the log, and leaves the board alone for half a minute."""
        dataset, _ = warehouse.create("shop", _SCHEMA, actor="k1")
        line = board.begin("0192f7f0-8c1a-7d3e-9d8a-0f4e2c6b1a55", dataset, Origins("http", "k1"))
        line.touch("receiving", 1, 1)
        with engine.begin() as holder:
            holder.execute(sa.text("SELECT FROM core.loading FOR UPDATE"))
            line.touch("loading", 2, 2)
        line.touch("committing", 3, 3)
        assert board.listed(dataset, 9)[0].stage == "receiving"
        clock.advance(31)
        line.touch("committing", 4, 4)
        assert board.listed(dataset, 9)[0].stage == "committing"

    def test_words_of_many_at_once(
        self, board: PostgresLoadingBoard, warehouse: PostgresWarehouse, clock: ManualClock
    ) -> None:
        """Two threads write on one line, as the reader and the loader of a body do; the board stays whole."""
        dataset, _ = warehouse.create("shop", _SCHEMA, actor="k1")
        line = board.begin("0192f7f0-8c1a-7d3e-9d8a-0f4e2c6b1a55", dataset, Origins("http", "k1"))

        def write(stage: str) -> None:
            for count in range(20):
                clock.advance(1)
                line.touch(stage, count, count)

        threads = [threading.Thread(target=write, args=(stage,)) for stage in ("receiving", "loading")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(board.listed(dataset, 9)) == 1


def test_no_database(clock: ManualClock) -> None:
    """Who loads does not notice; who reads is told that it may be there later."""
    warehouse = MemoryWarehouse(clock)
    dataset, _ = warehouse.create("shop", _SCHEMA, actor="k1")
    board = PostgresLoadingBoard(make_board_engine("postgresql+psycopg2://x@127.0.0.1:1/x", service="test"), clock)
    line = board.begin("0192f7f0-8c1a-7d3e-9d8a-0f4e2c6b1a55", dataset, Origins("http", "k1"))
    line.touch("receiving", 1, 1)
    line.end()
    for read in (
        lambda: board.listed(dataset, 9),
        lambda: board.find("0192f7f0-8c1a-7d3e-9d8a-0f4e2c6b1a55"),
    ):
        with pytest.raises(TransientError):
            read()
