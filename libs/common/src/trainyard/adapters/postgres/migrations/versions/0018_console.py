"""What the console shows: the lines that runs have said, and predictions by the hour."""

from alembic import op

from trainyard.adapters.postgres.migrations import read_sql

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Make the tables."""
    op.execute(read_sql("0018_console.sql"))


def downgrade() -> None:
    """Take them away; only tests do this."""
    op.execute("DROP TABLE core.traffic, core.run_line")
