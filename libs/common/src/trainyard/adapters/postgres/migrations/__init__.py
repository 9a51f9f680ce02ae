"""The one Alembic history of the database; each revision runs a commented SQL file."""

from importlib.resources import files


def read_sql(name: str) -> str:
    """Return the text of ``sql/<name>``."""
    return files(__package__).joinpath("sql", name).read_text(encoding="utf-8")
