"""Labels and predictions reach the log in every order: early, twice, corrected.

Set-up: three predictions, each logged twice; a label that is given, repeated with its Idempotency-Key, and corrected; a
label that is given once; and a prediction that nobody labels. They are delivered in 100 orders (in `make verify` in
1,000, on each of two emulators: a hypothesis profile says how many), in which only a correction comes after what it
corrects. Seen: the same table in the end, with the latest label of each prediction, and the same live metrics.
"""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainyard.adapters.postgres.prediction_log import PostgresPredictionLog
from trainyard.contracts.idempotency import Repeatable
from trainyard.contracts.prediction_log import Label, Prediction

if TYPE_CHECKING:
    from tests.cases.yard import Yard

    from trainyard.contracts.prediction_log import LoggedPrediction

ORDERS_OF_AN_EXAMPLE = 25
START = datetime(2026, 1, 1, tzinfo=UTC)
#: What happens: ("log" or a label's name, number of the prediction).
EVENTS = [*[("log", 0), ("log", 1), ("log", 2)] * 2, ("given", 0), ("given", 0), ("corrected", 0), ("given", 1)]
VALUES = {("given", 0): True, ("corrected", 0): False, ("given", 1): True}
#: Number, answer and label of each prediction in the end.
TABLE = [(0, False, False), (1, True, True), (2, False, None)]
ACCURACY = 1.0
Event = tuple[str, int]
_names = itertools.count(1)


def an_order(chance: random.Random) -> list[Event]:
    """Return the events in some order; the first label of prediction 0 comes before its correction."""
    order = chance.sample(EVENTS, len(EVENTS))
    first, correction = order.index(("given", 0)), order.index(("corrected", 0))
    if correction < first:
        order[first], order[correction] = order[correction], order[first]
    return order


def deliver(log: PostgresPredictionLog, events: dict[str, Event]) -> None:
    """Let the log have one event of each order: predictions in one batch as they come, labels one by one."""
    log.add([_prediction(name, n) for name, (kind, n) in events.items() if kind == "log"])
    for name, event in events.items():
        if event in VALUES:
            once = Repeatable("POST /v1/feedback", "key", f"{name} {event}", str(event))
            label = Label(VALUES[event], _id(name, event[1]))
            log.give([label], key_id="key", trace_id=None, once=once)


def _id(name: str, n: int) -> str:
    return f"pr_{name}_{n}"


def _prediction(name: str, n: int) -> Prediction:
    at = START + timedelta(seconds=n)
    return Prediction(_id(name, n), name, 1, None, None, {"age": n}, {"prediction": n == 1}, 10, at)


def accuracy(found: list[LoggedPrediction]) -> float:
    """Return the share of right answers among the labelled ones."""
    labelled = [row for row in found if row.label is not None]
    return sum(row.prediction.output["prediction"] == row.label for row in labelled) / len(labelled)


def test_any_order(yard: Yard) -> None:
    """As many orders as the profile says, each of a model of its own: one table and one accuracy."""
    log = PostgresPredictionLog(yard.engine)
    examples = settings().max_examples // ORDERS_OF_AN_EXAMPLE

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(seed=st.integers(0, 2**32))
    def holds(seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
        orders = {f"m{next(_names)}": an_order(chance) for _ in range(ORDERS_OF_AN_EXAMPLE)}
        for step in range(len(EVENTS)):
            deliver(log, {name: order[step] for name, order in orders.items()})
        for name, order in orders.items():
            found = sorted(log.page(model=name, version=1, limit=10), key=lambda row: row.prediction.id)
            table = [(n, row.prediction.output["prediction"], row.label) for n, row in enumerate(found)]
            assert table == TABLE, order
            assert accuracy(found) == ACCURACY, order
        given_rows = yard.rows(
            "SELECT count(*) AS n FROM core.feedback WHERE split_part(prediction_id, '_', 2) = ANY(:names)",
            names=list(orders),
        )
        assert given_rows == [{"n": len(VALUES) * len(orders)}]

    holds()
