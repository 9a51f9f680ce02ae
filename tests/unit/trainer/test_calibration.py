"""Calibration and threshold: they move when that earns more than noise on enough rows, and are left alone otherwise."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from trainyard.metrics import OF_DECISIONS
from trainyard.metrics.measures import measure, row_losses
from trainyard.model import Isotonic, Platt, Temperature, decode, encode
from trainyard.testing.models import sample_model
from trainyard_trainer.learning.calibration import (
    ISOTONIC_ROWS,
    LEAST_ROWS,
    THRESHOLD_ROWS,
    Calibration,
    calibrate,
    fit_curve,
    fit_threshold,
)
from trainyard_trainer.learning.calibrators import applied, fit_isotonic, fit_platt, fit_temperature
from trainyard_trainer.learning.thresholds import best


def answered(task: str, rows: int, sharpness: float, seed: int = 0) -> tuple[Any, Any]:
    """Return labels and answers whose logits are ``sharpness`` times the true ones."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (rows, 2 if task == "binary" else 4))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (shares.cumsum(axis=1) < rng.random((rows, 1))).sum(axis=1)
    bold = np.exp(logits * sharpness)
    return labels, bold / bold.sum(axis=1, keepdims=True)


def moved(labels: Any, answers: Any, *, bend: Any) -> tuple[Any, Any]:
    """Return two-class answers whose honest probability p became ``bend(p)``."""
    p = bend(answers[:, 1])
    return labels, np.column_stack([1.0 - p, p])


@pytest.mark.parametrize("task", ["binary", "multiclass"])
@pytest.mark.parametrize("sharpness", [0.4, 3.0])
def test_a_wrong_sharpness_is_found(task: str, sharpness: float) -> None:
    """The temperature that undoes it is found within a tenth, lowers the loss and changes no answer."""
    labels, answers = answered(task, 6_000, sharpness)
    found = fit_curve(task, labels, answers)
    assert isinstance(found, Temperature)
    assert found.temperature == pytest.approx(sharpness, rel=0.1)
    better = applied(task, answers, found)
    assert row_losses(task, labels, better).mean() < row_losses(task, labels, answers).mean() - 0.01
    assert (better.argmax(axis=1) == answers.argmax(axis=1)).all()
    assert np.allclose(better.sum(axis=1), 1.0)


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_no_temperature_is_better(task: str) -> None:
    """Newton's method ends where the log-loss is least, also far away from 1."""
    for sharpness in (0.07, 1.0, 15.0):
        labels, answers = answered(task, 2_000, sharpness)
        found = fit_temperature(task, labels, answers).temperature
        least, *others = (
            row_losses(task, labels, applied(task, answers, Temperature(found * by))).mean() for by in (1.0, 0.99, 1.01)
        )
        assert least < min(others), sharpness


def test_probabilities_that_are_all_too_high_are_moved_by_platt() -> None:
    """Odds that are four times too high are no question of temperature; the line through the logits finds ln 4."""
    labels, answers = moved(*answered("binary", 8_000, 1.0), bend=lambda p: 4 * p / (1 + 3 * p))
    found = fit_curve("binary", labels, answers)
    assert isinstance(found, Platt)
    assert (found.slope, found.intercept) == pytest.approx((1.0, -np.log(4)), abs=0.1)
    assert fit_platt(labels, answers[:, ::-1]) is None  # upside down: no line that rises is of any use


def test_what_no_line_undoes_is_undone_by_a_curve() -> None:
    """Probabilities squeezed in the middle alone take an isotonic curve, and enough rows; no share is 0 or 1."""

    def bend(p: Any) -> Any:
        return 0.5 + np.sign(p - 0.5) * 0.5 * np.abs(2 * p - 1) ** 4

    labels, answers = moved(*answered("binary", 20_000, 1.5), bend=bend)
    found = fit_curve("binary", labels, answers)
    assert isinstance(found, Isotonic)
    losses = [row_losses("binary", labels, applied("binary", answers, curve)) for curve in (None, found)]
    assert losses[1].mean() < losses[0].mean() - 0.01
    few = slice(0, ISOTONIC_ROWS - 1)
    assert not isinstance(fit_curve("binary", labels[few], answers[few]), Isotonic)


@pytest.mark.parametrize("rounded", [1, 3, 12])
def test_an_isotonic_curve_is_one_that_the_format_takes(rounded: int) -> None:
    """Whatever the ties: points that rise, shares that do not fall, none of them certain, stretches of 50 rows."""
    for seed in range(5):
        labels, answers = answered("binary", 5_000, 2.0, seed)
        p = np.round(answers[:, 1], rounded)
        p[:60], labels[:60] = 0.0, 0
        found = fit_isotonic(labels, np.column_stack([1 - p, p]))
        assert found is not None
        at, to = found.at.numpy, found.to.numpy
        assert (np.diff(at) > 0).all()
        assert (np.diff(to) >= 0).all()
        assert to[0] > 0.0
        assert to[-1] < 1.0
        assert len(at) <= 5_000 / 50
    constant = np.full((5_000, 2), 0.5)
    assert fit_isotonic(labels, constant) is None
    assert fit_curve("binary", labels, constant) == fit_curve("binary", labels, constant)


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_what_is_calibrated_or_small_stays_as_it_is(task: str) -> None:
    """Honest answers are left alone, in nearly all of 20 samples; too few rows are, whatever they say."""
    fitted = [fit_curve(task, *answered(task, ISOTONIC_ROWS, 1.0, seed)) for seed in range(20)]
    assert sum(curve is not None for curve in fitted) <= 2
    assert calibrate(task, *answered(task, 6_000, 3.0), "auto", drifting=True) == Calibration()
    few = LEAST_ROWS[task] - 1
    assert fit_curve(task, *answered(task, few, 3.0)) is None


@pytest.mark.parametrize("curve", [None, Temperature(1.7), Platt(0.9, -0.1), Isotonic([0.1, 0.3], [0.0, 1 / 3])])
def test_a_lineage_tells_the_calibration_to_the_bit(curve: Any) -> None:
    """What a description in JSON is read as calibrates like the original: the same bytes."""
    described = json.loads(json.dumps(Calibration(curve, 0.4).described()))
    again = Calibration.of(described)
    assert again.threshold == 0.4
    model = sample_model("linear")
    data = encode(replace(model, calibration=again.curve))
    assert data == encode(replace(model, calibration=curve))
    assert decode(data).task == "binary"
    with pytest.raises(KeyError):
        Calibration.of({"temperature": None, "threshold": 0.5})


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
