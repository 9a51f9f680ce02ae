"""Boosted trees: LightGBM trains them, and the reader of the converters makes them ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lightgbm as lgb

from trainyard_convert.errors import ConversionError
from trainyard_convert.lightgbm_trees import ensemble_of
from trainyard_trainer.domain import ParityError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    from trainyard.model import TreeEnsemble
    from trainyard.model.dto import FloatArray
    from trainyard_trainer.learning.budget import Budget
    from trainyard_trainer.learning.encoders import Encoded

MOST_ROUNDS = 1_500
_MOST_TREES = 4_500  # below the format's limit of 5,000
_PATIENCE = 50
_LOOK_EVERY = 25
#: Share of the rows that each round learns from where a candidate does not say it. On rows of the fit part put aside,
#: eight of nine public tables are better off with it than without, by up to 10 %; none is worse off by more than 1 %.
BAGGING = 0.8
#: What is minimised: LightGBM's objective, the metric that says when to stop, and what turns scores into answers.
#: The objectives with a logarithmic link still estimate the mean, as squared errors do, so they stop by those.
_OBJECTIVES = {
    "binary": ("binary_logloss", "sigmoid"),
    "multiclass": ("multi_logloss", "softmax"),
    "regression": ("l2", "identity"),
    "regression_l1": ("l1", "identity"),
    "poisson": ("l2", "exp"),
    "gamma": ("l2", "exp"),
}
LOG_LINK = ("poisson", "gamma")
#: Few rows cannot support large leaves.
_LEAF_ROWS = 20
_LEAF_SHARE = 50


def parameters(task: str, n_outputs: int, rows: int, seed: int, shape: Mapping[str, Any]) -> dict[str, Any]:
    """Return LightGBM's parameters; ``shape`` holds num_leaves and what else a candidate varies (``objective`` too).

    One thread: LightGBM's sums, and so the model's bytes, depend on the number of threads.
    """
    objective = shape.get("objective", task)
    found = {
        "objective": objective,
        "metric": _OBJECTIVES[objective][0],
        "learning_rate": 0.05,
        "lambda_l2": 1.0,
        "bagging_fraction": BAGGING,
        "bagging_freq": 1,
        "max_depth": 8,
        "min_data_in_leaf": max(1, min(_LEAF_ROWS, rows // _LEAF_SHARE)),
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "seed": seed,
        "verbosity": -1,
        **shape,
    }
    return {**found, "num_class": n_outputs} if task == "multiclass" else found


def boost(
    params: Mapping[str, Any],
    encoded: Encoded,
    y: npt.NDArray[Any],
    budget: Budget,
    *,
    rounds: int | None = None,
    validation: tuple[FloatArray, npt.NDArray[Any]] | None = None,
    progress: Callable[[int, int], None],
) -> tuple[lgb.Booster, int]:
    """Boost ``rounds`` times, or until the validation loss has not fallen for 50 rounds; return the best round too.

    The budget is looked at between rounds: training ends early, with what it has, when it is used up.
    """
    most = rounds or max(1, min(MOST_ROUNDS, _MOST_TREES // params.get("num_class", 1)))
    reference = lgb.Dataset(encoded.x, label=y, params=dict(params), categorical_feature=list(encoded.coded))
    booster = lgb.Booster(dict(params), reference)
    if validation is not None:
        booster.add_valid(lgb.Dataset(validation[0], label=validation[1], reference=reference), "validation")
    best, best_round = float("inf"), most
    for done in range(1, most + 1):
        finished = booster.update()
        if validation is not None:
            loss = booster.eval_valid()[0][2]
            if loss < best:
                best, best_round = loss, done
            elif done - best_round >= _PATIENCE:
                break
        if done % _LOOK_EVERY == 0:
            progress(done, most)
        if finished or budget.spent:
            break
    if validation is None:
        best_round = min(most, booster.current_iteration())
    return booster, min(best_round, booster.current_iteration())


def export(booster: lgb.Booster, rounds: int, objective: str, base: FloatArray) -> TreeEnsemble:
    """Return the first ``rounds`` rounds; ``base`` (outputs,) is what the scores begin with.

    Raises:
        ParityError: the booster holds something that the format cannot say.
    """
    text = booster.model_to_string(num_iteration=rounds)
    try:
        return ensemble_of(text, features=booster.num_feature(), base=base, output=_OBJECTIVES[objective][1])
    except ConversionError as e:
        raise ParityError(f"the trees that LightGBM has made cannot be exported: {e}") from e
