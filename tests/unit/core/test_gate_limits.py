"""The gate's soft checks: parts of the rows, calibration, time and size."""

from __future__ import annotations

import json

import numpy as np
import pytest

from trainyard.gate import Check, Cost, GateReport, calibration_error, compare_slices, judge
from trainyard.metrics.answers import Answers
from trainyard.metrics.measures import row_losses
from trainyard.metrics.slicing import Cut
from trainyard.policy import GatePolicy

ROWS = 4_000


def world(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return labels, the true probabilities (rows, 2), a clearly worse model's, and a group (0 to 3) of each row."""
    rng = np.random.default_rng(seed)
    p = rng.uniform(0.05, 0.95, ROWS)
    labels = (rng.random(ROWS) < p).astype(np.int64)
    blurred = 0.5 * p + 0.25
    both = [np.column_stack([1 - q, q]) for q in (p, blurred)]
    return labels, both[0], both[1], rng.integers(0, 4, ROWS)


def verdict(
    challenger: np.ndarray, champion: np.ndarray | None, labels: np.ndarray, gate: GatePolicy, **more
) -> GateReport:
    """Judge."""
    prior = np.tile([1 - labels.mean(), labels.mean()], (len(labels), 1))
    ours, theirs, average = (None if p is None else Answers.of("binary", p) for p in (challenger, champion, prior))
    return judge("binary", labels, challenger=ours, champion=theirs, prior=average, settings=gate, **more)


def check(report: GateReport, name: str) -> Check:
    """Return one check."""
    return next(each for each in report.checks if each.name == name)


def test_a_gain_on_average_does_not_excuse_a_part_that_got_worse() -> None:
    """A challenger that is better on the whole and much worse in one group is refused, and the group is named."""
    labels, good, bad, group = world()
    group = np.where(np.arange(ROWS) % 2, 3, group)  # so that the part is an eighth
    challenger, bad = np.where((group == 2)[:, None], 1 - bad, good), 0.5 * bad + 0.25
    cuts = [Cut("shop", ("= a", "= b", "= c", "= d"), group)]
    report = verdict(challenger, bad, labels, GatePolicy(), cuts=cuts)
    assert check(report, "beats_champion").passed
    assert not report.passed
    failed = check(report, "no_slice_worse")
    assert failed.soft
    assert "shop = c" in failed.words
    assert report.slices is not None
    assert [part.level for part in report.slices.failed] == ["= c"]
    json.dumps(report.as_dict(), allow_nan=False)
    assert verdict(challenger, bad, labels, GatePolicy(max_slice_loss=None), cuts=cuts).passed
    assert verdict(challenger, bad, labels, GatePolicy(max_slice_loss=2.0), cuts=cuts).passed


def test_small_parts_are_not_compared() -> None:
    """Below the least number of rows a part is left alone, and the check says so."""
    labels, good, bad, _ = world()
    cuts = [Cut("shop", ("a", "b"), np.where(np.arange(ROWS) < 150, 1, -1))]
    report = verdict(good, bad, labels, GatePolicy(), cuts=cuts)
    assert check(report, "no_slice_worse").value is None
    assert report.passed


def test_parts_of_models_that_are_as_good_rarely_fail() -> None:
    """With 40 parts and no allowance, of models that are equally good at most one in forty fails in some part."""
    failed = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        one, other = rng.exponential(size=(2, 2_000))
        cuts = [Cut(f"c{n}", ("a", "b", "c", "d"), rng.integers(0, 4, 2_000)) for n in range(10)]
        found = compare_slices(cuts, challenger=one, champion=other, allowed=0.0, min_rows=200, confidence=0.975)
        failed += bool(found.failed)
    assert failed <= 15


def test_calibration_of_the_truth_and_of_a_boast() -> None:
    """The true probabilities are calibrated up to chance; pushed to the ends they are not."""
    labels, good, _, _ = world()
    error = calibration_error("binary", labels, good)
    assert error is not None
    assert error[0] < 2 * error[1]
    boast = np.where(good > 0.5, 0.99, 0.01)
    worse = calibration_error("binary", labels, boast)
    assert worse is not None
    assert worse[0] > 0.2


def test_calibration_of_other_tasks() -> None:
    """The likeliest class and values have a calibration error; a constant label and no rows have none."""
    labels = np.array([0, 1, 2, -1] * 50)
    three = np.tile([0.4, 0.3, 0.3], (200, 1))
    error = calibration_error("multiclass", labels, three)
    assert error is not None
    assert error[0] == pytest.approx(0.15)
    rng = np.random.default_rng(0)
    truth = rng.normal(size=1_000)
    shifted = calibration_error("regression", truth, truth + 0.5)
    assert shifted is not None
    assert shifted[0] == pytest.approx(0.5 / truth.std())
    assert calibration_error("regression", np.ones(5), np.zeros(5)) is None
    assert calibration_error("binary", np.empty(0), np.empty((0, 2))) is None


def test_badly_calibrated_is_refused_unless_what_serves_is_no_better() -> None:
    """A model that boasts is refused; against a champion that boasts still more it is not."""
    labels, good, _, _ = world()
    boast = np.clip(good * 1.6 - 0.3, 0.02, 0.98)
    more = np.where(good > 0.5, 0.9999, 0.0001)
    gate = GatePolicy(max_calibration_error=0.05)
    alone = verdict(boast, None, labels, gate)
    assert [each.name for each in alone.checks if not each.passed] == ["calibrated"]
    assert alone.checks[-1].soft
    assert verdict(boast, more, labels, gate).passed
    assert verdict(boast, None, labels, GatePolicy(max_calibration_error=None)).passed


@pytest.mark.parametrize(
    ("cost", "failed"),
    [
        (Cost(90.0, 900), []),
        (Cost(110.0, 900), ["fast_enough"]),
        (Cost(90.0, 1_100), ["small_enough"]),
        (Cost(), ["fast_enough", "small_enough"]),
    ],
)
def test_limits_of_time_and_size(cost: Cost, failed: list[str]) -> None:
    """Over a limit is refused, and so is what could not be measured; without a limit nothing is asked."""
    labels, good, bad, _ = world()
    report = verdict(good, bad, labels, GatePolicy(max_latency_us=100, max_size_bytes=1_000), cost=cost)
    assert [each.name for each in report.checks if not each.passed] == failed
    assert report.passed == (not failed)
    assert verdict(good, bad, labels, GatePolicy(), cost=cost).passed


def test_losses_of_the_parts_are_those_of_the_rows() -> None:
    """A part's gain and loss are means over its rows."""
    labels, good, bad, group = world()
    ours, theirs = row_losses("binary", labels, good), row_losses("binary", labels, bad)
    cuts = [Cut("g", ("a", "b", "c", "d"), group)]
    found = compare_slices(cuts, challenger=ours, champion=theirs, allowed=0.1, min_rows=2, confidence=0.975)
    assert found.compared == 4
    for part in found.worst:
        rows = group == "abcd".index(part.level)
        assert part.rows == rows.sum()
        assert part.champion_loss == pytest.approx(theirs[rows].mean())
        assert part.gain == pytest.approx((theirs - ours)[rows].mean())
        assert part.upper > part.gain


def test_borderline() -> None:
    """A verdict is borderline when only soft checks failed, or when the lower bound is above 0 by less than asked."""
    labels, good, bad, _ = world()
    soft = verdict(good, bad, labels, GatePolicy(max_size_bytes=10))
    assert (soft.passed, soft.borderline) == (False, True)
    clear = verdict(good, bad, labels, GatePolicy())
    assert (clear.passed, clear.borderline) == (True, False)
    assert clear.interval is not None
    near = verdict(good, bad, labels, GatePolicy(borderline_margin=clear.interval.lower * 1.01))
    assert (near.passed, near.borderline) == (True, True)
    hard = verdict(bad, good, labels, GatePolicy(max_size_bytes=10))
    assert (hard.passed, hard.borderline) == (False, False)
