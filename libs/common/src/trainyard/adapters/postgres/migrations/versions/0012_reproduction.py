"""Requests that fit a version again, what came of it, and where runs were."""

from alembic import op

from trainyard.adapters.postgres.migrations import read_sql

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add the columns."""
    op.execute(read_sql("0012_reproduction.sql"))


def downgrade() -> None:
    """Take them away; only tests do this."""
    op.execute("ALTER TABLE core.run DROP COLUMN environment, DROP COLUMN reproduction")
    op.execute("ALTER TABLE core.training_request DROP COLUMN reproduces")
