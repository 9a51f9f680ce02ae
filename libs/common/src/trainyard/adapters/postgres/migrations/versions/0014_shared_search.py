"""Searches that several workers share; studies that cannot outlive their request."""

from alembic import op

from trainyard.adapters.postgres.migrations import read_sql

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Add seats and invitations, and what guards the studies."""
    op.execute(read_sql("0014_shared_search.sql"))


def downgrade() -> None:
    """Take them away; only tests do this."""
    op.execute("DROP TRIGGER study_of_open_request ON optuna.studies")
    op.execute("DROP TRIGGER study_vanished ON core.training_request")
    op.execute("DROP FUNCTION core.study_of_open_request()")
    op.execute(read_sql("0014_back.sql"))
    op.execute("ALTER TABLE core.trial DROP COLUMN worker")
    op.execute("DROP TABLE core.search_seat")
    op.execute("DROP INDEX core.run_inviting")
    op.execute("ALTER TABLE core.run DROP COLUMN invites, DROP COLUMN search_until, DROP COLUMN invitation")
