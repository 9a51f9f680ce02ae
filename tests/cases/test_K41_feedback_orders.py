"""Labels and predictions reach the log in every order, some of them twice, some before what they belong to.

Set-up: eight predictions, each logged twice; labels that come before their prediction, again with the same
Idempotency-Key, and once corrected; delivered in 1,000 orders that keep only the order of a correction and what it
corrects. Seen: the same table in the end, the latest label of each prediction, and the same live metrics.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainyard.adapters.postgres.prediction_log import PostgresPredictionLog
from trainyard.contracts.idempotency import Repeatable
from trainyard.contracts.prediction_log import Label, Prediction

if TYPE_CHECKING:
    from tests.cases.yard import Yard

PREDICTIONS = 8
EXAMPLES, ORDERS_OF_AN_EXAMPLE = 10, 100
START = datetime(2026, 1, 1, tzinfo=UTC)
#: The first label of each prediction (None: no label), and what it is corrected to (None: not corrected).
FIRST = (True, False, True, None, True, False, False, True)
CORRECTED = (None, True, None, None, False, None, None, True)

Event = tuple[str, int]


def events() -> list[Event]:
    """Return what happens: a kind and the number of a prediction."""
    labelled = [n for n in range(PREDICTIONS) if FIRST[n] is not None]
    corrected = [n for n in range(PREDICTIONS) if CORRECTED[n] is not None]
    logged = [("log", n) for n in range(PREDICTIONS)] * 2
    return logged + [("label", n) for n in labelled] * 2 + [("correct", n) for n in corrected]


def an_order(chance: random.Random) -> list[Event]:
    """Return the events in some order in which no correction comes before what it corrects.

    A label that is repeated with its key after its correction is the repetition of an old request: it changes nothing.
    """
    order = events()
    chance.shuffle(order)
    for n in range(PREDICTIONS):
        if CORRECTED[n] is not None:
            mine = [i for i, (kind, of) in enumerate(order) if of == n and kind in {"label", "correct"}]
            first, correction = mine[0], next(i for i in mine if order[i][0] == "correct")
            order[first], order[correction] = order[correction], order[first]
            if order[first][0] != "label":
                order[first], order[correction] = order[correction], order[first]
    return order


def deliver(log: PostgresPredictionLog, name: str, event: Event) -> None:
    """Let the log have one event, as ingest gives it."""
    kind, n = event
    prediction_id = f"pr_{name}_{n}"
    if kind == "log":
        output = {"prediction": n % 2 == 0, "probabilities": {"false": 0.5, "true": 0.5}}
        at = START + timedelta(seconds=n)
        log.add([Prediction(prediction_id, name, 1, None, None, {"age": n}, output, 10, at)])
        return
    value = FIRST[n] if kind == "label" else CORRECTED[n]
    assert value is not None
    once = Repeatable("POST /v1/feedback", "key", f"{name}-{kind}-{n}", f"{kind}-{n}")
    log.give([Label(value, prediction_id)], key_id="key", trace_id=None, once=once)
