"""The finished model is held against the libraries that trained it, on the hold-out: blended, calibrated, decided."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from trainyard.clock import SystemClock
from trainyard.metrics.answers import Answers
from trainyard.model import Blend, Isotonic, Lineage, Model, Platt, Predictor, Temperature
from trainyard.schema import Column, Schema
from trainyard_trainer.domain import ParityError
from trainyard_trainer.learning.budget import Budget
from trainyard_trainer.learning.calibration import Calibration
from trainyard_trainer.learning.parity import HOLDOUT_PARITY, check_holdout
from trainyard_trainer.learning.progress import Progress
from trainyard_trainer.learning.refit import Ground, Known, Outcome, again
from trainyard_trainer.learning.table import Table

if TYPE_CHECKING:
    from trainyard.model.dto import Calibration as Curve

CLASSES: dict[str, tuple[Any, ...]] = {"binary": (False, True), "multiclass": ("p", "q", "r"), "regression": ()}
SCHEMA = Schema([Column("a", "float"), Column("b", "category")])
MEMBERS = (
    ("linear", {"penalty": "l2", "strength": 1.0}, 0.25),
    ("tree_ensemble", {"num_leaves": 7, "length": 12}, 0.45),
    ("tree_ensemble", {"max_features": 0.5, "length": 5}, 0.1),
    ("neural_network", {"hidden": [8], "length": 3}, 0.2),
)


def _rows(task: str, n: int, seed: int) -> Known:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=n), rng.choice(np.array(["u", "v", "w", None], dtype=object), n)
    score = 2 * a + (b == "u") + rng.normal(size=n)
    a[rng.random(n) < 0.1] = np.nan
    labels = {"binary": score > 0.5, "multiclass": np.digitize(score, [0, 1.5]), "regression": 1e4 + 100 * score}[task]
    return Known(Table(SCHEMA, {"a": a, "b": b}), labels.astype(np.float64 if task == "regression" else np.int64))


@cache
def _outcome(task: str, curve: Curve | None, threshold: float = 0.5) -> Outcome:
    """Return a blend of all kinds of members, fitted."""
    members = [{"kind": kind, "params": params, "rows": "all", "weight": weight} for kind, params, weight in MEMBERS]
    choice = {"members": members, **Calibration(curve, threshold).described()}
    ground = Ground(lambda pipeline: _model(task, pipeline, None, 0.5), task, len(CLASSES[task]), 0)
    budget = Budget(SystemClock(), 600.0)
    return again(ground, choice, _rows(task, 400, 0), [], budget=budget, progress=Progress(lambda _: None, budget))


def _model(task: str, pipeline: Any, curve: Curve | None, threshold: float) -> Model:
    lineage = Lineage("d", 1, 1, "0" * 64, {}, "1", 0, {})
    return Model("m", task, SCHEMA, pipeline, CLASSES[task], lineage, calibration=curve, threshold=threshold)


def _apart(model: Model, outcome: Outcome) -> float:
    """Hold a model against the libraries on rows that none of its members has seen."""
    table = _rows(model.task, 700, 1).table
    answers = Predictor(model).predict_columns(table.columns)
    return check_holdout(outcome.trained, table, answers, Answers.of(model.task, answers, model.threshold).decided)


WARM, COLD, PLATT = Temperature(1.7), Temperature(0.6), Platt(0.8, -0.3)
ISOTONIC = Isotonic(np.array([0.1, 0.4, 0.8]), np.array([0.05, 0.5, 0.9]))


@pytest.mark.parametrize(
    ("task", "curve", "threshold"),
    [
        ("binary", None, 0.5),
        ("binary", WARM, 0.3),
        ("binary", PLATT, 0.3),
        ("binary", ISOTONIC, 0.3),
        ("multiclass", None, 0.5),
        ("multiclass", COLD, 0.5),
        ("regression", None, 0.5),
    ],
)
def test_what_was_exported_answers_as_what_was_trained(task: str, curve: Curve | None, threshold: float) -> None:
    outcome = _outcome(task, curve, threshold)
    assert 0 < _apart(_model(task, outcome.pipeline, curve, threshold), outcome) < 1e-9


def _weighted(blend: Any) -> Blend:
    weights = blend.weights.numpy + np.array([1e-4, -1e-4, 0.0, 0.0])
    return Blend(blend.members, weights)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_other_weights_are_refused(task: str) -> None:
    """Each member is exact, and what they make together is not."""
    outcome = _outcome(task, None)
    with pytest.raises(
        ParityError, match=f"on the hold-out the finished model differs .* {HOLDOUT_PARITY:g} is allowed"
    ):
        _apart(_model(task, _weighted(outcome.pipeline), None, 0.5), outcome)


@pytest.mark.parametrize(
    ("task", "curve", "wrong"),
    [
        ("binary", WARM, Temperature(1.701)),
        ("binary", WARM, None),
        ("binary", PLATT, Platt(0.8, -0.29)),
        ("binary", ISOTONIC, Isotonic(ISOTONIC.at, ISOTONIC.to.numpy + np.array([0.0, 1e-4, 0.0]))),
        ("multiclass", COLD, Temperature(0.601)),
        ("multiclass", COLD, None),
    ],
)
def test_another_curve_is_refused(task: str, curve: Curve, wrong: Curve | None) -> None:
    outcome = _outcome(task, curve)
    with pytest.raises(ParityError, match="on the hold-out the finished model differs"):
        _apart(_model(task, outcome.pipeline, wrong, 0.5), outcome)


def test_a_curve_that_leaps_within_the_last_bits_refuses_nobody() -> None:
    """Which side of such a leap a probability lies on is rounding; farther from it the curve must be the same."""
    table = _rows("binary", 700, 1).table
    p = _outcome("binary", None).trained.blended(table)[:, 1]
    row = int(np.argsort(p)[300])
    leap = Isotonic(np.array([p[row] - 2e-15, p[row] + 2e-15]), np.array([0.2, 0.8]))
    trained = replace(_outcome("binary", None).trained, calibration=Calibration(leap))
    answers = trained.answers(table)
    assert 0.3 < answers[row, 1] < 0.7
    answers[row] = [0.25, 0.75]
    assert check_holdout(trained, table, answers, (answers[:, 1] >= 0.5).astype(int)) <= HOLDOUT_PARITY
    answers[row - 1] = [0.25, 0.75]
    with pytest.raises(ParityError, match="2 of 1400 answers"):
        check_holdout(trained, table, answers, (answers[:, 1] >= 0.5).astype(int))


def test_another_threshold_is_refused() -> None:
    outcome = _outcome("binary", WARM, 0.3)
    with pytest.raises(ParityError, match=r"decides otherwise than the trained one in \d+ row"):
        _apart(_model("binary", outcome.pipeline, WARM, 0.5), outcome)


def test_another_class_is_refused() -> None:
    outcome = _outcome("multiclass", None)
    table = _rows("multiclass", 50, 1).table
    answers = outcome.trained.answers(table)
    with pytest.raises(ParityError, match="decides otherwise than the trained one in 50 row"):
        check_holdout(outcome.trained, table, answers, (answers.argmax(axis=1) + 1) % 3)


def test_answers_that_are_no_numbers_are_refused() -> None:
    outcome = _outcome("regression", None)
    table = _rows("regression", 50, 1).table
    answers = outcome.trained.answers(table)
    answers[7] = np.nan
    with pytest.raises(ParityError, match="1 of 50 answers"):
        check_holdout(outcome.trained, table, answers, np.zeros(50, dtype=np.intp))


def test_calibration_of_certain_answers_is_the_formats() -> None:
    """Probabilities of 0 and 1 are cut before their logarithm, as the format says."""
    outcome = _outcome("binary", WARM, 0.3)
    certain = replace(outcome.trained.fits[0], answer=lambda x: np.tile([1.0, 0.0], (len(x), 1)))
    trained = replace(outcome.trained, fits=(certain,), weights=(1.0,), calibration=Calibration(Temperature(5.0)))
    table = _rows("binary", 3, 1).table
    np.testing.assert_allclose(trained.answers(table)[:, 1], 1 / (1 + 1e15 ** (1 / 5)), rtol=1e-9)
