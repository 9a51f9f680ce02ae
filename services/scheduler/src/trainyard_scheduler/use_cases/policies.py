"""Evaluating policies: when rows arrived, and at every tick so that a lost message costs no more than that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainyard import logs
from trainyard.alias_object import is_name
from trainyard.contracts.requests import COUNTED_STATES, NewRequest
from trainyard.crashpoints import crashpoint
from trainyard.errors import MessageError
from trainyard.messages import DataArrived, TrainingRequest, decode
from trainyard_scheduler.domain.triggers import Refused, Situation, Verdict, evaluate

if TYPE_CHECKING:
    from trainyard.contracts.queue import Queue, Received
    from trainyard.contracts.registry import ModelRecord
    from trainyard.contracts.scheduling import Records, Store

POLICY_ACTOR = "policy"
_VISIBILITY_SECONDS = 30
#: Soon, because nothing changes for a message that cannot be read, yet not before those behind it had their turn.
_UNREADABLE_AGAIN_SECONDS = 5
_log = logs.get(__name__)


def consume_arrived(store: Store, queue: Queue, *, wait_seconds: int) -> int:
    """Wait for 'data arrived', evaluate the models of those datasets, settle the messages; return how many came.

    A message that cannot be read is given back: the queue moves it to its dead letters after five receives.
    """
    received = queue.receive(limit=10, wait_seconds=wait_seconds, visibility_seconds=_VISIBILITY_SECONDS)
    datasets: dict[str, None] = {}
    readable = []
    for message in received:
        try:
            datasets[_dataset_in(message)] = None
        except MessageError as e:
            _log.error("arrived.unreadable_message", error=e, message=message.message_id)
            queue.extend(message.receipt, _UNREADABLE_AGAIN_SECONDS)
        else:
            readable.append(message)
    for dataset in datasets:
        evaluate_models(store, dataset=dataset)
    for message in readable:
        queue.delete(message.receipt)
    return len(received)


def _dataset_in(message: Received) -> str:
    """Return the dataset that rows arrived in; MessageError for a message that says nothing of the kind."""
    decoded = decode(message.type, message.body)
    if not isinstance(decoded, DataArrived) or not is_name(decoded.dataset):
        raise MessageError(f"a {message.type} that names no dataset", message.body)
    return decoded.dataset


def evaluate_models(store: Store, *, dataset: str | None = None) -> int:
    """Evaluate the policies of all models, or of those that learn from ``dataset``; return how many fired."""
    with store.begin() as records:
        names = records.models.names(dataset=dataset)
    return sum(evaluate_model(store, name) for name in names)


def evaluate_model(store: Store, name: str) -> bool:
    """Evaluate one policy; return whether it fired.

    The first look takes no lock; only when there is something to write is the model locked and looked at again, so
    that of two schedulers one writes and the other then finds nothing new.
    """
    with store.begin() as records:
        model = records.models.get(name)
        if model is None or not _is_news(records, model, _verdict(records, model)):
            return False
    with store.begin() as records:
        model = records.models.get(name, lock=True)
        if model is None:
            return False
        verdict = _verdict(records, model)
        return _is_news(records, model, verdict) and _write(records, model, verdict)


def _verdict(records: Records, model: ModelRecord) -> Verdict:
    dataset = records.models.dataset(model.dataset)
    used = records.requests.newest(model.id, COUNTED_STATES)
    waiting = records.requests.open_for(model.id)
    refused = records.requests.newest(model.id, ("failed", "cancelled"))
    situation = Situation(
        last_seq=0 if dataset is None else dataset.last_seq,
        used_seq=0 if used is None else used.upto_seq,
        open_request=None if waiting is None else waiting.id,
        refused=None if refused is None else Refused(refused.state, refused.upto_seq),
    )
    return evaluate(model.policy.min_new_rows, situation)


def _is_news(records: Records, model: ModelRecord, verdict: Verdict) -> bool:
    latest = records.requests.latest_decision(model.id)
    said = None if latest is None else (latest.fired, latest.reason, dict(latest.numbers))
    return verdict.fired or said != (verdict.fired, verdict.reason, dict(verdict.numbers))


def _write(records: Records, model: ModelRecord, verdict: Verdict) -> bool:
    request = None
    if verdict.fired:
        request = records.requests.add(
            NewRequest(
                model_id=model.id,
                reason="min_new_rows",
                upto_seq=verdict.numbers["upto_seq"],
                new_rows=verdict.new_rows,
                settings=model.policy.settings(),
                requested_by=POLICY_ACTOR,
                trace_id=None,
            )
        )
        if request is None:  # another road asked for the same snapshot a moment ago
            return False
        records.outbox.post("training", TrainingRequest(request.id))
        payload = {"model": model.name, "reason": "min_new_rows", "upto_seq": request.upto_seq}
        records.journal.announce("request.created", f"request/{request.id}", payload)
        _log.info("policy.fired", model=model.name, request=request.id, new_rows=verdict.new_rows)
    records.requests.decide(
        model.id,
        fired=verdict.fired,
        reason=verdict.reason,
        numbers=verdict.numbers,
        request_id=None if request is None else request.id,
    )
    crashpoint("K12")
    return verdict.fired
