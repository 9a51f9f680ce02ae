"""Versions of the one Alembic history."""
