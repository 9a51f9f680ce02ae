"""Version 1 of the format, which stays readable for ever: how its records become the parts of a model, and go back.

It had no transforms, quantiles or pairs, one kind of calibration, and trees whose nodes said where their children are.
Nothing here may change what the committed golden files of version 1 decode to, or the bytes that they encode to.
"""

from __future__ import annotations

from trainyard.model.arrays import Array
from trainyard.model.converters import FLOAT, STR, Converter, ListOf, Optional
from trainyard.model.dto import Blend, Linear, Model, NeuralNetwork, Pipeline, Temperature
from trainyard.model.ensembles import LEAF, MISSING_LEFT, TreeEnsemble
from trainyard.model.forms import DATE_PARTS, DENSE, F1, F2, IS_MISSING, LEVELS, ONE_HOT, SETTLED, model_fields
from trainyard.model.records import ArrayOf, OneOf, Record
from trainyard.model.rules import require
from trainyard.model.steps import Number, TableEncoding
from trainyard.model.tree_shape import shape_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    import numpy.typing as npt

_I1 = ArrayOf("int32", 1)
_TREES: dict[str, ArrayOf] = {
    "tree_start": _I1,
    "feature": _I1,
    "threshold": F1,
    "left": _I1,
    "right": _I1,
    "default_left": ArrayOf("uint8", 1),
    "value": F2,
    "tree_output": _I1,
}
_MAX = 65_535  # of features and outputs


def form() -> Record:
    """Return the form of a body of version 1."""
    step = OneOf(
        (
            Record(Number, {"column": STR, **SETTLED}, "number", take=_without("transform", "identity")),
            IS_MISSING,
            ONE_HOT,
            Record(TableEncoding, {**LEVELS, "table": F2, "unknown": F1, "missing": F1}, "table_encoding"),
            DATE_PARTS,
        )
    )
    no_baseline = _without("baseline", None)
    trees: dict[str, Converter] = {**_TREES, "base": F1, "aggregation": STR, "output": STR}
    estimator = OneOf(
        (
            Record(Linear, {"weights": F2, "bias": F1, "output": STR}, "linear", take=no_baseline),
            Record(NeuralNetwork, {"layers": ListOf(DENSE), "output": STR}, "neural_network", take=no_baseline),
            Record(TreeEnsemble, trees, "tree_ensemble", make=_trees, take=_fields_of_trees),
        )
    )
    pipeline = Record(Pipeline, {"steps": ListOf(step), "estimator": estimator}, "pipeline")
    blend = Record(Blend, {"members": ListOf(pipeline), "weights": F1}, "blend")
    fields = model_fields(OneOf((pipeline, blend)), {"temperature": Optional(FLOAT)})
    return Record(Model, fields, make=_model, take=_fields_of_model)


def _without(name: str, value: Any) -> Callable[[Any], Mapping[str, Any]]:
    """Return the fields of an object, refusing one whose ``name`` is not ``value``: version 1 cannot say it."""

    def take(holder: Any) -> Mapping[str, Any]:
        require(getattr(holder, name) == value, "unknown_kind", f"version 1 of the format has no {name}")
        return _Fields(holder)

    return take


class _Fields(dict[str, "Any"]):
    """The attributes of an object by their names."""

    def __init__(self, holder: Any) -> None:
        super().__init__()
        self._holder = holder

    def __missing__(self, name: str) -> Any:
        return getattr(self._holder, name)


def _model(temperature: float | None, **fields: Any) -> Model:
    return Model(calibration=None if temperature is None else Temperature(temperature), **fields)


def _fields_of_model(model: Model) -> Mapping[str, Any]:
    calibration = model.calibration
    require(calibration is None or type(calibration) is Temperature, "unknown_kind", "version 1 has temperatures only")
    fields = _Fields(model)
    fields["temperature"] = calibration.temperature if isinstance(calibration, Temperature) else None
    return fields


# --- trees -------------------------------------------------------------------------------------------------------


def _trees(base: Array, aggregation: str, output: str, **nodes: Array) -> TreeEnsemble:
    """Return the trees of node arrays, which must form trees as the page of version 1 says."""
    of = {name: array.numpy for name, array in nodes.items()}
    _check_nodes(of)
    inner = of["feature"] >= 0
    return TreeEnsemble(
        node=(~inner) * LEAF + of["default_left"] * MISSING_LEFT,
        feature=of["feature"][inner],
        threshold=of["threshold"][inner],
        category_start=[],
        category=[],
        value=of["value"][~inner],
        tree_output=of["tree_output"],
        base=base,
        aggregation=aggregation,
        output=output,
    )


def _check_nodes(of: Mapping[str, npt.NDArray[Any]]) -> None:
    import numpy as np  # noqa: PLC0415 - only models with trees need it

    start, outputs, feature = of["tree_start"], of["tree_output"], of["feature"]
    n_nodes = len(feature)
    of_nodes = [of[name] for name in ("threshold", "left", "right", "default_left", "value")]
    require(all(len(a) == n_nodes for a in of_nodes), "shape_mismatch", "the node arrays are not of equal length")
    require(len(outputs) == len(start), "shape_mismatch", "one output for each tree")
    require(1 <= len(start) <= n_nodes, "limit_exceeded", "an ensemble has a tree, and a tree has a node")
    ends = np.append(start[1:], n_nodes)
    require(start[0] == 0 and bool((start < ends).all()), "bad_tree", "the trees do not follow each other")
    known = bool(((feature >= -1) & (feature < _MAX)).all()) and bool(((outputs >= 0) & (outputs < _MAX)).all())
    require(known, "bad_tree", "a node reads no such column, or a tree adds to no such output")
    _check_unused(of)
    inner = np.flatnonzero(feature >= 0)
    left, right = of["left"][inner], of["right"][inner]
    end_of = np.repeat(ends, ends - start)[inner]
    for children in (left, right):
        in_tree = (children > inner) & (children < end_of)
        require(bool(in_tree.all()), "bad_tree", "a child does not come after its parent, within its tree")
    parents = np.bincount(np.concatenate([left, right]), minlength=n_nodes)
    parents[start] += 1
    require(bool((parents == 1).all()), "bad_tree", "a node has no parent, or several")
    # every writer of version 1 has put nodes in preorder; in another order, the same trees would have other bytes
    in_order = bool((left == inner + 1).all()) and np.array_equal(shape_of(feature >= 0)[1][inner], right)
    require(in_order, "not_canonical", "the nodes are not in preorder")


def _check_unused(of: Mapping[str, npt.NDArray[Any]]) -> None:
    """Refuse what a node of its kind does not have."""
    import numpy as np  # noqa: PLC0415 - only models with trees need it

    leaf = of["feature"] < 0
    childless = bool((of["left"][leaf] == -1).all()) and bool((of["right"][leaf] == -1).all())
    sides = of["default_left"]
    directed = of["threshold"][leaf].any() or sides[leaf].any()
    require(childless and not directed, "bad_tree", "a leaf has children, a threshold or a direction")
    require(not of["value"][~leaf].any(), "bad_tree", "an inner node has a value")
    require(bool((sides <= 1).all()), "bad_tree", "a missing direction is neither 0 nor 1")
    negative = np.signbit(of["threshold"][leaf]).any() or np.signbit(of["value"][~leaf]).any()
    require(not negative, "not_canonical", "an unused number is a negative zero")


def _fields_of_trees(trees: TreeEnsemble) -> Mapping[str, Any]:
    from trainyard.model.tree_nodes import arrays_of_version_1  # noqa: PLC0415 - needs numpy

    require(len(trees.category_start) == 0 and trees.cover is None, "unknown_kind", "version 1 has no such trees")
    fields = _Fields(trees)
    for name, values in arrays_of_version_1(trees).items():
        fields[name] = Array.of(values, _TREES[name].dtype, values.ndim, name)
    return fields
