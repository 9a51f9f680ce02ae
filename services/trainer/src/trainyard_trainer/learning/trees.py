"""Boosted trees: LightGBM trains them, its public dump is turned into the model format's node arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from trainyard.model import TreeEnsemble
from trainyard_trainer.domain import ParityError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trainyard.model.dto import FloatArray
    from trainyard_trainer.learning.budget import Budget

MOST_ROUNDS = 1_500
_MOST_TREES = 4_500  # below the format's limit of 5,000
_PATIENCE = 50
_LOOK_EVERY = 25
_OBJECTIVES = {
    "binary": ("binary", "binary_logloss", "sigmoid"),
    "multiclass": ("multiclass", "multi_logloss", "softmax"),
    "regression": ("regression", "l2", "identity"),
}
#: Few rows cannot support large leaves.
_LEAF_ROWS = 20
_LEAF_SHARE = 50


def parameters(task: str, n_outputs: int, rows: int, seed: int, shape: Mapping[str, Any]) -> dict[str, Any]:
    """Return LightGBM's parameters; ``shape`` holds num_leaves and what else a candidate varies.

    One thread: LightGBM's sums, and so the model's bytes, depend on the number of threads.
    """
    objective, metric, _ = _OBJECTIVES[task]
    found = {
        "objective": objective,
        "metric": metric,
        "learning_rate": 0.05,
        "lambda_l2": 1.0,
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
    x: FloatArray,
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
    reference = lgb.Dataset(x, label=y, params=dict(params))
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


def export(booster: lgb.Booster, rounds: int, task: str, n_outputs: int) -> TreeEnsemble:
    """Return the first ``rounds`` rounds as node arrays.

    Raises:
        ParityError: the dump holds something that the format cannot say.
    """
    nodes = _Nodes()
    dump = booster.dump_model(num_iteration=rounds)
    starts, outputs = [], []
    for index, tree in enumerate(dump["tree_info"]):
        starts.append(len(nodes.feature))
        outputs.append(index % n_outputs)
        nodes.add(tree["tree_structure"])
    return TreeEnsemble.from_nodes(
        tree_start=np.array(starts),
        feature=np.array(nodes.feature),
        threshold=np.array(nodes.threshold),
        left=np.array(nodes.left),
        right=np.array(nodes.right),
        default_left=np.array(nodes.default_left),
        value=np.array(nodes.value)[:, None] + 0.0,
        cover=np.array(nodes.cover),
        tree_output=np.array(outputs),
        base=np.zeros(n_outputs),
        aggregation="sum",
        output=_OBJECTIVES[task][2],
    )


class _Nodes:
    """Node arrays that grow depth first, so that children come after their parent."""

    def __init__(self) -> None:
        self.feature: list[int] = []
        self.threshold: list[float] = []
        self.left: list[int] = []
        self.right: list[int] = []
        self.default_left: list[int] = []
        self.value: list[float] = []
        self.cover: list[int] = []

    def add(self, node: Mapping[str, Any]) -> int:
        """Append a node and all beneath it; return its index. The depth is bounded by max_depth."""
        at = len(self.feature)
        if "split_feature" not in node:
            # a tree of one leaf does not say how many rows are in it
            self._append(-1, 0.0, 0, float(node["leaf_value"]), int(node.get("leaf_count", 1)))
            return at
        if node["decision_type"] != "<=":
            raise ParityError(f"LightGBM made a split of type {node['decision_type']}, which is not ours")
        threshold = float(node["threshold"])
        self._append(int(node["split_feature"]), threshold, _missing_goes_left(node, threshold), 0.0)
        self.left[at] = self.add(node["left_child"])
        self.right[at] = self.add(node["right_child"])
        return at

    def _append(self, feature: int, threshold: float, default_left: int, value: float, cover: int = 0) -> None:
        self.feature.append(feature)
        self.threshold.append(threshold)
        self.left.append(-1)
        self.right.append(-1)
        self.default_left.append(default_left)
        self.value.append(value)
        self.cover.append(cover)


def _missing_goes_left(node: Mapping[str, Any], threshold: float) -> int:
    """Return 1 where LightGBM sends a missing value left: where training saw none, it takes it for 0."""
    if node["missing_type"] == "NaN":
        return int(node["default_left"])
    if node["missing_type"] == "None":
        return int(threshold >= 0.0)
    raise ParityError(f"LightGBM treats missing values as {node['missing_type']}, which is not ours")
