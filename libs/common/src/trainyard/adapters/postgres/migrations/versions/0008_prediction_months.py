"""The prediction log in monthly tables that go as a whole; labels by their age; the grants of the ingest role."""

from alembic import op

from trainyard.adapters.postgres.migrations import read_sql

revision = "0008"
down_revision = "0007"

#: An index of a large table takes its time, during which nobody waits for it.
STATEMENT_SECONDS = 3_600


def upgrade() -> None:
    """Add them. What runs outside the transaction comes first and may be repeated."""
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS core.feedback_by_time")  # a killed run leaves an invalid one
        op.execute(
            "CREATE INDEX CONCURRENTLY feedback_by_time ON core.feedback (given_at) WHERE prediction_id IS NOT NULL"
        )
    op.execute(read_sql("0008_prediction_months.sql"))


def downgrade() -> None:
    """Take them away; only tests do this."""
    op.execute("DROP TRIGGER prediction_redirected ON core.prediction")
    op.execute(read_sql("0008_back.sql"))
    op.execute("DROP FUNCTION core.redirect_prediction(), core.forget_predictions(interval, integer)")
    op.execute("DROP FUNCTION core.open_prediction_month(), core.prediction_month(timestamptz)")
    op.execute("DROP TABLE core.prediction_kept")
    op.execute("DROP INDEX core.feedback_by_time")
