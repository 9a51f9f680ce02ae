"""Copies of artifacts beside the object store, and what it lost."""

from alembic import op

from trainyard.adapters.postgres.migrations import read_sql

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Make the tables and the column."""
    op.execute(read_sql("0016_copies.sql"))


def downgrade() -> None:
    """Take them away; only tests do this."""
    op.execute("ALTER TABLE core.version DROP COLUMN lost_at")
    op.execute("DROP TABLE core.store_life")
    op.execute("DROP TABLE core.artifact_copy")
