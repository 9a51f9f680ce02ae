"""AUC and log-loss, computed by hand, against cases whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics

from trainyard_demo.figures import auc, log_loss


@pytest.mark.parametrize(
    ("label", "probability", "expected"),
    [
        ([0, 1], [0.1, 0.9], 1.0),
        ([0, 1], [0.9, 0.1], 0.0),
        ([0, 1, 0, 1], [0.5, 0.5, 0.5, 0.5], 0.5),
        ([0, 1, 1], [0.5, 0.5, 0.7], 0.75),
    ],
)
def test_auc_of_small_cases(label, probability, expected):
    """Order counts, ties count half."""
    assert auc(label, probability) == expected


def test_auc_and_log_loss_agree_with_another_implementation():
    """With many ties, both figures are scikit-learn's."""
    rng = np.random.default_rng(0)
    label, probability = rng.random(2000) < 0.3, rng.integers(1, 20, 2000) / 20
    assert auc(label, probability) == pytest.approx(metrics.roc_auc_score(label, probability), abs=1e-12)
    assert log_loss(label, probability) == pytest.approx(metrics.log_loss(label, probability), abs=1e-12)


def test_what_cannot_be_said_is_nan():
    """One class has no AUC, no rows have no log-loss; a certain mistake stays finite."""
    assert math.isnan(auc([1, 1], [0.2, 0.3]))
    assert math.isnan(log_loss([], []))
    assert math.isfinite(log_loss([1], [0.0]))
