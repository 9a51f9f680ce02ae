"""Rows that go again, and what is known of those that stay: levels, and when a batch was changed."""

from alembic import op

from trainyard.adapters.postgres.migrations import read_sql

revision = "0007"
down_revision = "0004"


def upgrade() -> None:
    """Add them."""
    op.execute(read_sql("0007_keeping.sql"))


def downgrade() -> None:
    """Take them away; only tests do this."""
    op.execute("DROP FUNCTION core.hold_models(bigint)")
    op.execute("DROP TABLE core.level")
    op.execute("ALTER TABLE core.erasure DROP COLUMN last_at")
    op.execute("ALTER TABLE core.batch DROP COLUMN changed_at")
    op.execute("ALTER TABLE core.dataset DROP COLUMN removed_rows")
