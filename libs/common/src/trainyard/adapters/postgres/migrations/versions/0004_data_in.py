"""Rows straight into their tables; erasure, reports, progress; tables of datasets made by one function."""

from alembic import op

from trainyard.adapters.postgres.migrations import read_sql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add them."""
    op.execute(read_sql("0004_data_in.sql"))


def downgrade() -> None:
    """Take them away; only tests do this."""
    op.execute("DROP OWNED BY trainyard_ingest")  # what it was granted here; the role belongs to the whole server
    op.execute("DROP FUNCTION core.shape_dataset(bigint)")
    op.execute(read_sql("0004_back.sql"))
    op.execute("DROP TABLE core.dataset_revision, core.loading, core.erasure")
    op.execute("DROP INDEX core.batch_unreported, core.batch_by_span")
    op.execute("ALTER TABLE core.dataset DROP COLUMN settings, DROP COLUMN revision")
    op.execute("UPDATE core.batch SET checksum = 0 WHERE checksum IS NULL")
    op.execute(
        "ALTER TABLE core.batch DROP COLUMN checksum_columns, DROP COLUMN removed_count, DROP COLUMN report,"
        " DROP COLUMN reported_at, ALTER COLUMN checksum SET NOT NULL, ALTER COLUMN checksum SET DEFAULT 0"
    )
    op.execute("ALTER TABLE core.version DROP COLUMN not_reproducible")
