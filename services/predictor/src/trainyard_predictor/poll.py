"""Where no Lambda runs: take messages from the queues and call the function with them as Lambda would.

``python -m trainyard_predictor.poll`` works until SIGTERM or SIGINT on the queue of batch jobs and on those in
TRAINYARD_POLL_QUEUES. In between it has the function look for batch jobs that nobody works on, as a schedule does for
Lambda. Exit code 0 after a stop that was asked for, 1 after a fault, 2 for a setting that cannot be read.
"""

from __future__ import annotations

import math
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from trainyard import crashpoints, logs
from trainyard.adapters.slim.clients import SlimClients
from trainyard.clock import SystemClock
from trainyard.config import load
from trainyard.contracts.queue import MAX_BATCH, MAX_WAIT_SECONDS
from trainyard.errors import ConfigError, TransientError
from trainyard.loops import Loop, on_stop_signals, run_threads
from trainyard_predictor import lambda_bootstrap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from trainyard.contracts.queue import Queue, Received

EXIT_OK, EXIT_FAULT, EXIT_CONFIG = 0, 1, 2
_log = logs.get(__name__)


def main() -> int:
    """Poll every queue in a thread of its own; return the exit code."""
    environ = os.environ  # noqa: TID251 - an entry module
    stop = threading.Event()
    try:
        config = load(environ)
        crashpoints.arm(environ)
        logs.configure("predictor-poll", level=config.log_level)
        clock = SystemClock()
        clients = SlimClients(environ, region=config.aws_region, endpoint=config.aws_endpoint_url, clock=clock)
        function = lambda_bootstrap.build(config, environ, stopping=stop.is_set)
    except ConfigError as e:
        sys.stderr.write(f"trainyard-predictor: {e}\n")
        return EXIT_CONFIG
    on_stop_signals(lambda _name: stop.set())
    seconds = config.message_seconds
    pollers = [
        Poller(clients.queue(name), name, function.handle, visibility_seconds=seconds) for name in config.poll_queues
    ]
    # a message about a batch job stands for a turn on it, which takes longer than what other messages ask for
    turn = Poller(
        clients.queue(config.queue_batch),
        config.queue_batch,
        function.handle,
        visibility_seconds=math.ceil(config.batch_slice_seconds) + seconds,
        limit=1,
    )
    pollers.append(turn)
    look = Look(function.handle)
    timer = Loop(look.name, look.step, stop=stop, period=config.batch_look_seconds)
    loops = [timer, *(Loop(poller.name, poller.step, stop=stop) for poller in pollers)]
    _log.info("poll.started", queues=", ".join(poller.name for poller in pollers))

    def wind_up() -> None:
        timer.wake()
        _finish([look, *pollers], seconds)

    faults = run_threads({loop.name: loop.run for loop in loops}, stop, stopping=wind_up, join_seconds=0)
    clients.close()
    _log.info("poll.stopped", faults=", ".join(faults))
    return EXIT_FAULT if faults else EXIT_OK


class Hands:
    """Something that has work in hand, or has not."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._hands = threading.Lock()

    def finish(self, seconds: float) -> bool:
        """Wait until nothing is in hand, and let nothing be taken in hand any more; a thread may wait for messages.

        What it then receives comes again. False: it took longer than ``seconds``.
        """
        return self._hands.acquire(timeout=seconds)


class Look(Hands):
    """Calls the function to look for batch jobs, as a schedule would."""

    def __init__(self, handle: Callable[[Any], Any]) -> None:
        super().__init__("batch-look")
        self._handle = handle

    def step(self) -> None:
        """Look once.

        Raises:
            TransientError: something does not answer.
        """
        with self._hands:
            try:
                self._handle({"batch_look": True})
            except TransientError:
                raise
            except Exception as e:  # noqa: BLE001 - one job must not end the others: as Lambda, report and go on
                _log.error("poll.look_failed", error=e)


class Poller(Hands):
    """Takes messages from one queue and calls the function with them."""

    def __init__(
        self,
        queue: Queue,
        name: str,
        handle: Callable[[Any], Any],
        *,
        visibility_seconds: int,
        wait_seconds: int = MAX_WAIT_SECONDS,
        limit: int = MAX_BATCH,
    ) -> None:
        super().__init__(name)
        self._limit = limit
        self._queue = queue
        self._handle = handle
        self._visibility_seconds = visibility_seconds
        self._wait_seconds = wait_seconds

    def step(self) -> None:
        """Take messages once, call the function, and settle those that it does not report as failed.

        What failed comes again when its visibility time ends. As with Lambda, an exception or an answer that names no
        failures in the right form means that every message failed.

        Raises:
            TransientError: the queue does not answer; whatever was not settled comes again.
        """
        received = self._queue.receive(
            limit=self._limit, wait_seconds=self._wait_seconds, visibility_seconds=self._visibility_seconds
        )
        if not received:
            return
        with self._hands:
            try:
                failed = _failed(self._handle({"Records": [_record(m, self.name) for m in received]}), received)
            except Exception as e:  # noqa: BLE001 - one batch must not end the others: as Lambda, report and go on
                _log.error("poll.batch_failed", error=e, queue=self.name, messages=len(received))
                return
            for message in received:
                if message.message_id not in failed:
                    self._queue.delete(message.receipt)


def _finish(hands: Iterable[Hands], seconds: float) -> None:
    for one in hands:
        if not one.finish(seconds):
            _log.warning("poll.left_in_hand", name=one.name)


def _failed(answer: Any, received: list[Received]) -> set[Any]:
    """Return the ids of the messages that failed; raises ValueError when the answer does not say it as Lambda asks."""
    known = {message.message_id for message in received}
    items = answer.get("batchItemFailures") if isinstance(answer, dict) else None
    nobody = [None]  # what is wrong counts as an id that no message has
    named = items if isinstance(items, list) else nobody
    failed = {item.get("itemIdentifier") if isinstance(item, dict) else None for item in named}
    if not failed <= known:
        raise ValueError(f"the function answered {str(answer)[:100]!r}")
    return failed


def _record(message: Received, name: str) -> dict[str, Any]:
    """Return the message as Lambda's event has it."""
    sent = {} if message.sent_at is None else {"SentTimestamp": str(round(message.sent_at * 1000))}
    kind = {"type": {"stringValue": message.type, "dataType": "String"}} if message.type else {}
    return {
        "messageId": message.message_id,
        "receiptHandle": message.receipt,
        "body": message.body,
        "attributes": {"ApproximateReceiveCount": str(message.receive_count), **sent},
        "messageAttributes": kind,
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:::{name}",
    }


if __name__ == "__main__":
    sys.exit(main())
