"""The gate: what passes, what does not, and that the report says why."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainyard import gate
from trainyard.metrics.answers import Answers
from trainyard.metrics.measures import FLOOR, row_losses
from trainyard.policy import GatePolicy

if TYPE_CHECKING:
    from trainyard.gate import GateReport

POLICY = GatePolicy(min_rows=50)
BEATS_CHAMPION = 2


def binary(n: int = 2_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels, the true probabilities, and the prior's, all as (rows,) or (rows, 2)."""
    rng = np.random.default_rng(seed)
    p = rng.uniform(0.05, 0.95, n)
    labels = (rng.random(n) < p).astype(np.int64)
    prior = np.tile([1 - labels.mean(), labels.mean()], (n, 1))
    return labels, np.column_stack([1 - p, p]), prior


def judge(task: str, labels: Any, *, challenger: Any, champion: Any, prior: Any, **more: Any) -> GateReport:
    """Judge models by their outputs; each decides at one half."""
    models = {"challenger": challenger, "champion": champion, "prior": prior}
    told = {name: None if outputs is None else Answers.of(task, outputs) for name, outputs in models.items()}
    return gate.judge(task, labels, **told, **more)


def blurred(p: np.ndarray, weight: float) -> np.ndarray:
    """Return probabilities drawn towards one half."""
    return (1 - weight) * p + weight * 0.5


def test_first_version_that_knows_something_passes() -> None:
    """Without a champion, beating the prior beyond noise on enough rows is enough, and the words say so."""
    labels, p, prior = binary()
    report = judge("binary", labels, challenger=p, champion=None, prior=prior, settings=POLICY)
    assert report.passed
    assert report.summary.startswith("passed: there is no champion yet")
    assert report.metrics["challenger"]["roc_auc"] > 0.7


def test_a_model_like_the_prior_is_refused() -> None:
    """A model that knows nothing is refused, champion or not."""
    labels, p, prior = binary()
    for champion in (None, blurred(p, 0.9)):
        report = judge("binary", labels, challenger=prior, champion=champion, prior=prior, settings=POLICY)
        assert not report.passed
        assert "beats_prior" in [c.name for c in report.checks if not c.passed]


def test_the_last_bit_is_no_gain() -> None:
    """The prior computed in another way may be better by 1e-17 in every row, which no draw contradicts."""
    labels, _, prior = binary()
    for way in (np.nextafter(prior, 0.0), np.nextafter(prior, 1.0)):
        report = judge("binary", labels, challenger=way, champion=None, prior=prior, settings=POLICY)
        (check,) = [c for c in report.checks if c.name == "beats_prior"]
        assert (check.value, check.passed) == (0.0, False)


def test_better_takes_over_worse_does_not() -> None:
    """Of two models that differ clearly the better one passes against the worse one, and not the other way round."""
    labels, good, prior = binary()
    bad = blurred(good, 0.6)
    assert judge("binary", labels, challenger=good, champion=bad, prior=prior, settings=POLICY).passed
    refused = judge("binary", labels, challenger=bad, champion=good, prior=prior, settings=POLICY, champion_version=4)
    assert not refused.passed
    assert "version 4" in refused.summary
    assert "higher" in refused.summary


def test_the_same_model_is_refused() -> None:
    """A challenger that cannot be told from the champion does not take its place, at any confidence."""
    labels, p, prior = binary()
    for confidence in (0.5, 0.9, 0.999):
        policy = GatePolicy(50, 0.0, confidence)
        assert not judge("binary", labels, challenger=p, champion=p.copy(), prior=prior, settings=policy).passed


def test_too_few_rows() -> None:
    """A perfect model on too few rows is refused, also on one row and on none at all."""
    for n in (0, 1, 49):
        labels = np.arange(n) % 2
        perfect = np.column_stack([1.0 - labels, labels]).astype(float)
        prior = np.full((n, 2), 0.5)
        report = judge("binary", labels, challenger=perfect, champion=prior, prior=prior, settings=POLICY)
        assert not report.passed
        assert f"{n} test rows" in report.summary
        json.dumps(report.as_dict(), allow_nan=False)


def test_min_improvement_is_asked_for() -> None:
    """A gain beyond noise but below the policy's minimum is refused."""
    labels, good, prior = binary(20_000)
    slightly = blurred(good, 0.2)
    assert judge("binary", labels, challenger=good, champion=slightly, prior=prior, settings=POLICY).passed
    strict = GatePolicy(50, 0.5, 0.9)
    report = judge("binary", labels, challenger=good, champion=slightly, prior=prior, settings=strict)
    assert not report.passed
    assert report.checks[BEATS_CHAMPION].threshold == 0.5


def test_unknown_class_counts_against_everybody_alike() -> None:
    """A row of a class that the challenger does not know costs the floor for both; it decides nothing."""
    labels = np.array([0, 1, -1] * 100)
    p = np.tile([0.5, 0.5], (300, 1))
    losses = row_losses("multiclass", labels, p)
    assert losses[2] == pytest.approx(-np.log(FLOOR))
    report = judge("multiclass", labels, challenger=p, champion=p, prior=p, settings=POLICY)
    assert report.checks[BEATS_CHAMPION].value == 0.0


def test_regression() -> None:
    """For values the squared error counts, and the metrics are those of regressions."""
    rng = np.random.default_rng(1)
    truth = rng.normal(size=500)
    near, far = truth + rng.normal(0, 0.1, 500), truth + rng.normal(0, 0.5, 500)
    report = judge("regression", truth, challenger=near, champion=far, prior=np.zeros(500), settings=POLICY)
    assert report.passed
    assert set(report.metrics["challenger"]) == {"loss", "rmse", "mae", "r2"}
    assert "squared error" in report.summary


def test_metrics_that_have_no_value_are_left_out() -> None:
    """Test rows of one class have no AUC; the report stands without it."""
    labels = np.ones(100, dtype=np.int64)
    p = np.tile([0.2, 0.8], (100, 1))
    report = judge("binary", labels, challenger=p, champion=None, prior=np.full((100, 2), 0.5), settings=POLICY)
    assert "roc_auc" not in report.metrics["challenger"]
    assert report.metrics["challenger"]["log_loss"] == pytest.approx(-np.log(0.8))


def test_champion_that_could_not_be_asked() -> None:
    """The reason why there is no comparison stands in the summary, passed or not."""
    labels, p, prior = binary()
    note = "version 3 cannot be compared with: it reads the column 'x'"
    good = judge("binary", labels, challenger=p, champion=None, prior=prior, settings=POLICY, champion_note=note)
    bad = judge("binary", labels, challenger=prior, champion=None, prior=prior, settings=POLICY, champion_note=note)
    assert note in good.summary
    assert note in bad.summary


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(2, 200),
    seed=st.integers(0, 2**16),
    confidence=st.floats(0.5, 0.999),
    least=st.floats(-1, 1),
    weight=st.floats(0, 1),
)
def test_never_both_ways(n: int, seed: int, confidence: float, least: float, weight: float) -> None:
    """Of two models at most one passes against the other; the verdict is that of its checks; the report is JSON."""
    labels, p, prior = binary(n, seed)
    other = blurred(p, weight)
    policy = GatePolicy(1, least, confidence)
    there = judge("binary", labels, challenger=p, champion=other, prior=prior, settings=policy)
    back = judge("binary", labels, challenger=other, champion=p, prior=prior, settings=policy)
    assert not (there.passed and back.passed)
    for report in (there, back):
        assert report.passed == all(check.passed for check in report.checks)
        assert next(iter(report.as_dict())) == "summary"
        json.dumps(report.as_dict(), allow_nan=False)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**16), order=st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter(seed: int, order) -> None:
    """The verdict depends on the rows, not on their order."""
    labels, p, prior = binary(300, seed)
    champion = blurred(p, 0.3)
    shuffled = list(range(300))
    order.shuffle(shuffled)
    one = judge("binary", labels, challenger=p, champion=champion, prior=prior, settings=POLICY)
    two = judge(
        "binary",
        labels[shuffled],
        challenger=p[shuffled],
        champion=champion[shuffled],
        prior=prior[shuffled],
        settings=POLICY,
    )
    assert one.passed == two.passed
    assert one.checks[1].value == pytest.approx(two.checks[1].value)


def test_more_confidence_never_lets_more_pass() -> None:
    """Asking for more confidence can only turn a pass into a refusal."""
    for seed in range(8):
        labels, p, prior = binary(200, seed)
        verdicts = [
            judge(
                "binary",
                labels,
                challenger=p,
                champion=blurred(p, 0.15),
                prior=prior,
                settings=GatePolicy(50, 0.0, confidence),
            ).passed
            for confidence in (0.5, 0.7, 0.85, 0.975, 0.9999)
        ]
        assert verdicts == sorted(verdicts, reverse=True)


def test_luck_is_rare_at_the_default_confidence() -> None:
    """Of models that are just as good as the champion about one in forty passes by luck, not one in six."""
    rng = np.random.default_rng(5)
    passed = 0
    for _ in range(300):
        labels = rng.normal(0.0, 10.0, 200)
        one, other = labels + rng.normal(size=(2, 200))
        prior = np.zeros(200)
        report = judge("regression", labels, challenger=one, champion=other, prior=prior, settings=GatePolicy())
        passed += report.passed
    assert 0 < passed < 17


@pytest.mark.parametrize("metric", ["roc_auc", "log_loss", "accuracy", "f1", "balanced_accuracy"])
def test_the_policy_s_metric_is_what_counts(metric: str) -> None:
    """The champion is compared in the policy's metric, with its interval and its name in the report."""
    labels, good, prior = binary()
    rng = np.random.default_rng(2)
    bad = np.clip(good[:, 1] + rng.normal(0, 0.4, len(labels)), 0.01, 0.99)
    bad = np.column_stack([1 - bad, bad])
    given = {"prior": prior, "settings": POLICY, "metric": metric}
    report = judge("binary", labels, challenger=good, champion=bad, **given)
    assert report.passed
    assert report.interval is not None
    assert report.interval.metric == ("loss" if metric == "log_loss" else metric)
    assert ("log-loss lower" if metric == "log_loss" else f"{metric} higher") in report.checks[BEATS_CHAMPION].words
    assert report.checks[BEATS_CHAMPION].threshold == pytest.approx(report.interval.gain - report.interval.lower)
    assert not judge("binary", labels, challenger=bad, champion=good, **given).passed


def test_scores_that_only_rank_are_compared_by_their_ranks() -> None:
    """By AUC a champion that is better calibrated but ranks alike is not beaten, nor does it beat."""
    labels, p, prior = binary()
    report = judge(
        "binary", labels, challenger=p, champion=blurred(p, 0.5), prior=prior, settings=POLICY, metric="roc_auc"
    )
    assert not report.passed
    assert report.checks[BEATS_CHAMPION].value == 0.0


def test_a_metric_without_a_value_cannot_be_beaten() -> None:
    """Test rows of one class say nothing about the AUC: refused, in words."""
    labels = np.ones(100, dtype=np.int64)
    p, prior = np.tile([0.2, 0.8], (100, 1)), np.full((100, 2), 0.5)
    report = judge("binary", labels, challenger=p, champion=prior, prior=prior, settings=POLICY, metric="roc_auc")
    assert not report.passed
    assert report.checks[BEATS_CHAMPION].value is None
    assert "too much alike" in report.summary


def test_regression_in_the_metric_s_unit() -> None:
    """A minimum gain in R² or in the root of the squared error is meant in just that unit."""
    rng = np.random.default_rng(1)
    truth = rng.normal(size=2_000)
    near, far = truth + rng.normal(0, 0.1, 2_000), truth + rng.normal(0, 0.5, 2_000)
    for metric, gain in (("rmse", 0.4), ("r2", 0.24), ("mae", 0.32)):
        for least, passes in ((gain * 0.8, True), (gain * 1.2, False)):
            report = judge(
                "regression",
                truth,
                challenger=near,
                champion=far,
                prior=np.zeros(2_000),
                settings=GatePolicy(50, least),
                metric=metric,
            )
            assert report.passed == passes, (metric, report.summary)


@pytest.mark.parametrize("metric", ["accuracy", "f1", "balanced_accuracy"])
def test_what_is_decided_counts_not_what_is_likeliest(metric: str) -> None:
    """Of two models with the same probabilities the one with the better threshold wins by a metric of decisions."""
    labels, p, prior = binary()
    p = np.column_stack([1 - 0.4 * p[:, 1], 0.4 * p[:, 1]])  # the second class is never the likelier
    tuned, plain = (Answers.of("binary", p, threshold) for threshold in (0.2, 0.5))
    given = {"prior": Answers.of("binary", prior), "settings": POLICY}
    report = gate.judge("binary", labels, challenger=tuned, champion=plain, metric=metric, **given)
    assert report.checks[BEATS_CHAMPION].passed
    assert report.metrics["challenger"][metric] - report.metrics["champion"][metric] == pytest.approx(
        report.checks[BEATS_CHAMPION].value
    )
    assert not gate.judge("binary", labels, challenger=plain, champion=tuned, metric=metric, **given).passed
    assert gate.judge("binary", labels, challenger=tuned, champion=plain, **given).checks[BEATS_CHAMPION].value == 0.0
