"""What each column of a row adds to a model's score: the members' contributions, summed by column and blended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainyard.errors import ServiceError
from trainyard.model.dto import Blend, Linear, NeuralNetwork
from trainyard.model.ensembles import TreeEnsemble
from trainyard.model.estimators import linear_scores, to_output
from trainyard.model.explaining.networks import NetworkContributions
from trainyard.model.explaining.outputs import seconds, through_output
from trainyard.model.explaining.quadrature import settled
from trainyard.model.explaining.trees import TreeContributions
from trainyard.model.features import matrix
from trainyard.model.tree_nodes import Nodes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trainyard.model.dto import ClassLabel, Estimator, FloatArray, Model, Pipeline
    from trainyard.model.features import Column

    Scorer = Callable[[FloatArray], FloatArray]  # from a matrix (D, rows) to scores (K, rows)
    # from a matrix (D, rows) to contributions (K, D, rows) to all outputs, or to those that are named
    Contributions = Callable[[FloatArray, Sequence[int] | None], FloatArray]

# measured on one core, rounded up: a contribution of a matrix column, and what a row takes besides
_CELL_SECONDS, _ROW_SECONDS = 30e-9, 20e-6
_CHUNK_CELLS = 1 << 21  # scores x matrix columns x rows at once: bounds the memory beside the answer's own
#: What the score of a single estimator is, by its output; the members of a blend give what the model answers.
_UNITS = {"sigmoid": "log-odds", "softmax": "logit", "exp": "log-value"}


@dataclass(frozen=True, eq=False)
class Explanation:
    """For every row and output ``base + contributions.sum() == score``, but for rounding.

    Shapes: base (K,), the score without the features; contributions (rows, K, columns); score (rows, K). ``classes``
    has the class that each output speaks for: all of a multiclass model, the positive one of a binary model, none in
    regression (K is 1). ``unit`` is log-odds, logit, log-value, probability or value (docs/explanations.md).
    ``output`` (rows,) says which one was asked for, where only one of each row was: contributions are then
    (rows, 1, columns), score (rows, 1).
    """

    columns: tuple[str, ...]
    classes: tuple[ClassLabel, ...]
    unit: str
    base: FloatArray
    contributions: FloatArray
    score: FloatArray
    output: npt.NDArray[np.intp] | None = None

    @property
    def finite(self) -> npt.NDArray[np.bool_]:
        """Which rows have finite numbers only, (rows,)."""
        return np.asarray(np.isfinite(self.score).all(axis=1) & np.isfinite(self.contributions).all(axis=(1, 2)))

    def row(self, index: int, predicted: object) -> dict[str, Any]:
        """Return one row as JSON: of several classes the one that was predicted, else of the only output."""
        k = self.classes.index(predicted) if len(self.classes) > 1 else 0
        if self.output is not None and self.output[index] != k:
            raise ValueError(f"row {index} is explained for output {self.output[index]}, not for {k}")
        at = k if self.output is None else 0
        found: dict[str, Any] = {"class": self.classes[k]} if self.classes else {}
        values = self.contributions[index, at].tolist()
        return found | {
            "unit": self.unit,
            "base": float(self.base[k]),
            "contributions": dict(zip(self.columns, values, strict=True)),
            "score": float(self.score[index, at]),
        }


class Explainer:
    """A model made ready to be explained. Building it costs once; threads may share it.

    Attributes:
        seconds: about how long one output of a row takes at most on one core.
    """

    def __init__(self, model: Model, scorers: Sequence[Scorer]) -> None:
        """Take the model and the scorer of each member.

        Raises:
            ServiceError: ``cannot_explain``, the model has trees without covers, too large a tree, or a base that is
                not a finite number.
        """
        columns = tuple(column.name for column in model.schema.features)
        plain = "value" if model.task == "regression" else "probability"
        if isinstance(model.pipeline, Blend):
            self._weights, self._unit = np.asarray(model.pipeline.weights).tolist(), plain
            after: str | None = model.task
        else:
            self._weights, self._unit = [1.0], _UNITS.get(model.pipeline.estimator.output, plain)
            after = None
        self._columns = columns
        self._classes = model.classes[1:] if model.task == "binary" else model.classes
        with np.errstate(all="ignore"):
            self._members = [_Member(p, s, columns, after) for p, s in zip(model.members, scorers, strict=True)]
            self._base = _blended(self._weights, [member.base for member in self._members])
        if not all(member.is_finite for member in self._members):
            raise ServiceError(
                "cannot_explain",
                "the score that the version's contributions start from is not a finite number; train the model again",
            )
        self.seconds = _ROW_SECONDS + sum(member.seconds for member in self._members)
        self._chunk = max(1, _CHUNK_CELLS // (model.n_outputs * max(p.width for p in model.members)))

    def explain(
        self, columns: Mapping[str, Column], n_rows: int, predicted: Sequence[object] | None = None
    ) -> Explanation:
        """Explain clean columns; a row has numbers that are not finite where a value is too large for the model.

        Args:
            columns: the rows.
            n_rows: how many there are.
            predicted: the class of each row; of several outputs only its own is explained, which takes less.
        """
        output = None
        if predicted is not None and len(self._base) > 1:
            output = np.array([self._classes.index(one) for one in predicted], dtype=np.intp)
        n_outputs = len(self._base) if output is None else 1
        contributions = np.empty((n_rows, n_outputs, len(self._columns)))
        score = np.empty((n_rows, n_outputs))
        with np.errstate(all="ignore"):
            for begin in range(0, n_rows, self._chunk):
                rows = slice(begin, min(n_rows, begin + self._chunk))
                part = {name: values[rows] for name, values in columns.items()}
                own = None if output is None else output[rows]
                found = [member.explained(part, rows.stop - begin, own) for member in self._members]
                score[rows] = _blended(self._weights, [of for of, _ in found]).T
                contributions[rows] = _blended(self._weights, [of for _, of in found]).transpose(2, 0, 1)
        return Explanation(self._columns, self._classes, self._unit, self._base, contributions, score, output)


def _blended(weights: Sequence[float], of_members: Sequence[FloatArray]) -> FloatArray:
    if len(of_members) == 1:
        return of_members[0]
    total = np.zeros_like(of_members[0])
    for weight, of_member in zip(weights, of_members, strict=True):
        total += weight * of_member
    return total


class _Member:
    """One pipeline: contributions of matrix columns, summed by the column of the schema that they came from.

    Attributes:
        base: (K,).
        is_finite: whether the score that contributions start from is.
        seconds: about how long one output of a row takes.
    """

    def __init__(self, pipeline: Pipeline, scorer: Scorer, columns: Sequence[str], task: str | None) -> None:
        """Take the schema's features; with a task scores go through the output that makes answers of them."""
        self._pipeline = pipeline
        self._scorer = scorer
        self._task = task
        self._n_columns = len(columns)
        place = {name: number for number, name in enumerate(columns)}
        self._places = [[place[name] for name in step.columns] for step in pipeline.steps]
        self._is_trees = isinstance(pipeline.estimator, TreeEnsemble)
        self._baseline = _baseline(pipeline.estimator, pipeline.width)
        self._before, self._contributions, spent = _contributions(pipeline.estimator, self._baseline)
        self.is_finite = bool(np.isfinite(self._before).all())
        self.base = self._before
        n_outputs = 1 if task is None else len(self._before)
        self.seconds = spent(n_outputs) + n_outputs * pipeline.width * _CELL_SECONDS
        if task is not None:
            self.seconds += seconds(n_outputs, len(columns))
            self.base = to_output(pipeline.estimator.output, task, self._before[:, None])[:, 0]

    def explained(
        self, columns: Mapping[str, Column], n_rows: int, output: npt.NDArray[np.intp] | None
    ) -> tuple[FloatArray, FloatArray]:
        """Return score (K, rows) and contributions (K, F, rows); K is 1 where each row has its ``output`` (rows,)."""
        x = matrix(self._pipeline.steps, columns, n_rows)
        score = self._scorer(x)
        # trees start nowhere, and their sums are exact but for rounding
        distance = np.zeros_like(x) if self._is_trees else x - self._baseline[:, None]
        change = score - self._before[:, None]
        each = np.arange(n_rows)
        if self._task is not None:  # what one probability makes of a column depends on all scores
            contributions = self._by_column(settled(self._contributions(x, None), change, distance))
            estimator = self._pipeline.estimator
            score, contributions = through_output(estimator.output, self._task, self._before, score, contributions)
            if output is None:
                return score, contributions
            return score[output, each][None], contributions[output, :, each].T[None]
        if output is None:
            return score, self._by_column(settled(self._contributions(x, None), change, distance))
        contributions = np.empty((1, self._n_columns, n_rows))
        for k in np.unique(output).tolist():
            rows = np.flatnonzero(output == k)
            found = settled(self._contributions(x[:, rows], [k]), change[k : k + 1, rows], distance[:, rows])
            contributions[:, :, rows] = self._by_column(found)
        return score[output, each][None], contributions

    def _by_column(self, found: FloatArray) -> FloatArray:
        """Return contributions (K, D, rows) of matrix columns as (K, F, rows); a step's two columns share equally."""
        summed = np.zeros((len(found), self._n_columns, found.shape[2]))
        at = 0
        for step, places in zip(self._pipeline.steps, self._places, strict=True):
            own = found[:, at : at + step.width].sum(axis=1) / len(places)
            for place in places:
                summed[:, place] += own
            at += step.width
        return summed


def _contributions(
    estimator: Estimator, baseline: FloatArray
) -> tuple[FloatArray, Contributions, Callable[[int], float]]:
    """Return the base (K,), the function that makes contributions, and that of the seconds they take."""
    if isinstance(estimator, Linear):
        weights = estimator.weights.numpy.T
        base = linear_scores(estimator, baseline[:, None])[:, 0]  # added up in the order of the score itself

        def contributions(x: FloatArray, outputs: Sequence[int] | None) -> FloatArray:
            return (weights if outputs is None else weights[list(outputs)])[:, :, None] * (x - baseline[:, None])

        return base, contributions, lambda _: weights.size * _CELL_SECONDS  # the score's own
    if isinstance(estimator, NeuralNetwork):
        network = NetworkContributions(estimator, baseline)
        return network.base, network.of, network.seconds
    nodes = Nodes.of(estimator)
    cover = nodes.cover
    if cover is None:
        raise ServiceError(
            "cannot_explain",
            "the trees of this version do not say how many rows reached their leaves; train the model again",
        )
    trees = TreeContributions(nodes, cover)
    return trees.base, trees.of, trees.seconds


def _baseline(estimator: Estimator, width: int) -> FloatArray:
    """Return where the columns of the matrix start, (D,)."""
    if isinstance(estimator, TreeEnsemble) or estimator.baseline is None:
        return np.zeros(width)
    return estimator.baseline.numpy
