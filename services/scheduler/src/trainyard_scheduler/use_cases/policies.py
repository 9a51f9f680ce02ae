"""Evaluating policies: when rows arrived, and at every tick so that a lost message costs no more than that.

Every evaluation is kept: equal answers in a row are one decision that counts them. A request is made under the model's
lock and a unique index, so two schedulers, a clock that jumps or a storm of messages make one.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from trainyard import logs
from trainyard.alias_object import is_name
from trainyard.contracts.requests import POLICY_ACTOR, NewRequest
from trainyard.crashpoints import crashpoint, step
from trainyard.errors import MessageError, TransientError
from trainyard.messages import DataArrived, TrainingRequest, decode
from trainyard_scheduler.domain.triggers import ALARM_KEYS, Verdict, evaluate
from trainyard_scheduler.use_cases.rounds import do_all

if TYPE_CHECKING:
    from trainyard.contracts.queue import Queue, Received
    from trainyard.contracts.registry import ModelRecord
    from trainyard.contracts.requests import RequestRecord
    from trainyard.contracts.scheduling import Records, Store

_BATCH = 10
#: A storm of messages is read so far before the policies are evaluated, once for all of them.
_MOST_MESSAGES = 1_000
#: Soon, because nothing changes for a message that cannot be read, yet not before those behind it had their turn.
_UNREADABLE_AGAIN_SECONDS = 2
_log = logs.get(__name__)


def consume_arrived(store: Store, queue: Queue, *, wait_seconds: int, visibility_seconds: int = 60) -> int:
    """Wait for 'data arrived', evaluate the models of those datasets, settle the messages; return how many came.

    Others see the messages again after ``visibility_seconds``, whatever became of us.

    A message that cannot be read is given back: the queue moves it to its dead letters after five receives.
    """
    received = _receive(queue, wait_seconds, visibility_seconds)
    datasets: dict[str, None] = {}
    readable = []
    for message in received:
        try:
            datasets[_dataset_in(message)] = None
        except MessageError as e:
            _log.error("arrived.unreadable_message", error=e, message_id=message.message_id)
            queue.extend(message.receipt, _UNREADABLE_AGAIN_SECONDS)
        else:
            readable.append(message)
    for dataset in datasets:
        evaluate_models(store, dataset=dataset)
    for message in readable:
        queue.delete(message.receipt)
    return len(received)


def _receive(queue: Queue, wait_seconds: int, visibility_seconds: int) -> list[Received]:
    """Wait for messages; when many come, take what else is there."""
    found = queue.receive(limit=_BATCH, wait_seconds=wait_seconds, visibility_seconds=visibility_seconds)
    more = len(found) == _BATCH
    while more and len(found) < _MOST_MESSAGES:
        batch = queue.receive(limit=_BATCH, wait_seconds=0, visibility_seconds=visibility_seconds)
        found += batch
        more = len(batch) == _BATCH
    return found


def _dataset_in(message: Received) -> str:
    """Return the dataset that rows arrived in; MessageError for a message that says nothing of the kind."""
    decoded = decode(message.type, message.body)
    if not isinstance(decoded, DataArrived) or not is_name(decoded.dataset):
        raise MessageError(f"a {message.type} that names no dataset", message.body)
    return decoded.dataset


def evaluate_models(store: Store, *, dataset: str | None = None) -> int:
    """Evaluate the policies of all models, or of those that learn from ``dataset``; return how many fired.

    Raises:
        TransientError: some could not be evaluated; the others were.
    """
    with store.begin() as records:
        names = records.models.names(dataset=dataset)
    return sum(do_all([partial(evaluate_model, store, name) for name in names]))


def evaluate_model(store: Store, name: str) -> bool:
    """Evaluate one policy and keep the answer; return whether it fired.

    The first look takes no lock and counts an answer that was given before; only when there is more to write is the
    model locked and looked at again, so that of two schedulers one writes and the other then finds nothing new.
    """
    with store.begin() as records:
        model = records.models.get(name)
        if model is None or _said_before(records, model, _verdict(records, model)):
            return False
    with step("K12"), store.begin() as records:
        model = records.models.get(name, lock=True)
        if model is None:
            return False
        verdict = _verdict(records, model)
        return not _said_before(records, model, verdict) and _write(records, model, verdict)


def _verdict(records: Records, model: ModelRecord) -> Verdict:
    standing = records.requests.standing(model.id, labels=model.policy.min_new_labels is not None)
    alarms = records.alarms.open(model.id)
    crashpoint("K10")
    verdict = evaluate(model.policy, standing, alarms)
    crashpoint("K11")
    return verdict


def _said_before(records: Records, model: ModelRecord, verdict: Verdict) -> bool:
    """Count the verdict if it says what the last one said and changes nothing else; tell whether it does."""
    if verdict.settles:
        return False
    return records.requests.decide_again(model.id, reason=verdict.reason, numbers=verdict.numbers)


def _write(records: Records, model: ModelRecord, verdict: Verdict) -> bool:
    request = _request(records, model, verdict) if verdict.trigger is not None else None
    for ident, outcome in verdict.unserved.items():
        records.alarms.settle([ident], outcome=outcome, request_id=None)
    if verdict.cron_answered:
        records.requests.cron_answered(model.id)
    records.requests.decide(
        model.id,
        fired=verdict.fired,
        reason=verdict.reason,
        numbers=verdict.numbers,
        request_id=None if request is None else request.id,
    )
    return verdict.fired


def _request(records: Records, model: ModelRecord, verdict: Verdict) -> RequestRecord:
    """Make the request that a verdict asks for, and let it answer the alarms behind it.

    Raises:
        TransientError: another road asked for the same snapshot a moment ago.
    """
    request = records.requests.add(
        NewRequest(
            model_id=model.id,
            reason=str(verdict.trigger),
            upto_seq=verdict.numbers["upto_seq"],
            new_rows=verdict.new_rows,
            settings=model.policy.settings(),
            requested_by=POLICY_ACTOR,
            trace_id=None,
            priority=model.policy.priority,
            instance_types=model.policy.instance_types,
            spot=model.policy.spot,
        )
    )
    if request is None:
        raise TransientError(f"another request for the same rows of {model.name} was made just now")
    records.outbox.post("training", TrainingRequest(request.id))
    if verdict.served:
        records.alarms.settle(verdict.served, outcome="training was requested", request_id=request.id)
    if verdict.trigger in ALARM_KEYS.values():
        crashpoint("K46")
    payload = {"model": model.name, "reason": request.reason, "upto_seq": request.upto_seq}
    records.journal.announce("request.created", f"request/{request.id}", payload)
    _log.info(
        "policy.fired", model=model.name, request_id=request.id, trigger=verdict.trigger, new_rows=verdict.new_rows
    )
    return request
