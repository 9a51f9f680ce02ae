"""Keeping datasets in Postgres: columns that change, rows that go, reports on what is there."""

from trainyard.adapters.postgres.keeping.keeper import PostgresKeeping

__all__ = ["PostgresKeeping"]
