"""What the doctor asks Postgres."""

from trainyard.adapters.postgres.doctor.evidence import PostgresDatabase

__all__ = ["PostgresDatabase"]
