"""Following an id from HTTP to the prediction log: HTTP, batch, message, request, run, version, predictions.

What is found is a graph: each node names those it came after. A node's name is ``kind/id``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainyard.contracts.requests import POLICY_ACTOR
from trainyard.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from trainyard.contracts.tracing import Step, Tracing


@dataclass(frozen=True)
class Node:
    """A step of the chain. ``asked``: the id that was asked for is its own; ``after``: names of what it came of."""

    name: str
    kind: str
    id: str
    at: datetime | None
    trace_id: str | None
    asked: bool
    after: Sequence[str]
    facts: Mapping[str, Any]


class Trace:
    """One chain in the making."""

    def __init__(self, tracing: Tracing, ident: str) -> None:
        self._tracing = tracing
        self._ident = ident
        self._nodes: dict[str, Node] = {}

    def follow(self) -> list[Node]:
        """Return the chain, causes before effects.

        Raises:
            ServiceError: ``unknown_trace``: nothing has the id.
        """
        heads = self._tracing.heads(self._ident)
        if not heads:
            raise ServiceError("unknown_trace", f"nothing has the id {self._ident[:80]!r}")
        for batch in heads.batches:
            self._batch(batch)
            for request in self._tracing.requests_of(batch.id):
                self._request(request)
        for request in heads.requests:
            self._request(request)
        for version in heads.versions:
            self._made(version.facts["model"], version.facts["version"], version)
        for prediction in heads.predictions:
            self._prediction(prediction)
        return list(self._nodes.values())

    def _add(self, step: Step, *after: str, told: str | None = None) -> str:
        """Add a step, behind the call that brought it (``told``); return its name."""
        name = f"{step.kind}/{step.id}"
        if name not in self._nodes:
            behind = [*after, *([self._call(told)] if told is not None else [])]
            asked = step.id == self._ident and step.kind != "predictions"
            self._nodes[name] = Node(name, step.kind, step.id, step.at, step.trace_id, asked, behind, step.facts)
        return name

    def _call(self, trace_id: str) -> str:
        name = f"http/{trace_id}"
        if name not in self._nodes:
            self._nodes[name] = Node(name, "http", trace_id, None, trace_id, trace_id == self._ident, (), {})
        return name

    def _batch(self, batch: Step) -> str:
        """Add a batch and its message; return the name of the last of them."""
        name = self._add(batch, told=batch.trace_id)
        for message in self._tracing.messages_of(batch):
            name = self._add(message, name)
        return name

    def _request(self, request: Step) -> None:
        """Add a request with what came before it and all that came of it."""
        if f"request/{request.id}" in self._nodes:
            return
        batches = [self._batch(batch) for batch in self._tracing.batches_of(request.id)[:1]]
        by_hand = request.facts["requested_by"] != POLICY_ACTOR
        # Whoever asked by hand is the cause; the rows were there anyway.
        called = [self._call(request.trace_id)] if by_hand and request.trace_id is not None else []
        name = self._add(request, *called, *batches)
        for message in self._tracing.messages_of(request):
            name = self._add(message, name)
        for run in self._tracing.runs_of(request.id):
            behind = self._add(run, name)
            version = self._tracing.version_of(run.id)
            if version is not None:
                self._version(version, behind)

    def _version(self, version: Step, *after: str) -> None:
        name = self._add(version, *after)
        answered = self._tracing.answered_by(version.facts["model"], version.facts["version"])
        if answered is not None:
            self._add(answered, name)

    def _made(self, model: str, number: int, version: Step | None) -> str:
        """Add a version with what it came of; return its name."""
        request = self._tracing.request_of_version(model, number)
        if request is not None:
            self._request(request)
        elif version is not None:
            self._version(version)
        return f"version/{model}@{number}"

    def _prediction(self, prediction: Step) -> None:
        model, number = prediction.facts["model"], prediction.facts["version"]
        found = self._tracing.heads(f"{model}@{number}").versions
        version = self._made(model, number, found[0] if found else None)
        behind = [version] if version in self._nodes else []
        name = self._add(prediction, *behind, told=prediction.trace_id)
        for label in self._tracing.feedback_of(prediction.id):
            self._add(label, name, told=label.trace_id)
