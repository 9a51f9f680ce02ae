"""The studies contract on the fake and on Optuna in Postgres."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from tests.contract.test_runs import PostgresDesk as Requests

from trainyard.adapters.postgres.studies import PostgresStudies
from trainyard.contracts.studies import StudyGoneError, space_as_json, space_from_json, study_name
from trainyard.errors import TransientError
from trainyard.testing.contracts import StudiesContract
from trainyard.testing.contracts.studies import PLAN, SPACE, result, step
from trainyard.testing.fakes import MemoryStudies

if TYPE_CHECKING:
    from collections.abc import Iterator


class MemoryDesk:
    """The fake's other side."""

    def __init__(self) -> None:
        self.studies = MemoryStudies()

    def request(self) -> str:
        return str(uuid.uuid4())

    def end(self, request_id: str) -> None:
        self.studies.end(request_id)


class PostgresDesk:
    """The adapter's other side."""

    def __init__(self, studies: PostgresStudies, engine: sa.Engine) -> None:
        self.studies = studies
        self._engine = engine
        self._requests = Requests(engine)
        self._made = 0

    def request(self) -> str:
        self._made += 1
        return self._requests.request(upto_seq=self._made)

    def end(self, request_id: str) -> None:
        with self._engine.begin() as connection:
            connection.execute(
                sa.text("UPDATE core.training_request SET state = 'done' WHERE id = CAST(:id AS uuid)"),
                {"id": request_id},
            )


@pytest.fixture
def studies(database_url: str) -> Iterator[PostgresStudies]:
    """The adapter on a database of its own."""
    made = PostgresStudies(database_url, service="test")
    yield made
    made.close()


class TestMemoryStudies(StudiesContract):
    """The fake."""

    @pytest.fixture
    def desk(self) -> MemoryDesk:
        """No study yet."""
        return MemoryDesk()


class TestPostgresStudies(StudiesContract):
    """The adapter."""

    @pytest.fixture
    def desk(self, studies: PostgresStudies, engine: sa.Engine) -> PostgresDesk:
        """No study yet."""
        return PostgresDesk(studies, engine)

    def test_proposals_learn(self, desk: PostgresDesk) -> None:
        """Few leaves are better, also among what was planned: after some trials most proposals have few."""
        study = desk.studies.join(study_name(desk.request(), 0, "1"), seed=3, metric="auto")
        study.plan(PLAN, {"boosted": SPACE["boosted"]})
        asked = [step(study) for _ in range(27)]
        leaves = [proposal.params["num_leaves"] for proposal in asked[len(PLAN) :]]
        assert sorted(leaves[-9:])[4] < sorted(leaves[:9])[4]

    def test_nothing_is_left_of_a_study(self, desk: PostgresDesk, engine: sa.Engine) -> None:
        """When its request has ended no table has a row of it."""
        request_id = desk.request()
        study = desk.studies.join(study_name(request_id, 0, "1"), seed=1, metric="auto")
        study.plan(PLAN, SPACE)
        for _ in range(5):
            step(study)
        before = _rows(engine)
        desk.end(request_id)
        assert {table for table, rows in before.items() if rows} > {"studies", "trials", "trial_params", "trial_values"}
        assert {table for table, rows in _rows(engine).items() if rows} == {"alembic_version", "version_info"}

    def test_a_database_that_is_away(self) -> None:
        """It is an error that may pass."""
        away = PostgresStudies("postgresql+psycopg2://nobody@127.0.0.1:9/none", service="test")
        with pytest.raises(TransientError):
            away.finished("r/0")

    def test_a_study_is_written_as_its_requests_are(self, desk: PostgresDesk) -> None:
        """Names, kinds and figures come back as they were told, through another process's eyes."""
        name = study_name(desk.request(), 0, "1")
        study = desk.studies.join(name, seed=1, metric="auto")
        study.plan(PLAN, SPACE)
        told = [result(step(study)) for _ in range(6)]
        assert desk.studies.finished(name) == told

    def test_a_study_goes_when_its_request_vanishes(self, desk: PostgresDesk, engine: sa.Engine) -> None:
        """Somebody deletes the request's row: the study is swept with it, and is not made again."""
        request_id = desk.request()
        name = study_name(request_id, 0, "1")
        study = desk.studies.join(name, seed=1, metric="auto")
        study.plan(PLAN, SPACE)
        with engine.begin() as connection:
            connection.execute(
                sa.text("DELETE FROM core.training_request WHERE id = CAST(:id AS uuid)"), {"id": request_id}
            )
        assert _rows(engine)["studies"] == 0
        with pytest.raises(StudyGoneError):
            desk.studies.join(name, seed=1, metric="auto")

    def test_a_fault_is_no_study_that_is_gone(self, desk: PostgresDesk, engine: sa.Engine) -> None:
        """A record of it that lacks what every trial has is told as the fault that it is."""
        name = study_name(desk.request(), 0, "1")
        study = desk.studies.join(name, seed=1, metric="auto")
        study.plan(PLAN, SPACE)
        step(study)
        with engine.begin() as connection:
            connection.execute(sa.text("DELETE FROM optuna.trial_user_attributes WHERE key = 'told'"))
        with pytest.raises(KeyError, match="told"):
            desk.studies.finished(name)


def _rows(engine: sa.Engine) -> dict[str, int]:
    with engine.connect() as connection:
        tables = connection.scalars(sa.text("SELECT tablename FROM pg_tables WHERE schemaname = 'optuna'")).all()
        return {table: connection.scalar(sa.text(f"SELECT count(*) FROM optuna.{table}")) for table in tables}


def test_a_space_crosses_the_pipe() -> None:
    """What is said of it in JSON is read as it was."""
    assert space_from_json(space_as_json(SPACE)) == SPACE
