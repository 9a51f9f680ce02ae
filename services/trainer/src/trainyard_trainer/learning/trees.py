"""Boosted trees: LightGBM trains them, its text format is turned into the model format's node arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from trainyard.model import TreeEnsemble
from trainyard_trainer.domain import ParityError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trainyard.model.dto import FloatArray
    from trainyard_trainer.learning.budget import Budget
    from trainyard_trainer.learning.encoders import Encoded

    Indexes = npt.NDArray[np.int64]

MOST_ROUNDS = 1_500
_MOST_TREES = 4_500  # below the format's limit of 5,000
_PATIENCE = 50
_LOOK_EVERY = 25
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
#: What LightGBM itself writes elsewhere for an infinite threshold: one that parts numbers from missing values.
_FURTHEST = 1e300
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
    """Return the first ``rounds`` rounds as node arrays; ``base`` (outputs,) is what the scores begin with.

    Raises:
        ParityError: the booster holds something that the format cannot say.
    """
    nodes = read_nodes(booster.model_to_string(num_iteration=rounds))
    count = len(nodes.tree_start)
    return TreeEnsemble.from_nodes(
        tree_start=nodes.tree_start,
        feature=nodes.feature,
        threshold=nodes.threshold,
        left=nodes.left,
        right=nodes.right,
        default_left=nodes.default_left,
        value=nodes.value[:, None],
        cover=nodes.cover,
        categories=nodes.categories,
        tree_output=(np.arange(count) % len(base)).astype(np.int32),
        base=base,
        aggregation="sum",
        output=_OBJECTIVES[objective][1],
    )


@dataclass(frozen=True, eq=False)
class Nodes:
    """Node arrays as :class:`TreeEnsemble` holds them; a tree's inner nodes come first, in LightGBM's order."""

    tree_start: Indexes
    feature: Indexes
    threshold: FloatArray
    left: Indexes
    right: Indexes
    default_left: npt.NDArray[np.bool_]
    cover: FloatArray
    categories: Mapping[int, Sequence[int]]
    value: FloatArray


def read_nodes(text: str) -> Nodes:
    """Return the trees of a model in LightGBM's text format, version 4.

    It is read instead of the JSON dump, which takes as long to make and walk as the boosting itself. A tree has its
    inner nodes as parallel lists; a child c >= 0 is the inner node c, else the leaf ``-c - 1``. ``decision_type`` has
    the bits 1 (a categorical split), 2 (missing goes left) and 4 and 8 (what counts as missing: 0 nothing, 4 zero, 8
    NaN). A categorical split's threshold is the number of its set of codes, which goes left; all else, also what is
    missing, goes right.

    Raises:
        ParityError: missing values are treated in a way that the format cannot say.
    """
    body = text[: text.index("\nend of trees")]
    trees = [dict(line.split("=", 1) for line in t.splitlines() if "=" in line) for t in body.split("\nTree=")[1:]]
    leaves = np.array([int(tree["num_leaves"]) for tree in trees])
    inner = leaves - 1
    start = np.concatenate([[0], np.cumsum(leaves + inner)])[:-1]
    split = _places(start, inner)  # where the inner nodes are in the whole arrays; the leaves of a tree follow them
    leaf = _places(start + inner, leaves)

    def numbers(name: str) -> FloatArray:
        return np.array(" ".join(tree.get(name, "") for tree in trees).split(), dtype=np.float64)

    decision = numbers("decision_type").astype(np.int64)
    by_set = decision & 1 == 1
    missing = decision >> 2
    if not np.isin(missing[~by_set], (0, 2)).all():
        raise ParityError("LightGBM treats zeros as missing values, which is not ours")
    threshold = np.clip(numbers("threshold"), -_FURTHEST, _FURTHEST)
    # where training saw nothing missing, a missing value is taken for 0
    default_left = np.where(missing == 2, decision >> 1 & 1, threshold >= 0.0) & ~by_set

    def children(name: str) -> Indexes:
        child = numbers(name).astype(np.int64)
        return np.repeat(start, inner) + np.where(child >= 0, child, np.repeat(inner, inner) - child - 1)

    def placed(at_split: npt.NDArray[Any], at_leaf: Any) -> npt.NDArray[Any]:
        whole = np.empty(len(split) + len(leaf), dtype=at_split.dtype)
        whole[split], whole[leaf] = at_split, at_leaf
        return whole

    return Nodes(
        tree_start=start,
        feature=placed(numbers("split_feature").astype(np.int64), -1),
        threshold=placed(threshold, 0.0),
        left=placed(children("left_child"), -1),
        right=placed(children("right_child"), -1),
        default_left=placed(default_left, False),
        value=placed(np.zeros(len(split)), numbers("leaf_value") + 0.0),  # -0.0 is not written
        cover=placed(np.zeros(len(split)), _covers(trees)),
        categories=dict(zip(split[by_set].tolist(), _sets(trees), strict=True)),
    )


def _covers(trees: Sequence[Mapping[str, str]]) -> FloatArray:
    """Return the rows of each leaf; a tree of one leaf does not tell its own."""
    return np.array(" ".join(tree.get("leaf_count") or "1" for tree in trees).split(), dtype=np.float64)


def _sets(trees: Sequence[Mapping[str, str]]) -> list[list[int]]:
    """Return the codes of each categorical split, in the order of the nodes: a tree holds them as words of 32 bits."""
    found = []
    for tree in trees:
        if "cat_boundaries" not in tree:
            continue
        bounds = [int(bound) for bound in tree["cat_boundaries"].split()]
        words = [int(word) for word in tree["cat_threshold"].split()]
        kinds = [int(kind) & 1 for kind in tree["decision_type"].split()]
        which = [int(float(at)) for at, kind in zip(tree["threshold"].split(), kinds, strict=True) if kind]
        found += [_codes(words[bounds[at] : bounds[at + 1]]) for at in which]
    return found


def _codes(words: Sequence[int]) -> list[int]:
    return [32 * number + bit for number, word in enumerate(words) for bit in range(32) if word >> bit & 1]


def _places(starts: Indexes, counts: Indexes) -> Indexes:
    """Return ``starts[i] .. starts[i] + counts[i] - 1`` for every i, joined."""
    before = np.concatenate([[0], np.cumsum(counts)])[:-1]
    return np.repeat(starts - before, counts) + np.arange(counts.sum())
