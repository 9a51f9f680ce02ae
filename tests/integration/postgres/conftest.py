"""What tests of migrations share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainyard.testing.postgres import PostgresServer


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    """The address of a database without anything."""
    name = postgres.create_database()
    yield postgres.url(name)
    postgres.drop_database(name)
