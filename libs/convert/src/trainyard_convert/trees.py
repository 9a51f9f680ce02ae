"""Trees of any library gathered into the node arrays of the format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainyard.model import TreeEnsemble
from trainyard_convert.errors import ConversionError, damaged

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainyard.model.dto import FloatArray
    from trainyard_convert.columns import Matrix

    Indexes = npt.NDArray[np.int64]

_HIGHEST = float(np.finfo(np.float64).max)
#: The format's limits.
MAX_TREES = 5_000
MAX_NODES = 10_000_000


class Trees:
    """Node arrays that grow by whole trees; inside a tree children are indexes into its own arrays, its root is 0.

    A tree is checked before it is added: the library walks along the same numbers without looking.
    """

    def __init__(self, library: str, inputs: int) -> None:
        self._library = library
        self._inputs = inputs
        self._parts: dict[str, list[npt.NDArray[Any]]] = {
            name: [] for name in ("feature", "threshold", "left", "right", "default_left", "value", "cover")
        }
        self._starts: list[int] = []
        self._outputs: list[int] = []
        self._categories: dict[int, tuple[int, ...]] = {}
        self._size = 0

    def add(
        self,
        *,
        leaf: npt.NDArray[np.bool_],
        feature: npt.ArrayLike,
        threshold: npt.ArrayLike,
        left: npt.ArrayLike,
        right: npt.ArrayLike,
        default_left: npt.ArrayLike,
        value: npt.ArrayLike,
        cover: npt.ArrayLike | None,
        output: int = 0,
        categories: Mapping[int, Sequence[int]] | None = None,
    ) -> None:
        """Add one tree.

        Shapes: all (N,), ``value`` (N,) or (N, V). ``leaf``: what the library takes for one; only there is ``value``
        read, and only elsewhere the rest. ``cover``: the training weight of each node, None where the library does not
        keep it. ``categories``: of each node that tells levels apart, the codes that go left.

        Raises:
            ConversionError: it is no tree, reads an input that there is not, or is one too many.
        """
        feature, left, right = (np.asarray(a, dtype=np.int64) for a in (feature, left, right))
        self._check(leaf, feature, left, right)
        value = np.asarray(value, dtype=np.float64)
        value = value[:, None] if value.ndim == 1 else value
        arrays = {
            "feature": np.where(leaf, -1, feature),
            "threshold": np.where(leaf, 0.0, np.clip(np.asarray(threshold, np.float64), -_HIGHEST, _HIGHEST)),
            "left": np.where(leaf, -1, left + self._size),
            "right": np.where(leaf, -1, right + self._size),
            "default_left": np.where(leaf, 0, np.asarray(default_left, dtype=np.int64)),
            "value": np.where(leaf[:, None], value, 0.0),
            "cover": np.full(len(feature), np.nan) if cover is None else np.asarray(cover, dtype=np.float64),
        }
        for name, array in arrays.items():
            self._parts[name].append(array)
        self._starts.append(self._size)
        self._outputs.append(output)
        for node, codes in (categories or {}).items():
            if codes:
                self._categories[self._size + node] = tuple(sorted(set(codes)))
            else:  # no level goes left
                arrays["threshold"][node] = -_HIGHEST
        self._size += len(feature)
        for count, most, what in ((len(self._starts), MAX_TREES, "trees"), (self._size, MAX_NODES, "nodes")):
            if count > most:
                raise ConversionError(self._library, f"it has more than {most} {what}", "train a smaller one")

    def _check(self, leaf: npt.NDArray[np.bool_], feature: Indexes, left: Indexes, right: Indexes) -> None:
        n, inner = len(leaf), np.flatnonzero(~leaf)
        if n == 0 or not len(feature) == len(left) == len(right) == n:
            raise damaged(self._library)
        children = np.concatenate([left[inner], right[inner]])
        if not (_within(feature[inner], 0, self._inputs) and _within(children, 1, n)):
            raise damaged(self._library)
        parents = np.bincount(children, minlength=n)
        pruned = leaf & (parents == 0)  # XGBoost keeps the places of leaves that it has taken away
        pruned[0] = False
        if parents.max() > 1 or (parents[1:] + pruned[1:] == 0).any():
            raise damaged(self._library)
        above = np.zeros(n, dtype=np.int64)
        above[children] = np.tile(inner, 2)
        for _ in range(n.bit_length()):  # each time twice as far up: from a cycle nothing gets to the root
            above = above[above]
        if above.any():
            raise damaged(self._library)

    def ensemble(
        self,
        *,
        base: npt.ArrayLike,
        aggregation: str,
        output: str,
        gain: float = 1.0,
        matrix: Matrix | None = None,
    ) -> TreeEnsemble:
        """Return the ensemble with every leaf times ``gain``.

        ``matrix`` is what its features are columns of; without one they see it as the library did.
        """
        if not self._starts:
            raise ConversionError(self._library, "it has no trees", "fit it again: it answers with a constant")
        joined = {name: np.concatenate(parts) for name, parts in self._parts.items()}
        cover = None if np.isnan(joined["cover"]).any() else joined["cover"]
        return TreeEnsemble.from_nodes(
            tree_start=np.array(self._starts),
            feature=joined["feature"],
            threshold=_in_matrix(joined["feature"], joined["threshold"], matrix),
            left=joined["left"],
            right=joined["right"],
            default_left=joined["default_left"],
            value=joined["value"] * gain + 0.0,
            tree_output=np.array(self._outputs),
            base=np.asarray(base, dtype=np.float64),
            aggregation=aggregation,
            output=output,
            cover=cover,
            categories=self._categories or None,
        )


def _within(indexes: Indexes, low: int, end: int) -> bool:
    return bool(((indexes >= low) & (indexes < end)).all())


def _in_matrix(feature: npt.NDArray[np.int64], threshold: FloatArray, matrix: Matrix | None) -> FloatArray:
    """Return the thresholds for the matrix as its steps make it, where flags are 0 and 1 without the library's scale.

    A flag goes the way that its scaled value goes in the library, whatever the rounding.
    """
    if matrix is None or matrix.exact:
        return threshold
    out = threshold.copy()
    for node in np.flatnonzero(feature >= 0):
        center, scale = float(matrix.center[feature[node]]), float(matrix.scale[feature[node]])
        if (center, scale) != (0.0, 1.0):
            lefts = [(flag - center) / scale <= threshold[node] for flag in (0.0, 1.0)]
            out[node] = 2.0 if all(lefts) else 0.5 if lefts[0] else -1.0
    return out
