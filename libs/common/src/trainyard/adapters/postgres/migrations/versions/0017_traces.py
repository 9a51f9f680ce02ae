"""Finding what carries a trace id."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"

_TABLES = ("batch", "training_request", "feedback", "prediction")


def upgrade() -> None:
    """Make an index on each table that has the id, and on each month of the prediction log.

    Months that are made from now on get theirs from core.prediction, under the same name.
    """
    with op.get_context().autocommit_block():
        for table in (*_TABLES, *_months()):
            # A run that was killed leaves an invalid one.
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS core.{table}_trace_id_idx")
            op.execute(f"CREATE INDEX CONCURRENTLY {table}_trace_id_idx ON core.{table} (trace_id)")


def downgrade() -> None:
    """Take them away; only tests do this."""
    for table in (*_TABLES, *_months()):
        op.execute(f"DROP INDEX IF EXISTS core.{table}_trace_id_idx")


def _months() -> list[str]:
    found = op.get_bind().execute(
        sa.text(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
            " WHERE i.inhparent = 'core.prediction'::regclass ORDER BY c.relname"
        )
    )
    return list(found.scalars())
