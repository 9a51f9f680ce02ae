"""The report of a version on its hold-out."""

from alembic import op

from trainyard.adapters.postgres.migrations import read_sql

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add it."""
    op.execute(read_sql("0009_report.sql"))


def downgrade() -> None:
    """Take it away; only tests do this."""
    op.execute("ALTER TABLE core.version DROP COLUMN report")
