"""Estimators named by kind in policies, settings and trials; the tables of Optuna's studies."""

from alembic import op

from trainyard.adapters.postgres.migrations import read_sql

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add them."""
    op.execute(read_sql("0011_optuna.sql"))


def downgrade() -> None:
    """Take them away; only tests do this."""
    op.execute("DROP TRIGGER study_ended ON core.training_request")
    op.execute("DROP FUNCTION core.end_study()")
    op.execute("DROP SCHEMA optuna CASCADE")
    op.execute("CREATE SCHEMA optuna")
    op.execute("ALTER TABLE core.trial DROP COLUMN pruned")
    op.execute("DROP FUNCTION core.kind_of(text), core.with_families(jsonb), core.with_kinds(jsonb)")
