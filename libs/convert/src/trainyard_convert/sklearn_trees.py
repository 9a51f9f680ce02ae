"""scikit-learn's trees, forests and boosted trees.

Its trees compare a float32 with a float64 threshold; the thresholds are moved so that float64 goes the same way for
every number. Histogram-based boosting compares in float64. Its nodes have no public form: the private arrays are read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.model import Pipeline
from trainyard.model.float32 import at_most_in_double
from trainyard_convert.columns import LevelsColumn, NumberColumn, matrix_of
from trainyard_convert.errors import ConversionError, damaged, reading_tree
from trainyard_convert.parts import OUTPUTS, Part, task_of
from trainyard_convert.sklearn_columns import bound
from trainyard_convert.sklearn_encoders import called, encoded
from trainyard_convert.trees import Trees

if TYPE_CHECKING:
    from trainyard_convert.columns import Binding, Matrix
    from trainyard_convert.sklearn_columns import Columns

_MEANS = {"poisson": "exp", "gamma": "exp"}
_WORDS = 8  # of a set of categories, of which there are at most 256


def forest(model: Any, columns: Columns, binding: Binding) -> Part:
    """Convert a decision tree, a random forest or extra trees."""
    from sklearn.tree import BaseDecisionTree  # noqa: PLC0415 - the model is scikit-learn's: it is installed

    name = called(model)
    if model.n_outputs_ != 1:
        raise ConversionError(f"{name} with {model.n_outputs_} labels", "a model answers for one", "fit one for each")
    classes = list(model.classes_) if hasattr(model, "classes_") else None
    task = task_of(classes)
    matrix = _matrix(model, columns, binding)
    trees = Trees(name, len(matrix.center))
    for number, tree in enumerate([model] if isinstance(model, BaseDecisionTree) else model.estimators_):
        with reading_tree(name, number):
            value = tree.tree_.value[:, 0, :]
            if classes is not None:
                value = value / value.sum(axis=1, keepdims=True)
            _add(trees, tree.tree_, value[:, 1:] if task == "binary" else value, 0)
    width = len(classes) if classes is not None and task == "multiclass" else 1
    ensemble = trees.ensemble(matrix=matrix, base=np.zeros(width), aggregation="mean", output="identity")
    return Part(task, classes or (), [Pipeline(matrix.steps, ensemble)])


def boosting(model: Any, columns: Columns, binding: Binding) -> Part:
    """Convert GradientBoostingClassifier or -Regressor."""
    name = called(model)
    classes = list(model.classes_) if hasattr(model, "classes_") else None
    task = task_of(classes)
    matrix = _matrix(model, columns, binding)
    trees = Trees(name, len(matrix.center))
    width = len(classes) if classes is not None and task == "multiclass" else 1
    if model.estimators_.shape[1:] != (width,) or model.n_trees_per_iteration_ != width:
        raise damaged(name)  # the library writes a score for each without looking
    for number, tree in enumerate(model.estimators_.reshape(-1)):
        with reading_tree(name, number):
            _add(trees, tree.tree_, tree.tree_.value[:, 0, 0] * model.learning_rate, number % width)
    base = _first_score(model, task, name)
    # The exponential loss has half of the log-odds as its score.
    gain = 2.0 if model.loss == "exponential" else 1.0
    ensemble = trees.ensemble(matrix=matrix, base=base * gain, aggregation="sum", output=OUTPUTS[task], gain=gain)
    return Part(task, classes or (), [Pipeline(matrix.steps, ensemble)], scored=gain == 1.0)


def _first_score(model: Any, task: str, name: str) -> Any:
    """Return the scores before the first tree, (K,)."""
    first, width = model.init_, model.estimators_.shape[1]
    if isinstance(first, str):
        return np.zeros(width)
    if not type(first).__module__.startswith("sklearn.dummy"):
        raise ConversionError(f"{name}(init={type(first).__name__})", "it begins with another model", "fit without it")
    if task == "regression":
        return np.asarray(first.constant_, dtype=np.float64).reshape(-1)
    tiny = np.finfo(np.float32).eps  # as scikit-learn bounds it
    prior = np.clip(first.class_prior_, tiny, 1 - tiny)
    if task == "binary":
        score = np.log(prior[1:] / (1 - prior[1:]))
        return score / 2 if model.loss == "exponential" else score
    return np.log(prior) - np.log(prior).mean()


def _matrix(model: Any, columns: Columns, binding: Binding) -> Matrix:
    from sklearn.utils import get_tags  # noqa: PLC0415 - the model is scikit-learn's: it is installed

    allowed = bool(get_tags(model).input_tags.allow_nan)
    return matrix_of(bound(columns, binding), binding, missing_allowed=allowed, name=called(model))


def _add(trees: Trees, tree: Any, value: Any, output: int) -> None:
    trees.add(
        leaf=tree.children_left == -1,
        feature=tree.feature,
        threshold=at_most_in_double(tree.threshold),
        left=tree.children_left,
        right=tree.children_right,
        default_left=tree.missing_go_to_left,
        value=value,
        cover=tree.weighted_n_node_samples,
        output=output,
    )


# --- histogram-based boosting -------------------------------------------------------------------------------------


def histogram_boosting(model: Any, columns: Columns, binding: Binding) -> Part:
    """Convert HistGradientBoostingClassifier or -Regressor."""
    name = called(model)
    classes = list(model.classes_) if hasattr(model, "classes_") else None
    task = task_of(classes)
    output = OUTPUTS[task] if task != "regression" else _MEANS.get(model.loss, "identity")
    made = _encoded(model, columns, binding)
    matrix = matrix_of(made, binding, missing_allowed=True, name=name)
    trees = Trees(name, len(made))
    stages = model._predictors  # noqa: SLF001 - see above
    for number, (output_of, predictor) in enumerate(pair for stage in stages for pair in enumerate(stage)):
        with reading_tree(name, number):
            _check_sets(model, predictor, name)
            _add_predictor(trees, predictor, output_of)
    base = np.asarray(model._baseline_prediction, dtype=np.float64).reshape(-1)  # noqa: SLF001
    ensemble = trees.ensemble(matrix=matrix, base=base, aggregation="sum", output=output)
    return Part(task, classes or (), [Pipeline(matrix.steps, ensemble)], scored=True)


def _encoded(model: Any, columns: Columns, binding: Binding) -> Columns:
    """Return the columns as the trees read them: categories first, as codes, then the numbers."""
    found = bound(columns, binding)
    preprocessor = model._preprocessor  # noqa: SLF001
    if preprocessor is None:
        return list(found)
    categories = np.asarray(model.is_categorical_)
    for column, is_category in zip(found, categories, strict=True):
        if is_category and isinstance(column, NumberColumn):
            raise ConversionError(
                f"{called(model)} category {column.name!r}", "the dataset has it as a number",
                "make it a category column of the dataset",
            )  # fmt: skip
        if not is_category and isinstance(column, LevelsColumn):
            raise ConversionError(f"{called(model)} input {column.name!r}", "it takes this category for a number")
    coded = [c for c, is_category in zip(found, categories, strict=True) if is_category]
    encoder = preprocessor.named_transformers_["encoder"]
    rest = [c for c, is_category in zip(found, categories, strict=True) if not is_category]
    return [*encoded(encoder, coded, [1] * len(coded)), *rest]


def _check_sets(model: Any, predictor: Any, name: str) -> None:
    """Look whether the nodes that tell categories apart do so of inputs that are some, by sets that are there."""
    mapper, nodes, sets = model._bin_mapper, predictor.nodes, predictor.raw_left_cat_bitsets  # noqa: SLF001
    known = np.asarray(mapper.is_categorical_).astype(bool)
    chosen = nodes[(nodes["is_categorical"] != 0) & (nodes["is_leaf"] == 0)]
    features, indexes = chosen["feature_idx"], chosen["bitset_idx"]
    if sets.ndim != 2 or sets.shape[1] != _WORDS or (indexes >= len(sets)).any():
        raise damaged(name)
    if ((features < 0) | (features >= len(known))).any() or not known[features].all():
        raise damaged(name)


def _add_predictor(trees: Trees, predictor: Any, output: int) -> None:
    nodes, sets = predictor.nodes, predictor.raw_left_cat_bitsets
    leaf = nodes["is_leaf"].astype(bool)
    categorical = nodes["is_categorical"].astype(bool) & ~leaf
    trees.add(
        leaf=leaf,
        feature=nodes["feature_idx"].astype(np.int64),
        threshold=np.where(categorical, 0.0, nodes["num_threshold"]),
        left=nodes["left"].astype(np.int64),
        right=nodes["right"].astype(np.int64),
        default_left=nodes["missing_go_to_left"],
        value=nodes["value"],
        cover=nodes["count"],
        output=output,
        categories={int(node): _codes(sets[nodes["bitset_idx"][node]]) for node in np.flatnonzero(categorical)},
    )


def _codes(words: Any) -> list[int]:
    """Return the codes in a set that is kept as 32-bit words."""
    return [32 * i + bit for i, word in enumerate(words.tolist()) for bit in range(32) if word >> bit & 1]
