"""Linear candidates on one scale: ridge, elastic-net and log-linear, logistic and multinomial regression."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNet, LogisticRegression, PoissonRegressor, Ridge

from trainyard.model import Linear, Pipeline
from trainyard_trainer.learning.encoders import STANDARD
from trainyard_trainer.learning.fitting import OUTPUT, Fitted, fit_prior
from trainyard_trainer.learning.pairs import LINEAR

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from trainyard.model.dto import FloatArray
    from trainyard_trainer.learning.budget import Budget
    from trainyard_trainer.learning.fitting import Learning

#: Cells above which a linear model learns from the newest rows only: a regression cannot be interrupted.
_MOST_CELLS = 40_000_000
#: Steps of the solver between two looks at the budget, and how many such stretches at most.
_STRETCH, _MOST_STRETCHES = 25, 8


def fit_linear(
    learning: Learning, params: Mapping[str, Any], budget: Budget, *, length: int | None = None, **_: Any
) -> Fitted:
    """Fit one.

    ``params``: ``penalty`` (l2, or elastic: half of it l1) and ``strength``, what the penalty counts as against the sum
    of the rows' losses; ``link``: ``log`` for a regression of the mean's logarithm (by the deviance of Poisson's
    distribution, with l2), for labels that are not negative; ``scaling`` of numbers (standard, or quantile) and
    ``pairs`` (:meth:`Learning.pairs`). The length of all but the plain regressions is the number of stretches of 25
    solver steps.
    """
    pairs = learning.pairs(params, LINEAR, budget)
    encoded = learning.for_linear(scaling=params.get("scaling", STANDARD), pairs=pairs)
    newest = max(1, _MOST_CELLS // max(1, encoded.x.shape[1]))
    x, labels = encoded.x[-newest:], learning.labels[-newest:]
    if params.get("link") == "log":
        if not labels.any():
            return _prior(learning, budget)
        fitted = _log_linear(encoded.steps, x, labels, params["strength"], budget=budget, length=length)
        return replace(fitted, pairs=pairs)
    if learning.task == "regression":
        return replace(_regression(encoded.steps, x, labels, params), pairs=pairs)
    if len(np.unique(labels)) != learning.n_classes:  # the newest rows lack a class
        return _prior(learning, budget)
    elastic = params["penalty"] == "elastic"
    model = LogisticRegression(
        C=1.0 / params["strength"],
        l1_ratio=0.5 if elastic else 0.0,
        solver="saga" if elastic else "lbfgs",
        max_iter=_STRETCH,
        warm_start=True,
        random_state=learning.seed,
    )
    done = _in_stretches(model, x, labels, budget, length)
    weights, bias = model.coef_.T.astype(np.float64), model.intercept_.astype(np.float64)
    estimator = Linear(weights, bias, OUTPUT[learning.task], x.mean(axis=0))
    return Fitted(Pipeline(encoded.steps, estimator), lambda m: np.asarray(model.predict_proba(m)), done, pairs)


def _prior(learning: Learning, budget: Budget) -> Fitted:
    return fit_prior(learning, {}, budget)


def _in_stretches(model: Any, x: FloatArray, labels: npt.NDArray[Any], budget: Budget, length: int | None) -> int:
    """Fit a model that goes on where it stopped, until the solver ends; return the number of stretches."""
    done = 0
    with warnings.catch_warnings():
        # A fit that was cut off is a worse candidate, which the validation rows show; it is no fault.
        warnings.simplefilter("ignore", ConvergenceWarning)
        while done < (length or _MOST_STRETCHES):
            model.fit(x, labels)
            done += 1
            if int(np.max(model.n_iter_)) < _STRETCH or budget.spent:
                break
    return done


def _log_linear(
    steps: Any, x: FloatArray, labels: npt.NDArray[Any], strength: float, *, budget: Budget, length: int | None
) -> Fitted:
    unit = float(labels.mean())
    model = PoissonRegressor(alpha=strength / len(x), max_iter=_STRETCH, warm_start=True)
    with np.errstate(over="ignore", invalid="ignore"):  # in a step that the solver then takes back
        done = _in_stretches(model, x, labels / unit, budget, length)
    estimator = Linear(model.coef_[:, None], np.array([model.intercept_ + np.log(unit)]), "exp", x.mean(axis=0))
    return Fitted(Pipeline(steps, estimator), lambda m: np.asarray(model.predict(m) * unit), done)


def _regression(steps: Any, x: FloatArray, labels: npt.NDArray[Any], params: Mapping[str, Any]) -> Fitted:
    center, scale = float(labels.mean()), float(labels.std()) or 1.0
    if params["penalty"] == "elastic":
        model: Any = ElasticNet(alpha=params["strength"] / len(x), l1_ratio=0.5)
    else:
        model = Ridge(alpha=params["strength"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x, (labels - center) / scale)
    weights, bias = model.coef_[:, None] * scale, np.array([model.intercept_ * scale + center])
    return Fitted(
        Pipeline(steps, Linear(weights, bias, "identity", x.mean(axis=0))),
        lambda m: np.asarray(model.predict(m) * scale + center),
    )
