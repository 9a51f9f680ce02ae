"""What the scheduler's records hold in memory, and how tests put there what other services would have."""

from __future__ import annotations

import itertools
import uuid
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from trainyard.contracts.registry import CHAMPION, PENDING_APPROVAL, Approval, DatasetView, VersionRecord
from trainyard.contracts.requests import RunRecord
from trainyard.testing.fakes.scheduling_rows import Logged, Model, Request

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import date, datetime

    from trainyard.auth import LiveKey
    from trainyard.clock import Clock
    from trainyard.contracts.api_keys import KeyRecord
    from trainyard.contracts.copies import StoreLife
    from trainyard.contracts.monitoring import Alarm, Reference, Traffic
    from trainyard.contracts.prediction_log import ShadowScore
    from trainyard.contracts.registry import AliasRecord, DeploymentRecord
    from trainyard.contracts.requests import Decision
    from trainyard.contracts.runs import Line
    from trainyard.contracts.scheduling import AuditEntry, Event
    from trainyard.testing.fakes.scheduling_rows import LaunchRow, Message, Window, WorkerRow


@dataclass
class State:
    """All tables. Lists are in order of insertion."""

    clock: Clock
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    datasets: dict[int, DatasetView] = field(default_factory=dict)
    models: list[Model] = field(default_factory=list)
    versions: list[tuple[int, VersionRecord]] = field(default_factory=list)
    reports: dict[tuple[int, int], Mapping[str, Any]] = field(default_factory=dict)
    aliases: dict[tuple[int, str], AliasRecord] = field(default_factory=dict)
    deployments: list[tuple[int, DeploymentRecord]] = field(default_factory=list)
    decisions: list[tuple[int, Decision]] = field(default_factory=list)
    requests: dict[str, Request] = field(default_factory=dict)
    runs: list[RunRecord] = field(default_factory=list)
    run_lines: dict[str, list[Line]] = field(default_factory=dict)
    outbox: list[Message] = field(default_factory=list)
    launches: dict[str, LaunchRow] = field(default_factory=dict)
    workers: dict[str, WorkerRow] = field(default_factory=dict)
    notices: dict[str, date] = field(default_factory=dict)
    keys: dict[str, tuple[KeyRecord, LiveKey]] = field(default_factory=dict)
    answers: dict[tuple[str, str, str], tuple[str, int, str]] = field(default_factory=dict)
    answered_at: dict[tuple[str, str, str], datetime] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    audit: list[AuditEntry] = field(default_factory=list)
    labels: list[tuple[int, str, str]] = field(default_factory=list)  # seq, model, prediction id
    alarms: list[tuple[int, Alarm]] = field(default_factory=list)
    settled_at: dict[int, datetime] = field(default_factory=dict)
    windows: dict[tuple[int, str, str], Window] = field(default_factory=dict)
    marks: dict[int, int] = field(default_factory=dict)
    references: dict[tuple[int, int], Reference] = field(default_factory=dict)
    predictions: list[Logged] = field(default_factory=list)
    shadows: list[tuple[datetime, ShadowScore]] = field(default_factory=list)  # each with the time of its logging
    traffic: list[tuple[int, Traffic]] = field(default_factory=list)
    forgotten: int = 0  # predictions: those before the first in the list
    predicted_since: datetime | None = None
    feedback: list[tuple[str, Any]] = field(default_factory=list)
    given_at: list[datetime] = field(default_factory=list)  # of each of the feedback
    forgotten_feedback: set[int] = field(default_factory=set)  # indexes of it
    copies: dict[str, tuple[str, bytes | None]] = field(default_factory=dict)  # by artifact key: hash, bytes
    store_lives: list[StoreLife] = field(default_factory=list)

    def model(self, model_id: int) -> Model:
        """Return a model's row, deleted or not."""
        return next(model for model in self.models if model.id == model_id)

    # --- what ingest and trainers do ---

    def add_dataset(self, name: str, columns: tuple[Mapping[str, Any], ...]) -> None:
        """Create a dataset."""
        number = next(self.numbers)
        self.datasets[number] = DatasetView(number, name, columns, 0)

    def add_rows(self, name: str, rows: int) -> int:
        """Commit rows; return the number of the last."""
        dataset = next(dataset for dataset in self.datasets.values() if dataset.name == name)
        grown = replace(dataset, last_seq=dataset.last_seq + rows)
        self.datasets[dataset.id] = grown
        return grown.last_seq

    def log(
        self,
        model: str,
        version: int,
        inputs: Mapping[str, Any],
        output: Mapping[str, Any],
        *,
        ident: str | None = None,
        at: datetime | None = None,
        logged_at: datetime | None = None,
    ) -> str:
        """Log a prediction; return its id."""
        now = logged_at or self.clock.now()
        row = Logged(
            ident or f"p{self.forgotten + len(self.predictions) + 1}", model, version, inputs, output, at or now, now
        )
        self.predictions.append(row)
        return row.id

    def numbered(self) -> Iterator[tuple[int, Logged]]:
        """Yield the predictions that the log has, each with its place."""
        return enumerate(self.predictions, start=self.forgotten + 1)

    def label(self, prediction_id: str, label: Any, *, at: datetime | None = None) -> None:
        """Give a label, known or not."""
        self.feedback.append((prediction_id, label))
        self.given_at.append(at or self.clock.now())

    def given(self, after: int = 0, upto: int | None = None) -> list[tuple[str, Any]]:
        """Return the feedback behind the place ``after`` up to ``upto`` that was not forgotten."""
        places = range(after, len(self.feedback) if upto is None else min(upto, len(self.feedback)))
        return [self.feedback[place] for place in places if place not in self.forgotten_feedback]

    def claim(self, request_id: str, *, lease_until: datetime, instance_id: str | None = None) -> None:
        """Let a trainer hold the request."""
        request, now = self.requests[request_id], self.clock.now()
        record = request.record
        request.record = replace(record, state="running", attempt=record.attempt + 1, started_at=now)
        request.fence += 1
        request.lease_until, request.instance_id = lease_until, instance_id
        run = RunRecord(
            id=str(uuid.uuid4()),
            request_id=request_id,
            model=record.model,
            attempt=request.record.attempt,
            state="running",
            worker="test",
            instance_id=instance_id,
            progress={},
            started_at=now,
            ended_at=None,
            error_class=None,
            error=None,
            trials=(),
            version=None,
        )
        self.runs.append(run)

    def end(self, request_id: str, state: str, why: str | None = None) -> None:
        """Let the request end; a run that nobody ended otherwise is lost."""
        request, now = self.requests[request_id], self.clock.now()
        request.record = replace(request.record, state=state, error=why, outcome=why, finished_at=now)
        self.runs[:] = [
            replace(run, state="lost", error_class="lost", error="its lease ran out", ended_at=now)
            if run.request_id == request_id and run.state == "running"
            else run
            for run in self.runs
        ]

    def add_label(self, model: str, prediction_id: str) -> None:
        """Commit a label of a logged prediction."""
        self.labels.append((next(self.numbers), model, prediction_id))

    def rows_went(self, version: int) -> None:
        """Mark this version of every model as an erasure does."""
        self.versions = [
            (model_id, replace(record, not_reproducible="erased") if record.version == version else record)
            for model_id, record in self.versions
        ]

    def finish(
        self,
        request_id: str,
        *,
        sha256: str = "ab" * 32,
        size: int = 10,
        extract_key: str | None = None,
        report: Mapping[str, Any] | None = None,
        waits: bool = False,
    ) -> int:
        """Let the holder publish a version, which may wait for a person; return its number."""
        request = self.requests[request_id]
        record = request.record
        number = self.next_version(request.model_id)
        run = next(run for run in self.runs if run.request_id == request_id and run.state == "running")
        self.runs[self.runs.index(run)] = replace(run, state="done", ended_at=self.clock.now(), version=number)
        self.end(request_id, "done")
        request.record = replace(request.record, outcome=f"version {number} came of it", version=number)
        version = VersionRecord(
            model=record.model,
            version=number,
            request_id=request_id,
            run_id=run.id,
            fence=request.fence,
            artifact_key=f"models/{record.model}/{sha256}.msgpack",
            sha256=sha256,
            size_bytes=size,
            upto_seq=record.upto_seq,
            snapshot_rows=record.upto_seq,
            snapshot_hash="hash",
            holdout={},
            metrics={},
            gate={},
            passed=True,
            aliases=(),
            created_at=self.clock.now(),
            extract_key=extract_key,
            approval=Approval(PENDING_APPROVAL, self._champion_seq(request.model_id)) if waits else None,
        )
        self.versions.append((request.model_id, version))
        if report is not None:
            self.reports[request.model_id, number] = report
        return number

    def next_version(self, model_id: int) -> int:
        """Return the number that the model's next version gets."""
        return 1 + sum(owner == model_id for owner, _ in self.versions)

    def _champion_seq(self, model_id: int) -> int:
        alias = self.aliases.get((model_id, CHAMPION))
        return 0 if alias is None else alias.seq
