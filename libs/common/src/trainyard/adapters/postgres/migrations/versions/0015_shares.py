"""Comparisons with shadows, and challengers that had no share before."""

from alembic import op

from trainyard.adapters.postgres.migrations import read_sql

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Make the table; take the share of every challenger."""
    op.execute(read_sql("0015_shares.sql"))


def downgrade() -> None:
    """Take it away; only tests do this."""
    op.execute("DROP TABLE core.shadow")
    op.execute("UPDATE core.alias SET weight = 1 WHERE name = 'challenger'")
