"""Priorities, instance types, workers and costs."""

from alembic import op

from trainyard.adapters.postgres.migrations import read_sql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add them."""
    op.execute(read_sql("0002_requests_and_workers.sql"))


def downgrade() -> None:
    """Take them away; only tests do this."""
    op.execute("DROP TABLE core.worker, core.fleet_notice")
    op.execute("CREATE INDEX request_by_state ON core.training_request (state) WHERE state IN ('queued', 'running')")
    op.execute(
        "DROP INDEX core.request_counted, core.request_answered, core.request_refused, core.request_by_asker,"
        " core.request_by_age, core.request_urgency, core.run_by_request, core.run_by_end,"
        " core.run_uncosted, core.launch_by_time, core.launch_by_instance, core.launch_by_end, core.outbox_sent,"
        " core.idempotency_by_time"
    )
    op.execute("ALTER TABLE core.outbox DROP COLUMN taken_until, DROP COLUMN delay_seconds")
    op.execute("ALTER TABLE core.model DROP COLUMN cron_upto")
    op.execute("ALTER TABLE core.decision DROP COLUMN times, DROP COLUMN last_at")
    op.execute(
        "ALTER TABLE core.launch DROP COLUMN zone, DROP COLUMN market, DROP COLUMN usd_per_hour,"
        " DROP COLUMN on_demand, DROP COLUMN claimed_until, DROP COLUMN error_kind, DROP COLUMN reason"
    )
    op.execute("ALTER TABLE core.run DROP COLUMN instance_type, DROP COLUMN known_seq, DROP COLUMN cost_usd")
    op.execute(
        "ALTER TABLE core.training_request DROP COLUMN priority, DROP COLUMN instance_types, DROP COLUMN spot,"
        " DROP COLUMN label_seq"
    )
