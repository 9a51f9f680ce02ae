"""Packed column blocks, from which a snapshot is read again, and the key of a version's extract."""

from alembic import op

from trainyard.adapters.postgres.migrations import read_sql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add them."""
    op.execute(read_sql("0006_blocks.sql"))


def downgrade() -> None:
    """Take them away; only tests do this."""
    op.execute("DROP TABLE core.block, core.block_epoch")
    op.execute("ALTER TABLE core.version DROP COLUMN extract_key")
