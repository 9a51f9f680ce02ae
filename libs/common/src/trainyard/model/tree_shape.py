"""What a sequence of inner nodes and leaves in preorder says: where trees begin, and where right children are.

Walk along the nodes and count: one up at an inner node, one down at a leaf. A tree ends where the count falls below
all it has been, and the right child of a node is the next one that is come to at the same count.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any

from trainyard.model.arrays import numpy_is_loaded
from trainyard.model.ensembles import LEAF

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from trainyard.model.arrays import Array

    Indexes = npt.NDArray[np.intp]
    Bools = npt.NDArray[np.bool_]

#: node -> 2 for a leaf, 0 for an inner node: 1 - that is a step of the count
_FALLS = bytes(2 * (node & LEAF) for node in range(256))


def tree_sizes(node: Array) -> list[int]:
    """Return how many nodes each whole tree has, in turn, and nothing for nodes (N,) at the end that make none."""
    if numpy_is_loaded():
        import numpy as np  # noqa: PLC0415 - see arrays.py

        sizes: list[int] = np.diff(_ends((node.numpy & LEAF) == 0), prepend=-1).tolist()
        return sizes
    sizes, begin, lowest = [], 0, 0
    for end, count in enumerate(accumulate(1 - fall for fall in node.data.translate(_FALLS)), start=1):
        if count < lowest:
            lowest = count
            sizes.append(end - begin)
            begin = end
    return sizes


def right_children(inner: Bools) -> Indexes:
    """Return the right child of each inner node (N,); what stands at leaves means nothing."""
    import numpy as np  # noqa: PLC0415 - see arrays.py

    before = _counts(inner)
    before[inner] -= 1
    before[~inner] += 1
    if len(before) and before.min() >= -(1 << 15) and before.max() < 1 << 15:
        before = before.astype(np.int16)  # sorts several times as fast
    order = np.argsort(before, kind="stable")
    out = np.zeros(len(inner), dtype=np.intp)
    out[order[:-1]] = order[1:]
    return out


def tree_starts(inner: Bools) -> Indexes:
    """Return the root of each tree (T,)."""
    import numpy as np  # noqa: PLC0415 - see arrays.py

    return np.concatenate([[0], _ends(inner)[:-1] + 1]).astype(np.intp)


def _ends(inner: Bools) -> Indexes:
    """Return the last node of each tree (T,): where the count falls below all before."""
    import numpy as np  # noqa: PLC0415 - see arrays.py

    lowest = np.minimum.accumulate(np.minimum(_counts(inner), 0))
    return np.flatnonzero(np.diff(lowest, prepend=0))


def _counts(inner: Bools) -> npt.NDArray[Any]:
    """Return the count after each node (N,)."""
    import numpy as np  # noqa: PLC0415 - see arrays.py

    return np.cumsum(np.where(inner, np.int8(1), np.int8(-1)), dtype=np.int32)
