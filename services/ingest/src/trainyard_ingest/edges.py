"""Where work comes in without being asked over HTTP: S3 notifications, prediction logs, the clock."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote_plus

from trainyard import logs, messages
from trainyard.contracts.idempotency import Repeatable
from trainyard.errors import MessageError, ServiceError, TransientError
from trainyard.loops import backoff_seconds
from trainyard.prediction_blocks import records_of
from trainyard_ingest.domain.records import read_record, read_shadow

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainyard.clock import Clock
    from trainyard.contracts.prediction_log import PredictionLog
    from trainyard.contracts.queue import Queue, Received
    from trainyard_ingest.use_cases.feedback import TakeFeedback
    from trainyard_ingest.use_cases.landing import Landing
    from trainyard_ingest.use_cases.pulls import Puller

#: Short enough that a stop is prompt.
_WAIT_SECONDS = 3
#: So much of the time before a message becomes visible to others, and no more, is left for the last try.
_SPARE_SHARE, _MOST_SPARE_SECONDS = 0.25, 15.0
_STOP_SECONDS = 0.5
_PULL_SECONDS = 1.0
#: Soon, because nothing changes for a message that can never be handled, yet not before those behind it had their turn.
_INVALID_AGAIN_SECONDS = 2
_ETAG = re.compile(r"[!#-~]{1,128}")
#: S3 holds no larger object.
_MOST_BYTES = 1 << 50
_log = logs.get(__name__)


class Consumer:
    """Takes messages from one queue, one after the other.

    A message that can never be handled is given back at once, so that the queue soon moves it to its dead letters; it
    never ends the loop, whatever it makes the handler raise. One that meets an outage is tried again until shortly
    before it becomes visible to others; nothing is received while ``ready`` says no, so that an outage does not use up
    the receives that a message has before it counts as dead.
    """

    def __init__(
        self,
        queue: Queue,
        handle: Callable[[Received], None],
        *,
        ready: Callable[[], bool],
        stop: threading.Event,
        clock: Clock,
        visibility_seconds: int,
    ) -> None:
        self._queue = queue
        self._handle = handle
        self._ready = ready
        self._stop = stop
        self._clock = clock
        self._visibility_seconds = visibility_seconds

    def step(self) -> None:
        """Receive once and settle what came.

        Raises:
            TransientError: the queue, or what the messages are for, does not answer.
        """
        if not self._ready():
            raise TransientError("the database does not answer just now")
        spare = min(_MOST_SPARE_SECONDS, _SPARE_SHARE * self._visibility_seconds)
        until = self._clock.monotonic() + self._visibility_seconds - spare
        received = self._queue.receive(
            limit=10, wait_seconds=_WAIT_SECONDS, visibility_seconds=self._visibility_seconds
        )
        for message in received:
            if self._stop.is_set():
                self._queue.extend(message.receipt, 0)
                continue
            try:
                self._try(message, until)
            except TransientError:
                raise
            except Exception as e:  # noqa: BLE001 - one message must never end the loop for all others
                what = "message.invalid" if isinstance(e, MessageError) else "message.crashed"
                _log.error(what, message_id=message.message_id, receives=message.receive_count, error=e)
                self._queue.extend(message.receipt, _INVALID_AGAIN_SECONDS)
            else:
                self._queue.delete(message.receipt)

    def _try(self, message: Received, until: float) -> None:
        failures = 0
        while True:
            try:
                self._handle(message)
            except TransientError as e:
                failures += 1
                if self._stop.is_set() or self._clock.monotonic() >= until:
                    raise
                _log.warning("message.delayed", message_id=message.message_id, failures=failures, reason=str(e))
                self._stop.wait(backoff_seconds(failures))
            else:
                return


class Sweeping:
    """Sweeps ``landing/`` at the start, then every ``seconds``, and at once when asked."""

    def __init__(self, landing: Landing, stop: threading.Event, seconds: float) -> None:
        self._landing = landing
        self._stop = stop
        self._seconds = seconds
        self._due = threading.Event()
        self._due.set()

    def soon(self) -> None:
        """Let the next :meth:`step` sweep without waiting."""
        self._due.set()

    def step(self) -> None:
        """Wait until a sweep is due and do it; comes back now and then to let a stop through.

        Raises:
            TransientError: the store or the database does not answer; the next step tries again at once.
        """
        self._wait()
        if self._stop.is_set():
            return
        self._due.clear()  # before the sweep: who asks while it runs means the next one
        try:
            tried = self._landing.sweep(self._stop.is_set)
        except TransientError:
            self._due.set()
            raise
        if tried:
            _log.info("landing.swept", files=tried)

    def _wait(self) -> None:
        waited = 0.0
        while waited < self._seconds and not self._stop.is_set() and not self._due.wait(_STOP_SECONDS):
            waited += _STOP_SECONDS


class Pulling:
    """Pulls whatever is due or asked for, and looks for more every second."""

    def __init__(self, puller: Puller, stop: threading.Event) -> None:
        self._puller = puller
        self._stop = stop

    def step(self) -> None:
        """Pull one source, or wait a second when there is none.

        Raises:
            TransientError: the database does not answer.
        """
        if not self._puller.step():
            self._stop.wait(_PULL_SECONDS)


def landing_handler(landing: Landing, sweep_soon: Callable[[], None]) -> Callable[[Received], None]:
    """Return what to do with an S3 notification: take each object that it names.

    S3's test event says that the notifications have just been set up, so files that came before were not announced.
    """

    def handle(message: Received) -> None:
        created = created_objects(message.body)
        if created is None:
            sweep_soon()
            return
        for found in created:
            landing.take(found.key, found.etag, found.size)

    return handle


class Created(NamedTuple):
    """An object that S3 says was created; ``size`` in bytes, None when S3 does not say."""

    key: str
    etag: str
    size: int | None


def created_objects(body: str) -> list[Created] | None:
    """Return each object that an S3 notification says was created; None for S3's test event.

    Raises:
        MessageError: it is not an S3 notification.
    """
    try:
        event = json.loads(body)
        if event.get("Event") == "s3:TestEvent":
            return None
        return [
            _created(record["s3"]["object"])
            for record in event["Records"]
            if str(record["eventName"]).startswith("ObjectCreated:")
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise MessageError("not an S3 notification", body) from e


def _created(said: dict[str, Any]) -> Created:
    size = said.get("size")
    known = type(size) is int and 0 <= size < _MOST_BYTES
    return Created(unquote_plus(said["key"]), _etag(said["eTag"]), size if known else None)


def _etag(given: str) -> str:
    """Return the bare etag; ValueError for one that could not stand in a header, where it would be asked for."""
    etag = given.strip('"')
    if not _ETAG.fullmatch(etag):
        raise ValueError("not an etag")
    return etag


def predictions_handler(log: PredictionLog, feedback: TakeFeedback) -> Callable[[Received], None]:
    """Return what to do with a message of the predictions queue: log predictions or comparisons, or take labels."""

    def handle(message: Received) -> None:
        content = messages.decode(message.type, message.body)
        try:
            if isinstance(content, messages.PredictionLogged):
                records = [read_record(record) for entry in content.records for record in records_of(entry)]
                added = log.add(records)
                _log.info("predictions.logged", predictions=len(records), new=added.new)
                if added.expired:
                    _log.warning("predictions.expired", predictions=added.expired)
            elif isinstance(content, messages.ShadowScored):
                new = log.add_shadows([read_shadow(record) for record in content.records])
                _log.info("shadows.logged", predictions=len(content.records), new=new)
            elif isinstance(content, messages.FeedbackGiven):
                digest = hashlib.sha256(message.body.encode()).hexdigest()
                once = Repeatable("queue predictions", "queue", message.message_id, digest)
                given = feedback.take(content.items, key_id=None, trace_id=None, once=once)
                _log.info("feedback.taken", accepted=given.accepted, parked=given.parked)
            else:
                raise MessageError(f"the queue does not carry {message.type}", message.body)
        except (ValueError, ServiceError) as e:
            raise MessageError(str(e), message.body) from e

    return handle
