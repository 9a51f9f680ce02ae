"""Versions that were imported, not trained here."""

from alembic import op

from trainyard.adapters.postgres.migrations import read_sql

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Let versions have no request and no run."""
    op.execute(read_sql("0013_imported.sql"))


def downgrade() -> None:
    """Take it away; only tests do this."""
    for column in ("request_id", "run_id", "fence"):
        op.execute(f"ALTER TABLE core.version ALTER COLUMN {column} SET NOT NULL")
