"""What a sequence of inner nodes and leaves in preorder says: where trees begin, and where right children are.

Walk along the nodes and count: one up at an inner node, one down at a leaf. A tree ends where the count falls below
all it has been, and the right child of a node is the next one that is come to at the same count.
"""

from __future__ import annotations

from itertools import accumulate

from trainyard.model.arrays import numpy_is_loaded
from trainyard.model.ensembles import LEAF

TYPE_CHECKING = False
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

        ends = _ends(_counts((node.numpy & LEAF).astype(np.int8)))
        sizes: list[int] = np.diff(ends, prepend=-1).tolist()
        return sizes
    sizes, begin, lowest = [], 0, 0
    for end, count in enumerate(accumulate(1 - fall for fall in node.data.translate(_FALLS)), start=1):
        if count < lowest:
            lowest = count
            sizes.append(end - begin)
            begin = end
    return sizes


def shape_of(inner: Bools) -> tuple[Indexes, Indexes]:
    """Return the root of each tree (T,), and the right child of each inner node (N,); at leaves there is none."""
    import numpy as np  # noqa: PLC0415 - see arrays.py

    falls = (~inner).view(np.int8)
    counts = _counts(falls)
    starts = np.zeros(1, dtype=np.intp)
    starts = np.append(starts, _ends(counts)[:-1] + 1)
    before = counts - 1 + 2 * falls
    if before.min() >= -(1 << 15) and before.max() < 1 << 15:
        before = before.astype(np.int16)  # sorts several times as fast
    order = np.argsort(before, kind="stable")
    right = np.empty(len(inner), dtype=np.intp)
    right[order[:-1]] = order[1:]
    right[order[-1]] = 0
    return starts, right


def _counts(falls: npt.NDArray[np.int8]) -> npt.NDArray[np.int32]:
    """Return the count after each node (N,), 1 standing for a leaf and 0 for an inner node."""
    return (1 - 2 * falls).cumsum(dtype="int32")


def _ends(counts: npt.NDArray[np.int32]) -> Indexes:
    """Return the last node of each tree (T,): where the count falls below all before."""
    import numpy as np  # noqa: PLC0415 - see arrays.py

    lowest = np.minimum.accumulate(np.minimum(counts, 0))
    is_end = lowest < 0
    is_end[1:] &= lowest[1:] != lowest[:-1]
    return np.flatnonzero(is_end)
