"""Ensembles of decision trees as they lie in a file: nodes in preorder, so that no node says where its children are.

In preorder a node stands before its left subtree, and that before its right one. Every inner node has two children,
so the sequence of inner nodes and leaves alone says where each subtree, and each tree, ends.
"""

from __future__ import annotations

from trainyard.frozen import dataclass
from trainyard.model.arrays import ArrayField, OptionalArrayField

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    import numpy.typing as npt

#: What a node is: a leaf alone, or the sum of what holds for an inner node.
LEAF = 1
MISSING_LEFT = 2
CATEGORICAL = 4


@dataclass(frozen=True, eq=False)
class TreeEnsemble:
    """Binary decision trees: T trees, N nodes, I of them inner and M = I + T leaves, one tree after the other.

    Shapes: node (N,), LEAF or a sum of MISSING_LEFT and CATEGORICAL; feature and threshold (I,), for the inner nodes
    in order; value (M, V) and cover (M,), for the leaves in order; tree_output (T,); base (K,); category_start (S,)
    and category (C,), S sets of category codes, each rising; set s begins at ``category_start[s]``.

    An inner node sends a row left when ``x[feature] <= threshold`` in float64, else right. A CATEGORICAL one has the
    number of a set as its threshold and sends a row left when ``ceil(x[feature])`` is in the set. A missing value (NaN)
    goes left where MISSING_LEFT is set, else right. ``cover`` is the weight of the training rows that reached a leaf,
    for SHAP values; None where it is not known.

    V = 1: the leaf value of tree t is added to output ``tree_output[t]`` (boosting: one tree per class and round).
    V = K: a leaf holds one value for each output and ``tree_output`` is all 0 (forests).
    Output k is ``base[k]`` + the sum, in tree order, or the mean of its trees' leaf values.
    """

    aggregation: str
    output: str
    node: ArrayField = ArrayField("uint8", 1)
    feature: ArrayField = ArrayField("uint16", 1)
    threshold: ArrayField = ArrayField("float64", 1)
    category_start: ArrayField = ArrayField("int32", 1)
    category: ArrayField = ArrayField("int32", 1)
    value: ArrayField = ArrayField("float64", 2)
    tree_output: ArrayField = ArrayField("uint16", 1)
    base: ArrayField = ArrayField("float64", 1)
    cover: OptionalArrayField = OptionalArrayField("float32", 1)

    @classmethod
    def from_nodes(
        cls,
        *,
        tree_start: npt.ArrayLike,
        feature: npt.ArrayLike,
        threshold: npt.ArrayLike,
        left: npt.ArrayLike,
        right: npt.ArrayLike,
        default_left: npt.ArrayLike,
        value: npt.ArrayLike,
        tree_output: npt.ArrayLike,
        base: npt.ArrayLike,
        aggregation: str,
        output: str,
        cover: npt.ArrayLike | None = None,
        categories: Mapping[int, Sequence[int]] | None = None,
    ) -> TreeEnsemble:
        """Return the ensemble of trees whose N nodes say where their children are.

        Shapes: tree_start (T,), the roots; feature (N,), -1 at a leaf; threshold, left, right and default_left (N,),
        read at inner nodes, ``left`` and ``right`` being node indexes; value (N, V) and cover (N,), read at leaves.
        ``categories`` maps inner nodes to the codes that they send left; they need no threshold.

        Raises:
            ValueError: a feature is over 65,535, or the arrays are of no such shapes.
        """
        import numpy as np  # noqa: PLC0415 - who builds models has it, who reads them may not

        start, feature, left, right = (np.asarray(a) for a in (tree_start, feature, left, right))
        order = preorder(start, feature, left, right)
        inner = feature[order] >= 0
        at_inner, at_leaf = order[inner], order[~inner]
        thresholds = np.asarray(threshold, dtype=np.float64)[at_inner]
        node = np.where(inner, 0, LEAF)
        node[inner] = MISSING_LEFT * (np.asarray(default_left)[at_inner] != 0)
        starts: list[int] = []
        codes: list[int] = []
        sets: dict[tuple[int, ...], int] = {}
        if categories:
            position = {index: at for at, index in enumerate(at_inner.tolist()) if index in categories}
            among_nodes = np.flatnonzero(inner)
            for index, at in position.items():
                wanted = tuple(sorted({int(code) for code in categories[index]}))
                if wanted not in sets:
                    sets[wanted] = len(sets)
                    starts.append(len(codes))
                    codes.extend(wanted)
                thresholds[at] = sets[wanted]
                node[among_nodes[at]] |= CATEGORICAL
        return cls(
            aggregation=aggregation,
            output=output,
            node=node,
            feature=feature[at_inner],
            threshold=thresholds,
            category_start=np.array(starts, dtype=np.int32),
            category=np.array(codes, dtype=np.int32),
            value=np.asarray(value)[at_leaf],
            tree_output=tree_output,
            base=base,
            cover=None if cover is None else np.asarray(cover)[at_leaf],
        )


def preorder(start: Any, feature: Any, left: Any, right: Any) -> Any:
    """Return the N node indexes, tree after tree, each in preorder; arrays as in :meth:`TreeEnsemble.from_nodes`.

    Raises:
        ValueError: children lead to more nodes than there are: some have two parents, or lead to themselves.
    """
    import numpy as np  # noqa: PLC0415 - who builds models has it, who reads them may not

    lefts, rights, is_leaf = left.tolist(), right.tolist(), (feature < 0).tolist()
    order: list[int] = []
    waiting: list[int] = []
    for root in start.tolist():
        waiting.append(root)
        while waiting:
            at = waiting.pop()
            order.append(at)
            if len(order) > len(is_leaf):
                raise ValueError("the nodes are no trees: one is reached twice")
            if not is_leaf[at]:
                waiting.append(rights[at])
                waiting.append(lefts[at])
    return np.array(order, dtype=np.intp)
