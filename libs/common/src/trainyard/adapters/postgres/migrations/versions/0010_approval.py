"""Versions that wait for a person before they may become champion, and what was decided."""

from alembic import op

from trainyard.adapters.postgres.migrations import read_sql

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the table."""
    op.execute(read_sql("0010_approval.sql"))


def downgrade() -> None:
    """Take it away; only tests do this."""
    op.execute("DROP TABLE core.approval")
