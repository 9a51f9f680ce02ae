"""Pull sources: what is fetched into a dataset, how far that got, and who does it."""

from alembic import op

from trainyard.adapters.postgres.migrations import read_sql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add them."""
    op.execute(read_sql("0005_sources.sql"))


def downgrade() -> None:
    """Take them away; only tests do this."""
    op.execute("DROP TABLE core.source")
