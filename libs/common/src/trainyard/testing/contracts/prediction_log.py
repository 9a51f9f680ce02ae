"""What every prediction log does. The class needs the fixtures ``log`` (empty), ``add_model_of`` and ``keep_since``."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from trainyard.contracts.idempotency import Repeatable
from trainyard.contracts.prediction_log import Added, Feedback, Label, Prediction, ShadowScore
from trainyard.errors import ServiceError
from trainyard.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainyard.contracts.prediction_log import PredictionLog

    #: the name of a model, the schema of its dataset
    AddModelOf = Callable[[str, Schema], None]
    #: since when the log keeps what was predicted
    KeepSince = Callable[[datetime], None]

_AT = datetime(2026, 3, 1, 12, 0, 0, 123456, UTC)


def _prediction(ident: str, model: str = "buys", version: int = 1, **others: Any) -> Prediction:
    values: dict[str, Any] = {
        "key_id": "k1",
        "trace_id": None,
        "inputs": {"age": 30, "city": "Zürich", "income": 0.1, "none": None},
        "output": {"prediction": True, "probabilities": {"true": 0.9, "false": 0.1}},
        "latency_us": 120,
        "predicted_at": _AT,
    }
    return Prediction(ident, model, version, **{**values, **others})


def _give(log: PredictionLog, *labels: Label, once: Repeatable | None = None) -> Feedback:
    return log.give(labels, key_id="k1", trace_id="t1", once=once)


class PredictionLogContract:
    """Predictions logged once, labels joined to them whenever they come."""

    def test_add_once(self, log: PredictionLog) -> None:
        """A prediction comes back as it was logged; its id is logged once, within a message and over messages."""
        one, two = _prediction("p1"), _prediction("p2", latency_us=None, key_id=None, trace_id="t")
        assert log.add([one, two, one]) == Added(2)
        assert log.add([two, _prediction("p1", version=9)]) == Added(0)
        assert log.add([]) == Added(0)
        page = log.page(model=None, version=None, limit=10)
        assert [row.prediction for row in page] == [one, two]
        assert [row.label for row in page] == [None, None]
        assert page[0].seq < page[1].seq
        assert log.find("p2") == page[1]
        assert log.find("p3") is None

    def test_add_shadows_once(self, log: PredictionLog) -> None:
        """One comparison for each prediction and shadow, whether its prediction is in the log or not."""
        one = ShadowScore("p1", "buys", 1, 2, -0.25, True, _AT)
        assert log.add_shadows([one, replace(one, prediction_id="p2"), one]) == 2
        other = replace(one, shadow_version=3, changed=False)
        assert log.add_shadows([other, one]) == 1
        assert log.shadows_of("p1") == [one, other]
        assert log.shadows_of("p3") == []
        assert log.add_shadows([]) == 0
        assert log.page(model=None, version=None, limit=10) == []

    def test_late_and_early(self, log: PredictionLog, keep_since: KeepSince) -> None:
        """What comes late is logged in its turn, from whatever month it is; so is what a clock ahead of ours made."""
        keep_since(_AT)
        times = {"now": _AT + timedelta(days=40), "late": _AT, "ahead": _AT + timedelta(days=4_000)}
        for ident, at in times.items():
            assert log.add([_prediction(ident, predicted_at=at)]) == Added(1)
        page = log.page(model=None, version=None, limit=9)
        assert [(row.prediction.id, row.prediction.predicted_at) for row in page] == list(times.items())

    def test_too_late(self, log: PredictionLog, keep_since: KeepSince) -> None:
        """What was predicted before the months that are kept is counted and not logged; what is there stays known."""
        old = _prediction("old", predicted_at=_AT - timedelta(microseconds=1))
        assert log.add([old]) == Added(1)
        keep_since(_AT)
        gone = _prediction("gone", predicted_at=_AT - timedelta(days=1))
        assert log.add([gone, old, _prediction("new"), gone]) == Added(1, expired=2)
        assert [row.prediction.id for row in log.page(model=None, version=None, limit=9)] == ["old", "new"]
        assert log.find("gone") is None

    def test_page(self, log: PredictionLog) -> None:
        """Pages follow the log's order, or come from its end, for all or one model or version, and end."""
        log.add([_prediction(f"p{n}", model="ab"[n % 2], version=1 + n // 6) for n in range(10)])

        def walk(model: str | None, version: int | None, *, newest: bool = False) -> list[str]:
            found: list[str] = []
            after = 0
            while page := log.page(model=model, version=version, limit=2, after=after, newest=newest):
                found += [row.prediction.id for row in page]
                after = page[-1].seq
            return found

        assert walk(None, None) == [f"p{n}" for n in range(10)]
        assert walk("b", None) == ["p1", "p3", "p5", "p7", "p9"]
        assert walk("b", 2) == ["p7", "p9"]
        assert walk("c", None) == []
        assert walk(None, None, newest=True) == [f"p{n}" for n in reversed(range(10))]
        assert walk("b", 2, newest=True) == ["p9", "p7"]

    @pytest.mark.parametrize("label", [True, 7, -0.5, "late", ""])
    def test_label(self, log: PredictionLog, label: Any) -> None:
        """A label of any kind comes back with its prediction, as it was given."""
        log.add([_prediction("p1"), _prediction("p2")])
        assert _give(log, Label(label, prediction_id="p1")) == Feedback(1, 0)
        found = log.find("p1")
        assert found is not None
        assert (found.label, type(found.label)) == (label, type(label))
        assert [row.label for row in log.page(model="buys", version=None, limit=5)] == [label, None]

    def test_latest_label_counts(self, log: PredictionLog) -> None:
        """A corrected label replaces the one before it, within one call too."""
        log.add([_prediction("p1")])
        _give(log, Label(1, prediction_id="p1"), Label(2, prediction_id="p1"))
        _give(log, Label(3, prediction_id="p1"))
        assert [row.label for row in log.page(model=None, version=None, limit=5)] == [3]

    def test_label_before_its_prediction(self, log: PredictionLog) -> None:
        """A label whose prediction is not in the log is kept, counted as parked, and joined when it comes."""
        log.add([_prediction("p1")])
        assert _give(log, Label(1, prediction_id="p1"), Label(0, prediction_id="p2")) == Feedback(2, 1)
        log.add([_prediction("p2")])
        assert [row.label for row in log.page(model=None, version=None, limit=5)] == [1, 0]

    def test_label_by_key(self, log: PredictionLog) -> None:
        """A label by the dataset's key is taken and never parked."""
        assert _give(log, Label("x", model="buys", key={"id": 7, "day": "2024-01-01"})) == Feedback(1, 0)

    def test_given_once(self, log: PredictionLog) -> None:
        """A repeated key gets the first answer and stores nothing; with another body it is refused."""
        once = Repeatable("POST /v1/feedback", "k1", "a", "sha")
        first = _give(log, Label(1, prediction_id="p1"), once=once)
        log.add([_prediction("p1")])
        _give(log, Label(2, prediction_id="p1"))
        assert _give(log, Label(1, prediction_id="p1"), once=once) == first == Feedback(1, 1)
        found = log.find("p1")
        assert found is not None
        assert found.label == 2, "the repetition did not come last"
        with pytest.raises(ServiceError) as refused:
            _give(log, Label(1, prediction_id="p1"), once=Repeatable("POST /v1/feedback", "k1", "a", "other"))
        assert refused.value.code == "key_reused"
        assert (
            _give(log, Label(1, prediction_id="p1"), once=Repeatable("POST /v1/feedback", "k2", "a", "b")).parked == 0
        )

    def test_given_once_at_once(self, log: PredictionLog) -> None:
        """Of eight who send the same key at once, all get the same answer."""
        once = Repeatable("POST /v1/feedback", "k1", "a", "sha")
        with ThreadPoolExecutor(8) as pool:
            answers = set(pool.map(lambda _: _give(log, Label(1, prediction_id="p1"), once=once), range(8)))
        assert answers == {Feedback(1, 1)}

    def test_models(self, log: PredictionLog, add_model_of: AddModelOf) -> None:
        """Models are known by name, with the schema of their dataset."""
        schema = Schema.from_dict({"columns": [{"name": "id", "type": "int", "role": "key", "nullable": False}]})
        add_model_of("buys", schema)
        assert log.schemas(["buys", "sells"]) == {"buys": schema}
        assert log.schemas([]) == {}
        assert (log.knows("buys"), log.knows("sells")) == (True, False)
