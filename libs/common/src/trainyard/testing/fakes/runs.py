"""Training requests in memory, from the trainer's side."""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trainyard.contracts.runs import (
    MAX_ATTEMPTS,
    PENDING,
    Champion,
    Claim,
    Job,
    Lease,
    LeaseLostError,
    Original,
    Published,
    Runs,
    promotion,
)
from trainyard.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainyard.clock import Clock
    from trainyard.contracts.runs import Line, NewVersion, Reproduction, Trial


@dataclass
class MemoryModel:
    """A model; ``aliases`` hold (version, seq), ``versions`` the published ones by number.

    ``not_reproducible`` says of which versions rows went, and why; ``pending`` are the versions that wait for a person,
    with the champion's seq that they were judged against.
    """

    id: int
    name: str
    task: str = "auto"
    label: str = "y"
    deleted: bool = False
    versions: dict[int, NewVersion] = field(default_factory=dict)
    aliases: dict[str, tuple[int, int]] = field(default_factory=dict)
    pending: dict[int, int] = field(default_factory=dict)
    known_seq: int = 0
    known_version: int = 0
    not_reproducible: dict[int, str] = field(default_factory=dict)


@dataclass
class MemoryRun:
    """A run of a request."""

    id: str
    fence: int
    worker: str
    instance_id: str | None
    instance_type: str | None = None
    state: str = "running"
    error_class: str | None = None
    error: str | None = None
    progress: Mapping[str, Any] = field(default_factory=dict)
    trials: dict[int, Trial] = field(default_factory=dict)
    lines: dict[int, Line] = field(default_factory=dict)
    environment: Mapping[str, Any] | None = None
    reproduction: Reproduction | None = None


@dataclass
class MemoryRequest:
    """A request; the fields are those of ``core.training_request``."""

    id: str
    model: MemoryModel
    upto_seq: int
    settings: Mapping[str, Any]
    priority: int = 0
    instance_types: tuple[str, ...] = ()
    spot: bool | None = None
    reproduces: int | None = None
    state: str = "queued"
    attempt: int = 0
    fence: int = 0
    lease_until: float = 0.0
    created: float = 0.0
    cancel_requested: bool = False
    error_class: str | None = None
    error: str | None = None
    runs: list[MemoryRun] = field(default_factory=list)
    published: Published | None = None


class MemoryRuns(Runs):
    """The database's clock is ``clock``. ``posted`` lists the requests that got a new message, ``spot_instances``
    the ids of instances that were launched as spot capacity.

    ``outage`` is raised by every call while it is set; ``lose_answer`` once, after the next publication is done.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.lock = threading.RLock()
        self.models: dict[str, MemoryModel] = {}
        self._numbers: dict[str, int] = {}
        self.requests: dict[str, MemoryRequest] = {}
        self.posted: list[str] = []
        self.spot_instances: set[str] = set()
        self.outage: Exception | None = None
        self.lose_answer: Exception | None = None

    def add(
        self,
        model: str = "flights",
        *,
        upto_seq: int = 100,
        settings: Mapping[str, Any] | None = None,
        priority: int = 0,
        instance_types: tuple[str, ...] = (),
        spot: bool | None = None,
        reproduces: int | None = None,
        **more: Any,
    ) -> str:
        """Queue a request for ``model``, which is made with ``more`` if it does not exist; return its id."""
        with self.lock:
            found = self.models.get(model)
            if found is None or found.deleted:
                number = 1 + max((other.id for other in self.models.values()), default=0)
                found = self.models[model] = MemoryModel(number, model, **more)
            request_id = str(uuid.uuid4())
            given = Policy().settings() | dict(settings or {})
            place = (priority, instance_types, spot, reproduces)
            made = MemoryRequest(request_id, found, upto_seq, given, *place, created=self._clock.monotonic())
            self.requests[request_id] = made
            return request_id

    def claim(
        self,
        request_id: str,
        *,
        worker: str,
        instance_id: str | None,
        instance_type: str | None,
        lease_seconds: float,
    ) -> Claim:
        """Take the most urgent request that suits."""
        with self.lock:
            self.answer()
            named = self.requests.get(request_id)
            if named is None:
                return Claim("unknown")
            suited = [request for request in self.requests.values() if self.suits(request, instance_type, instance_id)]
            for request in sorted(suited, key=lambda r: (-r.priority, r is not named)):
                if self._claimable(request) and not self._settle(request):
                    request.state, request.attempt, request.fence = "running", request.attempt + 1, request.fence + 1
                    request.lease_until = self._clock.monotonic() + lease_seconds
                    run = MemoryRun(str(uuid.uuid4()), request.fence, worker, instance_id, instance_type)
                    request.runs.append(run)
                    self._post_if_unsuited(named, instance_type, instance_id)
                    return Claim("claimed", self._job(request, run), "running")
            if named.state not in ("queued", "running"):
                return Claim("settled", state=named.state)
            if self._post_if_unsuited(named, instance_type, instance_id):
                return Claim("unsuited", state="queued")
            left = named.lease_until - self._clock.monotonic()
            return Claim("held", state="running", seconds_left=max(0.0, left))

    def _post_if_unsuited(self, named: MemoryRequest, instance_type: str | None, instance_id: str | None) -> bool:
        """Post a fresh message for the named request if it waits for other machines; return whether it does."""
        if named.state != "queued" or self.suits(named, instance_type, instance_id):
            return False
        self.posted.append(named.id)
        return True

    def suits(self, request: MemoryRequest, instance_type: str | None, instance_id: str | None) -> bool:
        """Tell whether the request may be served there."""
        if request.spot is False and instance_id in self.spot_instances:
            return False
        return instance_type is None or not request.instance_types or instance_type in request.instance_types

    def _claimable(self, request: MemoryRequest) -> bool:
        ran_out = request.lease_until < self._clock.monotonic()
        return request.state == "queued" or (request.state == "running" and ran_out)

    def _settle(self, request: MemoryRequest) -> bool:
        """Close a lost run; end what must not be trained, and return whether that was so."""
        for run in request.runs:
            if run.state == "running":
                run.state, run.error_class = "lost", "lost"
        if request.model.deleted or request.cancel_requested:
            request.state = "cancelled"
        elif request.attempt >= MAX_ATTEMPTS:
            request.state, request.error_class, request.error = "failed", "lost", "its workers fell silent"
        else:
            return False
        return True

    def beat(self, lease: Lease, *, lease_seconds: float, progress: Mapping[str, Any] | None = None) -> bool:
        """Move the end of the lease."""
        with self.lock:
            request, run = self.held(lease)
            request.lease_until = self._clock.monotonic() + lease_seconds
            if progress is not None:
                run.progress = dict(progress)
            return request.cancel_requested

    def keep_trials(self, lease: Lease, trials: Sequence[Trial]) -> None:
        """Add the trials to the run."""
        with self.lock:
            _, run = self.held(lease)
            for trial in trials:
                run.trials.setdefault(trial.number, trial)

    def keep_lines(self, run_id: str, lines: Sequence[Line]) -> None:
        """Add the lines to the run."""
        with self.lock:
            if self.outage is not None:
                raise self.outage
            (run,) = (run for request in self.requests.values() for run in request.runs if run.id == run_id)
            for line in lines:
                run.lines.setdefault(line.number, line)

    def release(self, lease: Lease, *, reason: str) -> None:
        """Queue it again, uncounted."""
        with self.lock:
            request, run = self.held(lease)
            request.state, request.attempt = "queued", request.attempt - 1
            run.state, run.error = "released", reason
            self.posted.append(request.id)

    def retry(self, lease: Lease, *, error_class: str, error: str) -> None:
        """Queue it again after a failure."""
        with self.lock:
            self._fail(lease, "queued", error_class, error)
            self.posted.append(lease.request_id)

    def fail(self, lease: Lease, *, error_class: str, error: str) -> None:
        """End it as failed."""
        with self.lock:
            self._fail(lease, "failed", error_class, error)

    def block(self, lease: Lease, *, reason: str) -> None:
        """End it as blocked by data."""
        with self.lock:
            request, run = self.held(lease)
            request.state = run.state = "blocked_by_data"
            request.error = run.error = reason

    def cancel(self, lease: Lease) -> None:
        """End it as cancelled."""
        with self.lock:
            request, run = self.held(lease)
            request.state = run.state = "cancelled"

    def publish(self, lease: Lease, version: NewVersion, *, compared_with: Champion | None) -> Published:
        """Register the version."""
        with self.lock:
            request, run = self.held(lease)
            model = request.model
            number = self._numbers[model.name] = 1 + self._numbers.get(model.name, 0)
            promoted, words = promotion(version, compared_with, _champion(model), deleted=model.deleted)
            model.versions[number] = version
            run.trials = {trial.number: trial for trial in version.trials}
            if request.upto_seq >= model.known_seq:
                model.known_seq, model.known_version = request.upto_seq, number
            if words.startswith(PENDING):
                model.pending[number] = model.aliases.get("champion", (0, 0))[1]
            if promoted:
                if "champion" in model.aliases:
                    self.point(model, "previous", model.aliases["champion"][0])
                self.point(model, "champion", number)
            run.environment = version.environment
            request.state = run.state = "done"
            request.published = Published(number, run.id, promoted, words)
            if self.lose_answer is not None:
                error, self.lose_answer = self.lose_answer, None
                raise error
            return request.published

    def reproduced(self, lease: Lease, outcome: Reproduction, *, environment: Mapping[str, Any]) -> None:
        """Note the outcome."""
        with self.lock:
            request, run = self.held(lease)
            run.reproduction, run.environment = outcome, environment
            request.state = run.state = "done"

    def published(self, request_id: str) -> Published | None:
        """Return what came of the request."""
        with self.lock:
            self.answer()
            return self.requests[request_id].published

    def open_requests(self, instance_type: str | None = None, instance_id: str | None = None) -> int:
        """Count."""
        with self.lock:
            self.answer()
            suited = (request for request in self.requests.values() if self.suits(request, instance_type, instance_id))
            return sum(request.state in ("queued", "running") for request in suited)

    def point(self, model: MemoryModel, alias: str, version: int) -> None:
        """Move an alias."""
        model.aliases[alias] = (version, model.aliases.get(alias, (0, 0))[1] + 1)

    def answer(self) -> None:
        """Fail, if it has to."""
        if self.outage is not None:
            raise self.outage

    def held(self, lease: Lease) -> tuple[MemoryRequest, MemoryRun]:
        """Return what is held under the lease; fail when it is not any more."""
        self.answer()
        request = self.requests.get(lease.request_id)
        if request is None or request.state != "running" or request.fence != lease.fence:
            raise LeaseLostError(f"request {lease.request_id} is not held under fence {lease.fence} any more")
        return request, next(run for run in request.runs if run.fence == lease.fence)

    def _fail(self, lease: Lease, state: str, error_class: str, error: str) -> None:
        request, run = self.held(lease)
        request.state, request.error_class, request.error = state, error_class, error
        run.state, run.error_class, run.error = "failed", error_class, error

    def _job(self, request: MemoryRequest, run: MemoryRun) -> Job:
        model = request.model
        return Job(
            lease=Lease(request.id, run.id, run.fence),
            attempt=request.attempt,
            model_id=model.id,
            model=model.name,
            dataset_id=1,
            dataset="rows",
            label=model.label,
            task=model.task,
            upto_seq=self._upto_seq(request),
            settings=request.settings,
            champion=_champion(model),
            known_seq=model.known_seq,
            known_version=model.known_version,
            trace_id=None,
            reproduces=self._original(request),
        )

    def _original(self, request: MemoryRequest) -> Original | None:
        if request.reproduces is None:
            return None
        version, made = request.model.versions[request.reproduces], self._made(request.model, request.reproduces)
        why = request.model.not_reproducible.get(request.reproduces)
        return Original(request.reproduces, version.artifact_key, version.sha256, why, made.runs[-1].environment)

    def _upto_seq(self, request: MemoryRequest) -> int:
        """Return up to where the rows go: of a reproduction those of the request that made the version."""
        if request.reproduces is None:
            return request.upto_seq
        return self._made(request.model, request.reproduces).upto_seq

    def _made(self, model: MemoryModel, version: int) -> MemoryRequest:
        """Return the request that the version came of."""
        of_model = (r for r in self.requests.values() if r.model is model)
        return next(r for r in of_model if r.published is not None and r.published.version == version)


def _champion(model: MemoryModel) -> Champion | None:
    if "champion" not in model.aliases:
        return None
    number, seq = model.aliases["champion"]
    version = model.versions[number]
    return Champion(number, seq, version.artifact_key, version.sha256)
