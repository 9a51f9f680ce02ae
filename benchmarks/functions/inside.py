"""Times one event after the other within a function's own environment: ``python inside.py EVENT`` prints JSON.

``before`` and ``after`` numpy is imported, which is after 256 rows: the processor's milliseconds from event to answer,
without the log. ``log``: how long the answer waits until the queue has the record.
"""

import json
import os
import statistics
import sys
import time

from trainyard.adapters.slim.clients import SlimClients
from trainyard.clock import SystemClock
from trainyard.config import load
from trainyard_predictor import lambda_bootstrap

BEFORE, AFTER = 200, 300


class Timed:
    """The queue of the log, with the times of the last sending."""

    def __init__(self, queue):
        self._queue = queue
        self.seconds = self.work_seconds = 0.0

    def send(self, messages):
        """Send, and remember."""
        began, worked = time.perf_counter(), time.process_time()
        refused = self._queue.send(messages)
        self.seconds, self.work_seconds = time.perf_counter() - began, time.process_time() - worked
        return refused


def main(event):
    """Answer the event many times; print the medians."""
    config = load(os.environ, only=lambda_bootstrap.SETTINGS)
    clients = SlimClients(os.environ, region=config.aws_region, endpoint=config.aws_endpoint_url, clock=SystemClock())
    queue = Timed(clients.queue(config.queue_predictions))
    function = lambda_bootstrap.build(config, os.environ, queue=queue)
    own, log = [], []
    for _ in range(1 + BEFORE + 100 + AFTER):
        worked = time.process_time()
        assert function.handle(event)["statusCode"] == 200
        own.append((time.process_time() - worked - queue.work_seconds) * 1e3)
        log.append(queue.seconds * 1e3)
        assert len(own) > BEFORE + 1 or "numpy" not in sys.modules
    assert "numpy" in sys.modules
    medians = {"before": own[1 : 1 + BEFORE], "after": own[-AFTER:], "log": log[1:]}
    print(json.dumps({name: statistics.median(times) for name, times in medians.items()}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
