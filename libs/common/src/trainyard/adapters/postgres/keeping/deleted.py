"""Datasets that are deleted while a loop is at work on them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg2.errors

from trainyard.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def unless_deleted() -> Iterator[None]:
    """End the block quietly when the dataset, or its table, turns out to be gone: then nothing is left to do."""
    try:
        yield
    except psycopg2.errors.UndefinedTable:
        pass
    except ServiceError as e:
        if e.code != "unknown_dataset":
            raise
