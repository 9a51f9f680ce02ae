"""Drift, live quality and their alarms."""

from alembic import op

from trainyard.adapters.postgres.migrations import read_sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add them."""
    op.execute(read_sql("0003_monitoring.sql"))


def downgrade() -> None:
    """Take them away; only tests do this."""
    op.execute("DROP VIEW core.model_prediction")
    op.execute("DROP TABLE core.alarm, core.monitor_window, core.monitor_mark")
    op.execute("DROP INDEX core.prediction_by_version, core.prediction_by_time")
    op.execute("ALTER TABLE core.version DROP COLUMN profile")
