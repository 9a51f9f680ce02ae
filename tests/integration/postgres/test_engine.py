"""What every Postgres adapter stands on: errors that say what to do next, and the command that migrates."""

from __future__ import annotations

import subprocess
import sys

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from trainyard.adapters.postgres.engine import transaction
from trainyard.crashpoints import step
from trainyard.errors import TransientError
from trainyard.testing.crashpoints import armed


def test_errors_do_not_tell_values(engine: sa.Engine) -> None:
    """The parameters of a statement do not get into a log by way of an error's text."""
    add = sa.text("INSERT INTO core.api_key (id, name, secret_sha256, scopes) VALUES ('k', NULL, :secret, '{}')")
    with pytest.raises(IntegrityError) as caught, transaction(engine) as connection:
        connection.execute(add, {"secret": b"hash of a key"})
    assert "hash of a key" not in str(caught.value).split("DETAIL")[0]


def test_session_that_the_server_ended(engine: sa.Engine) -> None:
    """A transaction that the server ended is an outage: the same work may be done again."""

    def work() -> None:
        with transaction(engine) as connection:
            mine = connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
            with transaction(engine) as other:
                other.execute(sa.text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": mine})
            connection.execute(sa.text("SELECT 1"))

    with pytest.raises(TransientError):
        work()


@pytest.mark.parametrize(("fault", "stored"), [("error", 0), ("lost", 1)])
def test_step_around_commit(engine: sa.Engine, fault: str, stored: int) -> None:
    """What fails at the step of COMMIT fails before it, or after it: then the rows are there and nobody was told."""
    with transaction(engine) as connection:
        connection.execute(sa.text("CREATE TABLE public.probe (n int)"))

    def work() -> None:
        with transaction(engine, committing=lambda: step("K28")) as connection:
            connection.execute(sa.text("INSERT INTO public.probe VALUES (1)"))

    with armed("K28", fault), pytest.raises(TransientError):
        work()
    with transaction(engine) as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM public.probe")).scalar_one() == stored


@pytest.mark.parametrize(
    ("setting", "code", "said"),
    [
        ({"TRAINYARD_DATABASE_URL": "postgresql://u:hunter2@127.0.0.1:1/d"}, 1, "does not answer"),
        ({"TRAINYARD_DATABASE_URL": "garbage-hunter2"}, 2, "TRAINYARD_DATABASE_URL=<secret>"),
        ({"TRAINYARD_ROUTER_PORT": "x"}, 2, "TRAINYARD_ROUTER_PORT"),
        ({}, 2, "TRAINYARD_DATABASE_URL is not set"),
    ],
)
def test_migrate_says_why_it_cannot(setting: dict[str, str], code: int, said: str) -> None:
    """One sentence and a named exit code; no traceback, no password."""
    command = [sys.executable, "-m", "trainyard.adapters.postgres.migrate"]
    done = subprocess.run(command, env=setting, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr
