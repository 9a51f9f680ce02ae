"""Temperature and threshold: they move when that earns more than noise on enough rows, and are left alone otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trainyard.metrics import OF_DECISIONS
from trainyard.metrics.measures import measure, row_losses
from trainyard_trainer.learning.calibration import (
    TEMPERATURE_ROWS,
    THRESHOLD_ROWS,
    Calibration,
    calibrate,
    fit_temperature,
    fit_threshold,
    tempered,
)
from trainyard_trainer.learning.thresholds import best


def answered(task: str, rows: int, sharpness: float, seed: int = 0) -> tuple[Any, Any]:
    """Return labels and answers whose logits are ``sharpness`` times the true ones."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (rows, 2 if task == "binary" else 4))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (shares.cumsum(axis=1) < rng.random((rows, 1))).sum(axis=1)
    bold = np.exp(logits * sharpness)
    return labels, bold / bold.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("task", ["binary", "multiclass"])
@pytest.mark.parametrize("sharpness", [0.4, 3.0])
def test_a_wrong_sharpness_is_found(task: str, sharpness: float) -> None:
    """The temperature that undoes it is found within a tenth, lowers the loss and changes no answer."""
    labels, answers = answered(task, 6_000, sharpness)
    temperature = fit_temperature(task, labels, answers)
    assert temperature == pytest.approx(sharpness, rel=0.1)
    better = tempered(task, answers, temperature)
    assert row_losses(task, labels, better).mean() < row_losses(task, labels, answers).mean() - 0.01
    assert (better.argmax(axis=1) == answers.argmax(axis=1)).all()
    assert np.allclose(better.sum(axis=1), 1.0)


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_what_is_calibrated_or_small_stays_as_it_is(task: str) -> None:
    """Honest answers get no temperature, in nearly all of 20 samples; too few rows get none whatever they say."""
    fitted = [fit_temperature(task, *answered(task, 3_000, 1.0, seed)) for seed in range(20)]
    assert sum(t is not None for t in fitted) <= 2
    assert calibrate(task, *answered(task, 6_000, 3.0), "auto", drifting=True) == Calibration()
    few = TEMPERATURE_ROWS[task] - 1
    assert fit_temperature(task, *answered(task, few, 3.0)) is None


@pytest.mark.parametrize("metric", OF_DECISIONS)
def test_a_threshold_is_tuned_for_metrics_of_decisions_only(metric: str) -> None:
    """Answers that are all too low by a factor lose by such a metric at 0.5; the tuned threshold gets it back."""
    labels, answers = answered("binary", 2_000, 1.0)
    low = np.column_stack([1 - answers[:, 1] * 0.4, answers[:, 1] * 0.4])
    found = calibrate("binary", labels, low, metric)
    assert 0.1 < found.threshold < 0.3
    before = measure("binary", labels, low)[metric]
    assert measure("binary", labels, low, threshold=found.threshold)[metric] > before + 0.2
    assert calibrate("binary", labels, low, "roc_auc").threshold == 0.5
    assert calibrate("multiclass", *answered("multiclass", 2_000, 1.0), metric).threshold == 0.5
    assert calibrate("regression", labels.astype(float), low[:, 1], "auto") == Calibration()


def test_a_threshold_needs_rows_and_a_gain() -> None:
    """Few rows, or a gain that is noise, leave 0.5; so does a class that never occurs."""
    labels, answers = answered("binary", THRESHOLD_ROWS - 1, 1.0)
    low = np.column_stack([1 - answers[:, 1] * 0.3, answers[:, 1] * 0.3])
    assert fit_threshold("binary", "accuracy", labels, low) == 0.5
    moved = [fit_threshold("binary", "accuracy", *answered("binary", 500, 1.0, seed)) for seed in range(20)]
    assert sum(t != 0.5 for t in moved) <= 4
    nobody = np.zeros(500, dtype=np.int64)
    for metric in OF_DECISIONS:
        assert fit_threshold("binary", metric, nobody, np.tile([0.9, 0.1], (500, 1))) == 0.5


@pytest.mark.parametrize("metric", OF_DECISIONS)
def test_the_threshold_is_the_best_there_is(metric: str) -> None:
    """No other cut of the same answers is better by the metric, and its value is as measured."""
    labels, answers = answered("binary", 400, 1.0)
    p = np.round(answers[:, 1] * 0.4, 2)  # many ties
    threshold, value = best(metric, labels == 1, p)
    told = np.column_stack([1 - p, p])
    every = [measure("binary", labels, told, threshold=cut)[metric] for cut in np.linspace(0, 1, 1_001)]
    assert measure("binary", labels, told, threshold=threshold)[metric] == value == pytest.approx(max(every))


@pytest.mark.parametrize("metric", OF_DECISIONS)
def test_a_threshold_does_what_it_promises(metric: str) -> None:
    """Also where a probability is exactly 1, or two are neighbours: no cut lies above the one or between the others."""
    for p in ([0.2, 1.0, 1.0], [0.3, 0.5, np.nextafter(0.5, 1.0)], [1.0, 1.0, 1.0], [0.0, 0.0, 1.0]):
        for labels in ([1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]):
            given, truth = np.array(p), np.array(labels)
            threshold, value = best(metric, truth == 1, given)
            told = np.column_stack([1 - given, given])
            assert measure("binary", truth, told, threshold=threshold).get(metric, 0.0) == value


def test_rare_positives_are_found_by_f1() -> None:
    """Of 5 % positives whose probability never reaches one half none is answered; tuned to F1 many are."""
    rng = np.random.default_rng(0)
    p = rng.beta(0.6, 9.0, 4_000)
    labels, told = (rng.random(4_000) < p).astype(np.int64), np.column_stack([1 - p, p])
    found = fit_threshold("binary", "f1", labels, told)
    assert found < 0.4
    assert measure("binary", labels, told, threshold=found)["f1"] > 2 * measure("binary", labels, told)["f1"]
    assert fit_threshold("binary", "accuracy", labels, told) == 0.5
