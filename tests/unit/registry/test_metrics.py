"""The metrics agree with scikit-learn and refuse what has no value."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from trainyard import metrics


@pytest.mark.parametrize("seed", range(5))
def test_binary_agrees_with_the_reference(seed: int) -> None:
    """Area and log-loss equal scikit-learn's, with many ties among the scores."""
    rng = np.random.default_rng(seed)
    labels = rng.random(500) < 0.3
    scores = np.round(rng.random(500), 1 + seed % 3)
    assert metrics.roc_auc(labels, scores) == pytest.approx(reference.roc_auc_score(labels, scores), abs=1e-12)
    inner = np.clip(scores, 0.01, 0.99)
    assert metrics.log_loss(labels, inner) == pytest.approx(reference.log_loss(labels, inner), abs=1e-12)


def test_multiclass_and_regression_agree_with_the_reference() -> None:
    """The others equal scikit-learn's too."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 300)
    shares = rng.dirichlet(np.ones(4), 300)
    assert metrics.log_loss(labels, shares) == pytest.approx(
        reference.log_loss(labels, shares, labels=range(4)), abs=1e-12
    )
    assert metrics.accuracy(labels, shares.argmax(1)) == reference.accuracy_score(labels, shares.argmax(1))
    decided = shares.argmax(1)
    assert metrics.f1(labels, decided, classes=4) == pytest.approx(reference.f1_score(labels, decided, average="macro"))
    assert metrics.balanced_accuracy(labels, decided, classes=4) == pytest.approx(
        reference.balanced_accuracy_score(labels, decided)
    )
    truth, said = rng.normal(size=300), rng.normal(size=300)
    assert metrics.rmse(truth, said) == pytest.approx(reference.root_mean_squared_error(truth, said))
    assert metrics.mae(truth, said) == pytest.approx(reference.mean_absolute_error(truth, said))
    assert metrics.r2(truth, said) == pytest.approx(reference.r2_score(truth, said))


def test_decisions_of_two_classes_and_of_absent_ones() -> None:
    """F1 is that of the second of two classes; of more, those count that occur, as scikit-learn has it."""
    rng = np.random.default_rng(1)
    labels, decided = rng.integers(0, 2, 200), rng.integers(0, 2, 200)
    assert metrics.f1(labels, decided, classes=2) == pytest.approx(reference.f1_score(labels, decided))
    some = np.where(labels == 0, 1, 4)
    said = np.where(decided == 0, 2, 4)
    assert metrics.f1(some, said, classes=9) == pytest.approx(
        reference.f1_score(some, said, average="macro", zero_division=0.0)
    )
    assert metrics.balanced_accuracy(some, said, classes=9) == pytest.approx(
        np.mean([np.mean(said[some == of] == of) for of in (1, 4)])
    )
    unknown = np.append(labels, [-1, -1])
    more = np.append(decided, [1, -1])
    assert metrics.f1(unknown, more, classes=2) == pytest.approx(
        reference.f1_score(np.append(labels, 0), np.append(decided, 1))
    )
    assert metrics.balanced_accuracy(unknown, more, classes=2) == metrics.balanced_accuracy(labels, decided, classes=2)
    for undefined in (metrics.f1, metrics.balanced_accuracy):
        with pytest.raises(ValueError, match="no value"):
            undefined([-1, -1], [0, 0], classes=2)


def test_a_certain_mistake_is_finite() -> None:
    """Probabilities of 0 and 1 are clipped."""
    assert metrics.log_loss([1, 0], [0.0, 1.0]) == pytest.approx(-np.log(1e-15), rel=1e-3)


def test_all_scores_equal_is_half() -> None:
    """A constant score knows nothing."""
    assert metrics.roc_auc([0, 1, 1, 0], [0.5] * 4) == 0.5


def test_accuracy_of_text() -> None:
    """Class names compare as text."""
    assert metrics.accuracy(["a", "b"], ["a", "c"]) == 0.5


def test_what_has_no_value_is_refused() -> None:
    """One class, nothing, other shapes, labels outside, NaN and a constant label are errors."""
    with pytest.raises(ValueError, match="both classes"):
        metrics.roc_auc([1, 1], [0.1, 0.2])
    with pytest.raises(ValueError, match="nothing to measure"):
        metrics.rmse([], [])
    with pytest.raises(ValueError, match="shapes"):
        metrics.mae([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="not one of the classes"):
        metrics.log_loss([2], [[0.5, 0.5]])
    with pytest.raises(ValueError, match="do not fit"):
        metrics.log_loss([1, 0], [[0.5, 0.5]])
    with pytest.raises(ValueError, match="finite"):
        metrics.roc_auc([0, 1], [float("nan"), 1.0])
    with pytest.raises(ValueError, match="constant"):
        metrics.r2([1.0, 1.0], [1.0, 2.0])
