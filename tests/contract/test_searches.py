"""The searches contract on the fake and on Postgres."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from tests.contract.test_runs import MemoryDesk as MemoryRequests
from tests.contract.test_runs import PostgresDesk as PostgresRequests

from trainyard.adapters.postgres.scheduling import PostgresStore
from trainyard.adapters.postgres.searches import PostgresSearches
from trainyard.testing.contracts import SearchesContract
from trainyard.testing.contracts.searches import INVITATION, join, led, seated
from trainyard.testing.fakes import MemorySearches

if TYPE_CHECKING:
    from trainyard.contracts.requests import OpenRequest
    from trainyard.testing.contracts.searches import SearchesDesk


class MemoryDesk:
    """The fake's other side."""

    def __init__(self) -> None:
        self.runs = MemoryRequests()
        self.searches = MemorySearches(self.runs.runs, self.runs.clock)

    def empty(self, seat_id: str) -> None:
        self.searches.seats[seat_id].until = self.runs.clock.monotonic()

    def age(self, request_id: str) -> None:
        self.runs.runs.requests[request_id].created -= 60


class PostgresDesk:
    """The adapter's other side."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self.runs = PostgresRequests(engine)
        self.searches = PostgresSearches(engine)

    def empty(self, seat_id: str) -> None:
        self._do("UPDATE core.search_seat SET seated_until = clock_timestamp() WHERE id = CAST(:id AS uuid)", seat_id)

    def age(self, request_id: str) -> None:
        self._do(
            "UPDATE core.training_request SET created_at = created_at - interval '60 s' WHERE id = CAST(:id AS uuid)",
            request_id,
        )

    def _do(self, statement: str, ident: str) -> None:
        with self._engine.begin() as connection:
            connection.execute(sa.text(statement), {"id": ident})


class TestMemorySearches(SearchesContract):
    """The fake."""

    @pytest.fixture
    def desk(self) -> SearchesDesk:
        """No request yet."""
        return MemoryDesk()


class TestPostgresSearches(SearchesContract):
    """The adapter."""

    @pytest.fixture
    def desk(self, engine: sa.Engine) -> SearchesDesk:
        """No request yet."""
        return PostgresDesk(engine)

    def test_nothing_is_left_of_the_seats(self, desk: SearchesDesk, engine: sa.Engine) -> None:
        """A holder that died leaves its seat to the end of the request, and no longer."""
        lease = led(desk)
        seated(desk)
        count = sa.text("SELECT count(*) FROM core.search_seat")
        with engine.connect() as connection:
            assert connection.scalar(count) == 1
        desk.runs.runs.fail(lease, error_class="data", error="no")
        with engine.connect() as connection:
            assert connection.scalar(count) == 0

    def test_what_the_fleet_sees(self, desk: SearchesDesk, engine: sa.Engine) -> None:
        """Seats that are offered, and the instances of those who have taken one, until the search is over."""
        lease = led(desk, replace(INVITATION, workers=2))
        seat = join(desk, instance_id="i-2")
        assert seat is not None
        seated(desk, "h:3")
        (seen,) = _open(engine)
        assert (seen.invites, set(seen.helpers)) == (2, {"i-2", None})
        assert 0 < seen.search_left <= INVITATION.seconds
        desk.searches.leave(seat.id)
        assert _open(engine)[0].helpers == [None]
        desk.searches.over(lease)
        (seen,) = _open(engine)
        assert (seen.invites, seen.search_left, seen.helpers) == (0, 0.0, [])


def _open(engine: sa.Engine) -> list[OpenRequest]:
    with PostgresStore(engine).begin() as records:
        return records.requests.open_requests()
