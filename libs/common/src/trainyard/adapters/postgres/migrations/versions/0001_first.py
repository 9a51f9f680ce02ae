"""The first schema: records, ledger, outbox, logs."""

from alembic import op

from trainyard.adapters.postgres.migrations import read_sql

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create everything."""
    op.execute(read_sql("0001_first.sql"))


def downgrade() -> None:
    """Drop everything; only tests do this."""
    op.execute("DROP SCHEMA optuna, data, data_, core CASCADE")
