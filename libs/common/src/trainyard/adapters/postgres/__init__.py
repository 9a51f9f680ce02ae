"""Postgres: engine, migrations and the records of every service."""
