"""The runs contract on the fake and on Postgres."""

from __future__ import annotations

import base64
import json
import uuid
from dataclasses import replace
from typing import Any

import msgpack
import pytest
import sqlalchemy as sa

from trainyard.adapters.postgres.copies import PostgresCopies
from trainyard.adapters.postgres.launches import PostgresLaunches
from trainyard.adapters.postgres.registry import PostgresModels, PostgresVersions
from trainyard.adapters.postgres.runs import PostgresRuns
from trainyard.adapters.postgres.scheduling import PostgresStore
from trainyard.clock import ManualClock
from trainyard.contracts.fleet import Instance, LaunchSpec
from trainyard.contracts.runs import Line, Trial
from trainyard.policy import Policy
from trainyard.testing.contracts import RunsContract
from trainyard.testing.fakes import MemoryRuns


class MemoryDesk:
    """The fake's other side."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.runs = MemoryRuns(self.clock)

    def request(self, model: str = "flights", upto_seq: int = 100, **more: Any) -> str:
        return self.runs.add(model, upto_seq=upto_seq, **more)

    def reproduction(self, model: str, version: int) -> str:
        return self.runs.add(model, upto_seq=0, reproduces=version)

    def rows_went(self, model: str, version: int, why: str) -> None:
        self.runs.models[model].not_reproducible[version] = why

    def run_row(self, request_id: str) -> tuple[Any, Any]:
        run = self.runs.requests[request_id].runs[-1]
        return run.environment, None if run.reproduction is None else run.reproduction.as_dict()

    def launched(self, instance_id: str, market: str) -> None:
        if market == "spot":
            self.runs.spot_instances.add(instance_id)

    def expire(self, request_id: str) -> None:
        self.runs.requests[request_id].lease_until = self.clock.monotonic() - 1

    def ask_to_cancel(self, request_id: str) -> None:
        self.runs.requests[request_id].cancel_requested = True

    def delete_model(self, model: str) -> None:
        self.runs.models[model].deleted = True
        self.runs.models[model].aliases.clear()

    def move_champion(self, model: str, version: int) -> None:
        self.runs.point(self.runs.models[model], "champion", version)

    def row(self, request_id: str) -> dict[str, Any]:
        return vars(self.runs.requests[request_id])

    def run_states(self, request_id: str) -> list[str]:
        return [run.state for run in self.runs.requests[request_id].runs]

    def progress(self, request_id: str) -> dict[str, Any]:
        return dict(self.runs.requests[request_id].runs[-1].progress)

    def posted(self) -> list[str]:
        return self.runs.posted

    def trials(self, request_id: str) -> list[list[Trial]]:
        return [list(run.trials.values()) for run in self.runs.requests[request_id].runs]

    def lines(self, run_id: str) -> list[Line]:
        found = [run for request in self.runs.requests.values() for run in request.runs if run.id == run_id]
        return [line for _, line in sorted(found[0].lines.items())]

    def versions(self, model: str) -> list[int]:
        return list(self.runs.models[model].versions)

    def report(self, model: str, version: int) -> Any:
        return self.runs.models[model].versions[version].report

    def pending(self, model: str) -> dict[int, int]:
        return self.runs.models[model].pending

    def aliases(self, model: str) -> dict[str, tuple[int, int]]:
        return self.runs.models[model].aliases


class PostgresDesk:
    """The database's other side."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self.runs = PostgresRuns(engine)

    def request(
        self,
        model: str = "flights",
        upto_seq: int = 100,
        *,
        priority: int = 0,
        instance_types: tuple[str, ...] = (),
        spot: bool | None = None,
    ) -> str:
        request_id = str(uuid.uuid4())
        model_id = self._scalar("SELECT id FROM core.model WHERE name = :name AND deleted_at IS NULL", name=model)
        if model_id is None:
            dataset = self._scalar(
                "INSERT INTO core.dataset (name, columns) VALUES ('rows', '[]') ON CONFLICT (name)"
                " WHERE deleted_at IS NULL DO UPDATE SET columns = '[]' RETURNING id"
            )
            model_id = self._scalar(
                "INSERT INTO core.model (name, dataset_id, label, task, policy)"
                " VALUES (:name, :dataset, 'y', 'auto', '{}') RETURNING id",
                name=model,
                dataset=dataset,
            )
        self._scalar(
            "INSERT INTO core.training_request (id, model_id, reason, upto_seq, new_rows, settings, requested_by,"
            " priority, instance_types, spot) VALUES (CAST(:id AS uuid), :model, 'by_hand', :upto, 1,"
            " CAST(:settings AS jsonb), 'test', :priority, :instance_types, CAST(:spot AS boolean)) RETURNING 1",
            spot=spot,
            priority=priority,
            instance_types=list(instance_types),
            id=request_id,
            model=model_id,
            upto=upto_seq,
            settings=json.dumps(Policy().settings()),
        )
        return request_id

    def reproduction(self, model: str, version: int) -> str:
        request_id = self.request(model, 0)
        self._scalar(
            "UPDATE core.training_request SET reproduces = :version WHERE id = CAST(:id AS uuid) RETURNING 1",
            id=request_id,
            version=version,
        )
        return request_id

    def rows_went(self, model: str, version: int, why: str) -> None:
        self._scalar(
            "UPDATE core.version v SET not_reproducible = :why FROM core.model m"
            " WHERE m.id = v.model_id AND m.name = :name AND v.version = :version RETURNING 1",
            why=why,
            name=model,
            version=version,
        )

    def run_row(self, request_id: str) -> tuple[Any, Any]:
        found = self._rows(
            "SELECT environment, reproduction FROM core.run WHERE request_id = CAST(:id AS uuid) ORDER BY fence DESC",
            id=request_id,
        )
        return found[0]["environment"], found[0]["reproduction"]

    def launched(self, instance_id: str, market: str) -> None:
        with self._engine.begin() as connection:
            launches = PostgresLaunches(connection)
            ident = launches.ask(LaunchSpec(("c7i.large",), spot=True), "a request waits")
            instance = Instance(instance_id, ident, "c7i.large", "running", "us-east-1a", market)
            launches.launched(ident, instance, None)

    def expire(self, request_id: str) -> None:
        self._scalar(
            "UPDATE core.training_request SET lease_until = clock_timestamp() - interval '1 s'"
            " WHERE id = CAST(:id AS uuid) RETURNING 1",
            id=request_id,
        )

    def ask_to_cancel(self, request_id: str) -> None:
        self._scalar(
            "UPDATE core.training_request SET cancel_requested = true WHERE id = CAST(:id AS uuid) RETURNING 1",
            id=request_id,
        )

    def delete_model(self, model: str) -> None:
        with self._engine.begin() as connection:
            models = PostgresModels(connection)
            found = models.get(model)
            assert found is not None
            models.delete(found.id)

    def move_champion(self, model: str, version: int) -> None:
        with self._engine.begin() as connection:
            model_id = connection.execute(
                sa.text("SELECT id FROM core.model WHERE name = :name"), {"name": model}
            ).scalar_one()
            PostgresVersions(connection).point(model_id, "champion", version)

    def row(self, request_id: str) -> dict[str, Any]:
        return self._rows("SELECT * FROM core.training_request WHERE id = CAST(:id AS uuid)", id=request_id)[0]

    def run_states(self, request_id: str) -> list[str]:
        found = self._rows(
            "SELECT state FROM core.run WHERE request_id = CAST(:id AS uuid) ORDER BY fence", id=request_id
        )
        return [row["state"] for row in found]

    def progress(self, request_id: str) -> dict[str, Any]:
        found = self._rows(
            "SELECT progress FROM core.run WHERE request_id = CAST(:id AS uuid) ORDER BY fence DESC", id=request_id
        )
        return dict(found[0]["progress"])

    def posted(self) -> list[str]:
        found = self._rows("SELECT body FROM core.outbox WHERE queue = 'training' AND sent_at IS NULL ORDER BY id")
        return [msgpack.unpackb(base64.b64decode(row["body"]))["request_id"] for row in found]

    def trials(self, request_id: str) -> list[list[Trial]]:
        runs = self._rows("SELECT id FROM core.run WHERE request_id = CAST(:id AS uuid) ORDER BY fence", id=request_id)
        columns = "number, core.kind_of(family) AS kind, params, metrics, seconds, chosen, pruned"
        columns += ", coalesce(worker, '') AS worker"
        statement = f"SELECT {columns} FROM core.trial WHERE run_id = :id ORDER BY number"
        return [[Trial(**row) for row in self._rows(statement, id=run["id"])] for run in runs]

    def lines(self, run_id: str) -> list[Line]:
        columns = "number, at, level, source, text"
        found = self._rows(
            f"SELECT {columns} FROM core.run_line WHERE run_id = CAST(:id AS uuid) ORDER BY number", id=run_id
        )
        return [Line(**row) for row in found]

    def versions(self, model: str) -> list[int]:
        found = self._rows(
            "SELECT v.version FROM core.version v JOIN core.model m ON m.id = v.model_id WHERE m.name = :name"
            " ORDER BY v.version",
            name=model,
        )
        return [row["version"] for row in found]

    def report(self, model: str, version: int) -> Any:
        (found,) = self._rows(
            "SELECT v.report FROM core.version v JOIN core.model m ON m.id = v.model_id"
            " WHERE m.name = :name AND v.version = :version",
            name=model,
            version=version,
        )
        return found["report"]

    def aliases(self, model: str) -> dict[str, tuple[int, int]]:
        found = self._rows(
            "SELECT a.name, a.version, a.seq FROM core.alias a JOIN core.model m ON m.id = a.model_id"
            " WHERE m.name = :name",
            name=model,
        )
        return {row["name"]: (row["version"], row["seq"]) for row in found}

    def pending(self, model: str) -> dict[int, int]:
        found = self._rows(
            "SELECT w.version, w.champion_seq FROM core.approval w JOIN core.model m ON m.id = w.model_id"
            " WHERE m.name = :name AND w.state = 'pending_approval'",
            name=model,
        )
        return {row["version"]: row["champion_seq"] for row in found}

    def events(self) -> list[str]:
        return [row["kind"] for row in self._rows("SELECT kind FROM core.event ORDER BY id")]

    def audited(self) -> list[str]:
        return [row["action"] for row in self._rows("SELECT action FROM core.audit ORDER BY id")]

    def deployments(self) -> list[tuple[str, int, int | None]]:
        found = self._rows("SELECT alias, version, previous_version FROM core.deployment ORDER BY id")
        return [(row["alias"], row["version"], row["previous_version"]) for row in found]

    def _rows(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        with self._engine.begin() as connection:
            return [dict(row) for row in connection.execute(sa.text(statement), values).mappings()]

    def _scalar(self, statement: str, **values: Any) -> Any:
        rows = self._rows(statement, **values)
        return next(iter(rows[0].values())) if rows else None


class TestMemoryRuns(RunsContract):
    """The fake."""

    @pytest.fixture
    def desk(self) -> MemoryDesk:
        """Nothing requested yet."""
        return MemoryDesk()


class TestPostgresRuns(RunsContract):
    """The adapter, on a database of its own."""

    @pytest.fixture
    def desk(self, engine: sa.Engine) -> PostgresDesk:
        """Nothing requested yet."""
        return PostgresDesk(engine)

    def test_what_a_promotion_leaves_behind(self, desk: PostgresDesk) -> None:
        """Events, audit entries, deployments, trials and the gate's report are in the transaction of the version."""
        from trainyard.testing.contracts.runs import claimed, new_version  # noqa: PLC0415

        for upto, name in ((70, "a"), (90, "b")):
            job = claimed(desk, desk.request(upto_seq=upto))
            profiled = replace(new_version(name=name), profile={"v": 1})
            desk.runs.publish(job.lease, profiled, compared_with=job.champion)
        assert [kind for kind in desk.events() if kind in ("version.published", "alias.moved")] == [
            "version.published",
            "alias.moved",
            "version.published",
            "alias.moved",
        ]
        assert desk.audited() == ["version.publish", "alias.move"] * 2
        assert desk.deployments() == [("champion", 1, None), ("previous", 1, None), ("champion", 2, 1)]
        (version, _) = desk._rows("SELECT * FROM core.version ORDER BY version")
        assert version["gate"]["promoted"] is True
        assert version["metrics"] == {"log_loss": 0.5}
        assert version["profile"] == {"v": 1}
        (trial, _) = desk._rows("SELECT *, core.kind_of(family) AS kind FROM core.trial")
        assert (trial["kind"], trial["params"], trial["chosen"]) == ("linear", {"strength": 1.0}, True)

    def test_the_copy_of_an_artifact(self, desk: PostgresDesk, engine: sa.Engine) -> None:
        """It is kept with the version, and of the same bytes once."""
        from trainyard.testing.contracts.runs import claimed, new_version  # noqa: PLC0415

        for upto, copy in ((70, b"\x00bytes"), (80, None), (90, b"\x00bytes")):
            job = claimed(desk, desk.request(upto_seq=upto))
            desk.runs.publish(job.lease, replace(new_version(), copy=copy), compared_with=job.champion)
        with engine.begin() as connection:
            (artifact,) = PostgresCopies(connection).live()
            assert (artifact.key, artifact.copy) == (new_version().artifact_key, "database")
            assert PostgresCopies(connection).data(artifact.key) == b"\x00bytes"

    def test_what_people_see_of_a_run(self, desk: PostgresDesk, engine: sa.Engine) -> None:
        """Its trials with their kinds, what they are ranked by, and the columns that its version leaves out."""
        from trainyard.testing.contracts.runs import claimed, new_version  # noqa: PLC0415

        job = claimed(desk, desk.request())
        verdict = {"column": "id", "kind": "identifier", "reason": "every row has its own"}
        version = new_version()
        with PostgresStore(engine).begin() as records:
            running = records.requests.run(job.lease.run_id)
        assert running is not None
        assert (running.metric, list(running.left_out), list(running.trials)) == ("auto", [], [])
        held = {**version.holdout, "left_out": [verdict]}
        desk.runs.publish(job.lease, replace(version, holdout=held), compared_with=None)
        with PostgresStore(engine).begin() as records:
            done = records.requests.run(job.lease.run_id)
        assert done is not None
        assert list(done.left_out) == [verdict]
        assert [(trial["kind"], trial["chosen"]) for trial in done.trials] == [("linear", True)]

    @pytest.mark.parametrize(
        ("first_seq", "when", "marked"),
        [
            (70, "clock_timestamp()", True),
            (71, "clock_timestamp()", False),
            (1, "clock_timestamp() - interval '1 hour'", False),
        ],
    )
    def test_rows_removed_while_a_run_reads(
        self, desk: PostgresDesk, first_seq: int, when: str, *, marked: bool
    ) -> None:
        """A version says that it cannot be reproduced when rows of its snapshot went after its run had begun."""
        from trainyard.testing.contracts.runs import claimed, new_version  # noqa: PLC0415

        job = claimed(desk, desk.request(upto_seq=70))
        desk._rows(
            "INSERT INTO core.erasure (id, dataset_id, kind, rows, first_seq, last_seq, upto_seq, actor, last_at)"
            f" SELECT gen_random_uuid(), id, 'key', 1, :first, 90, 90, 'test', {when} FROM core.dataset RETURNING 1",
            first=first_seq,
        )
        desk.runs.publish(job.lease, new_version(), compared_with=job.champion)
        (version,) = desk._rows("SELECT not_reproducible FROM core.version")
        assert (version["not_reproducible"] is not None) is marked

    def test_trainer_and_operator_leave_the_same_records(self, desk: PostgresDesk) -> None:
        """A promotion by the gate reads in events and audit like one by hand."""
        from trainyard.testing.contracts.runs import claimed, new_version  # noqa: PLC0415

        job = claimed(desk, desk.request())
        desk.runs.publish(job.lease, new_version(), compared_with=job.champion)
        (event,) = desk._rows("SELECT subject, payload FROM core.event WHERE kind = 'alias.moved'")
        (entry,) = desk._rows("SELECT actor, subject, details FROM core.audit WHERE action = 'alias.move'")
        moved = {"version": 1, "previous_version": None, "seq": 1, "reason": "promoted: better"}
        assert event == {"subject": "model/flights/alias/champion", "payload": moved}
        assert entry == {"actor": "trainer", "subject": "model/flights/alias/champion", "details": moved}
