"""Records as the JSON of the API page."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from trainyard.leaderboard import leaderboard

if TYPE_CHECKING:
    from trainyard.contracts.api_keys import KeyRecord
    from trainyard.contracts.registry import AliasRecord, Approval, DeploymentRecord, ModelRecord, VersionRecord
    from trainyard.contracts.requests import Decision, RequestRecord, RunRecord
    from trainyard.contracts.runs import Line
    from trainyard.contracts.scheduling import AuditEntry
    from trainyard_scheduler.use_cases.queues import DeadLetter, QueueState, Redriven
    from trainyard_scheduler.use_cases.trace import Node
    from trainyard_scheduler.use_cases.version_reports import VersionReport


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="microseconds")


def model(record: ModelRecord) -> dict[str, Any]:
    """Return a Model."""
    return {
        "name": record.name,
        "dataset": record.dataset,
        "label": record.label,
        "task": record.task,
        "policy": record.policy.to_dict(),
        "created_at": _time(record.created_at),
        "champion": record.champion,
    }


def decision(record: Decision) -> dict[str, Any]:
    """Return a Decision."""
    return {
        "fired": record.fired,
        "trigger": record.numbers.get("trigger"),
        "reason": record.reason,
        "numbers": dict(record.numbers),
        "request_id": record.request_id,
        "at": _time(record.at),
        "times": record.times,
        "last_at": _time(record.last_at),
    }


def request(record: RequestRecord) -> dict[str, Any]:
    """Return a Request."""
    return {
        "id": record.id,
        "model": record.model,
        "reason": record.reason,
        "state": record.state,
        "upto_seq": record.upto_seq,
        "new_rows": record.new_rows,
        "settings": dict(record.settings),
        "priority": record.priority,
        "instance_types": list(record.instance_types),
        "spot": record.spot,
        "attempt": record.attempt,
        "cancel_requested": record.cancel_requested,
        "error_class": record.error_class,
        "error": record.error,
        "outcome": record.outcome,
        "version": record.version,
        "created_at": _time(record.created_at),
        "started_at": _time(record.started_at),
        "finished_at": _time(record.finished_at),
        "reproduces": record.reproduces,
    }


def run(record: RunRecord) -> dict[str, Any]:
    """Return a Run."""
    return {
        "id": record.id,
        "request_id": record.request_id,
        "model": record.model,
        "attempt": record.attempt,
        "state": record.state,
        "worker": record.worker,
        "instance_id": record.instance_id,
        "instance_type": record.instance_type,
        "cost_usd": record.cost_usd,
        "progress": dict(record.progress),
        "started_at": _time(record.started_at),
        "ended_at": _time(record.ended_at),
        "error_class": record.error_class,
        "error": record.error,
        "trials": leaderboard(record.trials, record.metric),
        "left_out": [dict(verdict) for verdict in record.left_out],
        "version": record.version,
        "environment": None if record.environment is None else dict(record.environment),
        "reproduction": None if record.reproduction is None else dict(record.reproduction),
    }


def line(record: Line) -> dict[str, Any]:
    """Return a line that a run has said."""
    return {
        "number": record.number,
        "at": _time(record.at),
        "level": record.level,
        "source": record.source,
        "text": record.text,
    }


def version(record: VersionRecord) -> dict[str, Any]:
    """Return a Version."""
    return {
        "model": record.model,
        "version": record.version,
        "request_id": record.request_id,
        "run_id": record.run_id,
        "artifact_key": record.artifact_key,
        "sha256": record.sha256,
        "size_bytes": record.size_bytes,
        "upto_seq": record.upto_seq,
        "snapshot_rows": record.snapshot_rows,
        "snapshot_hash": record.snapshot_hash,
        "extract_key": record.extract_key,
        "holdout": dict(record.holdout),
        "metrics": dict(record.metrics),
        "gate": dict(record.gate),
        "passed": record.passed,
        "state": None if record.approval is None else record.approval.state,
        "approval": None if record.approval is None else _approval(record.approval),
        "aliases": list(record.aliases),
        "not_reproducible": record.not_reproducible,
        "lost_at": _time(record.lost_at),
        "created_at": _time(record.created_at),
    }


def version_report(found: VersionReport) -> dict[str, Any]:
    """Return a VersionReport."""
    about = None if found.run is None else {**run(found.run), "usd_per_hour": found.usd_per_hour}
    trials = [] if about is None else about.pop("trials")
    shown = {"name": found.model.name, "dataset": found.model.dataset, "label": found.model.label}
    return {
        "model": {**shown, "task": found.model.task},
        "version": version(found.version),
        "run": about,
        "trials": trials,
        "report": None if found.report is None else dict(found.report),
    }


def _approval(record: Approval) -> dict[str, Any]:
    return {
        "champion_seq": record.champion_seq,
        "decided_by": record.decided_by,
        "decided_at": _time(record.decided_at),
        "reason": record.reason,
    }


def alias(record: AliasRecord) -> dict[str, Any]:
    """Return an Alias."""
    return {
        "name": record.name,
        "version": record.version,
        "seq": record.seq,
        "weight": record.weight,
        "updated_at": _time(record.updated_at),
    }


def deployment(record: DeploymentRecord) -> dict[str, Any]:
    """Return a Deployment."""
    return {
        "alias": record.alias,
        "version": record.version,
        "previous_version": record.previous_version,
        "seq": record.seq,
        "actor": record.actor,
        "reason": record.reason,
        "at": _time(record.at),
    }


def key(record: KeyRecord) -> dict[str, Any]:
    """Return an API key's record; the key itself is not in it."""
    return {
        "id": record.id,
        "name": record.name,
        "scopes": list(record.scopes),
        "created_at": _time(record.created_at),
        "expires_at": _time(record.expires_at),
        "revoked_at": _time(record.revoked_at),
    }


def audit(record: AuditEntry) -> dict[str, Any]:
    """Return an audit entry."""
    return {
        "id": record.id,
        "at": _time(record.at),
        "actor": record.actor,
        "action": record.action,
        "subject": record.subject,
        "details": dict(record.details),
        "previous_hash": record.previous_hash,
        "hash": record.hash,
    }


def node(found: Node) -> dict[str, Any]:
    """Return a step of a trace."""
    facts = {name: _time(value) if isinstance(value, datetime) else value for name, value in found.facts.items()}
    return {
        "node": found.name,
        "kind": found.kind,
        "id": found.id,
        "at": _time(found.at),
        "trace_id": found.trace_id,
        "asked": found.asked,
        "after": list(found.after),
        "facts": facts,
    }


def queue(state: QueueState) -> dict[str, Any]:
    """Return a queue's numbers."""
    return {
        "name": state.name,
        "visible": state.depth.visible,
        "in_flight": state.depth.in_flight,
        "delayed": state.depth.delayed,
        "dead": state.dead,
        "oldest_seconds": None if state.oldest_seconds is None else round(state.oldest_seconds, 3),
    }


def dead_letter(found: DeadLetter) -> dict[str, Any]:
    """Return a dead letter."""
    letter, about = found.letter, found.request
    sent_at = None if letter.sent_at is None else datetime.fromtimestamp(letter.sent_at, UTC)
    return {
        "message_id": letter.message_id,
        "type": letter.type,
        "preview": found.preview,
        "size_bytes": len(letter.body.encode()),
        "receive_count": letter.receive_count,
        "sent_at": _time(sent_at),
        "cause": found.cause,
        "words": found.words,
        "request": None if about is None else {"id": about.id, "model": about.model, "state": about.state},
    }


def redriven(done: Redriven) -> dict[str, Any]:
    """Return what became of a redrive."""
    return {
        "queue": done.queue,
        "moved": done.moved,
        "kept": done.kept,
        "left": done.left,
        "background": done.background,
    }
