"""Trees as tables of bits: no walk, and nothing but contiguous numpy over blocks of rows.

The leaves of a tree are numbered from left to right. For each feature, its thresholds in the whole ensemble cut the
line into intervals; the tables hold one row for each interval (and one for missing values) with one mask of 32 or 64
bits for each tree: the leaves that remain possible. A row of the matrix ANDs one row of the tables per feature, and
the lowest bit that is left in a mask is the leaf of that tree.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainyard.model.intervals import Intervals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainyard.model.dto import FloatArray
    from trainyard.model.tree_nodes import Categories, Indexes, Nodes

Masks = npt.NDArray[Any]  # of uint32 or uint64

MAX_BYTES = 64 * 1024 * 1024
#: Codes in the sets of all categorical nodes, counted for each node, and cuts that these nodes are held against.
_MOST_CATEGORIES = 500_000
_MOST_LOOKED_AT = 20_000_000
_LINE = 64  # bytes of a cache line: arrays whose rows start at one are read and written faster
_BLOCK_CELLS = 49_152  # rows x trees at once: what stays in the second-level cache
_BINNED_ROWS = 4_096  # rows whose intervals are looked up at once
#: Indexes of a forest without splits.
_NOTHING = np.empty(0, dtype=np.intp)
_FEW_ROWS = 8  # up to here, one row at a time is faster
_LOW_BITS = np.array([(1 << count) - 1 for count in range(64)], dtype=np.uint64)
#: de Bruijn sequences: (1 << i) * it >> (bits - log2(bits)) is another number for each i
_DE_BRUIJN = {32: 0x077CB531, 64: 0x03F79D71B4CB0A89}


@dataclass(frozen=True)
class _Layout:
    """Which rows of the tables stand for what; I inner nodes read F features.

    Shapes: inner and missing (I,), the nodes and for each the row of the missing values of its feature; numeric and
    above (not categorical ones,), the nodes with a threshold and for each the first row of the values above it;
    columns (F,), the matrix columns; cuts, for each feature its thresholds, sorted, and the ends of its categories;
    starts (F + 1,), the first row of each feature and the number of rows.
    """

    inner: Indexes
    missing: Indexes
    numeric: Indexes
    above: Indexes
    columns: list[int]
    cuts: list[FloatArray]
    starts: list[int]

    @classmethod
    def of(cls, nodes: Nodes) -> _Layout:
        inner = np.flatnonzero(nodes.inner)
        numeric = inner if nodes.categories is None else inner[~nodes.categories.at[inner]]
        feature, cut, owner = nodes.feature[numeric], nodes.threshold[numeric], numeric
        if nodes.categories is not None:
            of_feature, ends = _category_ends(nodes, nodes.categories)
            feature, cut = np.append(feature, of_feature), np.append(cut, ends)
            owner = np.append(owner, np.full(len(ends), -1))
        order = np.lexsort((cut, feature))
        feature, cut, owner = feature[order], cut[order], owner[order]
        is_first = np.ones(len(cut), dtype=np.bool_)  # of its feature
        is_first[1:] = feature[1:] != feature[:-1]
        is_cut = is_first.copy()
        is_cut[1:] |= cut[1:] != cut[:-1]
        number = np.cumsum(is_first) - 1
        begins = np.append(np.flatnonzero(is_first[is_cut]), np.count_nonzero(is_cut))
        starts = begins + 2 * np.arange(len(begins))  # one interval more than cuts, and a row for missing values
        columns = feature[is_first]
        owned = owner >= 0
        return cls(
            inner=inner,
            missing=starts[np.searchsorted(columns, nodes.feature[inner]) + 1] - 1,
            numeric=owner[owned],
            above=(np.cumsum(is_cut) + 2 * number)[owned],
            columns=columns.tolist(),
            cuts=[cut[is_cut][begin:end] for begin, end in pairwise(begins.tolist())],
            starts=starts.tolist(),
        )


def _category_ends(nodes: Nodes, categories: Categories) -> tuple[Indexes, FloatArray]:
    """Return features and cuts on both sides of every category that a node asks for: values are rounded up."""
    features, ends = [], []
    for index in np.flatnonzero(categories.at).tolist():
        codes = categories.codes(index).astype(np.float64)
        ends.append(np.concatenate([codes - 1.0, codes]))
        features.append(np.full(2 * len(codes), nodes.feature[index]))
    return np.concatenate(features), np.concatenate(ends)


class BitTables:
    """The tables of T trees, W columns wide: T and so many that every row fills whole cache lines."""

    def __init__(self, nodes: Nodes, layout: _Layout, masks: Masks, leaf_value: FloatArray) -> None:
        bits = masks.dtype.itemsize * 8
        self._nodes = nodes
        self._masks = masks  # (all rows, W)
        self._leaf_value = leaf_value  # V values for each of W x bits slots
        self._de_bruijn, self._shift = _hash_of(masks.dtype)
        self._first_slot = (np.arange(masks.shape[1]) * bits).astype(masks.dtype)
        bounds = list(pairwise(layout.starts))
        self._columns = layout.columns
        self._intervals = [Intervals.of(cuts) for cuts in layout.cuts]
        self._masks_of = [masks[begin:end] for begin, end in bounds]
        # for one row at a time: of each column its cuts, the row of its first interval, and that of its missing values
        self._cuts = [cuts.tolist() for cuts in layout.cuts]
        self._first = np.array(layout.starts[:-1], dtype=np.intp)
        self._missing = [end - begin - 1 for begin, end in bounds]
        # numpy takes whole arrays of one type in half the time that it needs for a scalar
        self._factors, self._shifts = (np.full_like(self._first_slot, one) for one in (self._de_bruijn, self._shift))
        self._wide = bits == 64
        self._first_index = self._first_slot if self._wide else self._first_slot.astype(np.intp)
        #: how long a row is whose columns are all read, in their order; 0: no row is
        self._width = len(self._columns) if self._columns == list(range(len(self._columns))) else 0

    @classmethod
    def build(cls, nodes: Nodes) -> BitTables | None:
        """Return the tables, or None where they are not worth it.

        A tree has more than 64 leaves, they would take more than 64 MiB, or splits ask for too many categories.
        """
        size = np.diff(np.append(np.sort(nodes.root), len(nodes.inner)))
        most = int(size.max() + 1) // 2
        if most > 64:
            return None
        dtype = np.dtype(np.uint32 if most <= 32 else np.uint64)
        width = -(-len(nodes.root) * dtype.itemsize // _LINE) * _LINE // dtype.itemsize
        if nodes.categories is not None and nodes.categories.asked > _MOST_CATEGORIES:
            return None
        layout = _Layout.of(nodes)
        if _looked_at(nodes, layout) > _MOST_LOOKED_AT:
            return None
        n_bytes = width * (layout.starts[-1] * dtype.itemsize + dtype.itemsize * 8 * nodes.n_values * 8)
        if n_bytes > MAX_BYTES:
            return None
        tree, first = _places(nodes)
        inner = np.arange(len(nodes.inner))
        # to the right of a node, the leaves on its left are no longer possible
        gone = _LOW_BITS[np.where(nodes.inner, (nodes.child[1::2] - inner) // 2, 0)] << first.astype(np.uint64)
        keep = (~gone).astype(dtype)
        masks = _aligned((layout.starts[-1], width), dtype)
        masks[:] = ~dtype.type(0)
        np.bitwise_and.at(masks, (layout.above, tree[layout.numeric]), keep[layout.numeric])
        for begin, end in pairwise(layout.starts):  # what is above a cut is above all cuts before it
            np.bitwise_and.accumulate(masks[begin : end - 1], axis=0, out=masks[begin : end - 1])
        if nodes.categories is not None:
            for index, rows in _rows_to_the_right(nodes, nodes.categories, layout):
                masks[rows, tree[index]] &= keep[index]
        right = nodes.missing_right[layout.inner]
        at = layout.inner[right]
        np.bitwise_and.at(masks, (layout.missing[right], tree[at]), keep[at])
        return cls(nodes, layout, masks, _leaf_values(nodes, tree, first, width, dtype))

    def scores(self, x: FloatArray) -> FloatArray:
        """Return the scores (K, rows) of a matrix (D, rows)."""
        n = x.shape[1]
        out = np.empty((len(self._nodes.base), n))
        if n <= _FEW_ROWS:
            for i, row in enumerate(x.T.tolist()):
                out[:, i] = self.scores_of_one(row)
            return out
        rows = min(n, max(16, _BLOCK_CELLS // self._masks.shape[1]))
        binned = max(1, _BINNED_ROWS // rows) * rows
        intervals = np.empty((len(self._columns), min(n, binned)), dtype=np.intp)
        possible, other = (_aligned((rows, self._masks.shape[1]), self._masks.dtype) for _ in range(2))
        for begin in range(0, n, binned):
            part = x[:, begin : begin + binned]
            here = intervals[:, : part.shape[1]]
            for column, own, masks, out_row in zip(self._columns, self._intervals, self._masks_of, here, strict=True):
                own.of_values(part[column], len(masks) - 1, out_row)
            for start in range(0, part.shape[1], rows):
                block = here[:, start : start + rows]
                size = block.shape[1]
                slots = self._slots(block, possible[:size], other[:size])
                self._nodes.add_up(self._leaf_value, slots, out[:, begin + start : begin + start + size])
        return out

    def scores_of_one(self, row: list[float]) -> list[float]:
        """Return the scores (K,) of one row (D,) of the matrix."""
        values = row if len(row) == self._width else [row[column] for column in self._columns]
        at = list(map(bisect_left, self._cuts, values))
        if (total := sum(values)) != total:  # one may be missing: NaN alone is not equal to itself
            pairs = zip(at, values, self._missing, strict=True)
            at = [index if value == value else missing for index, value, missing in pairs]  # noqa: PLR0124
        # without a feature, nothing is ruled out: the first leaf is the only one
        rows = self._first + at if at else _NOTHING
        possible: Masks = np.bitwise_and.reduce(self._masks.take(rows, axis=0), axis=0)
        possible &= -possible
        possible *= self._factors
        possible >>= self._shifts
        slots = self._first_index + possible
        return self._nodes.sum_of_one(self._leaf_value, slots.view(np.intp) if self._wide else slots)

    def _slots(self, intervals: Indexes, possible: Masks, other: Masks) -> Indexes:
        """Return the slot (T, rows) of each row's leaf in each tree; both buffers are (rows, W)."""
        if not self._columns:
            possible[:] = 1
        for i, (masks, interval) in enumerate(zip(self._masks_of, intervals, strict=True)):
            # "clip", as numpy would otherwise fill a copy first, to leave ``out`` alone if an index were wrong
            masks.take(interval, axis=0, out=other if i else possible, mode="clip")
            if i:
                np.bitwise_and(possible, other, out=possible)
        self._to_slots(possible, other)
        return possible.T[: len(self._nodes.root)].astype(np.intp, order="C")

    def _to_slots(self, possible: Masks, other: Masks) -> None:
        """Replace masks (…, W) by the slots of their lowest bits; ``other`` is a buffer of the same shape."""
        np.negative(possible, out=other)
        np.bitwise_and(possible, other, out=possible)
        np.multiply(possible, self._de_bruijn, out=possible)
        np.right_shift(possible, self._shift, out=possible)
        np.add(possible, self._first_slot, out=possible)


def _looked_at(nodes: Nodes, layout: _Layout) -> int:
    """Return how many cuts the categorical nodes have to be held against in all."""
    if nodes.categories is None:
        return 0
    cuts = dict(zip(layout.columns, map(len, layout.cuts), strict=True))
    return sum(cuts[feature] for feature in nodes.feature[nodes.categories.at].tolist())


def _places(nodes: Nodes) -> tuple[Indexes, Indexes]:
    """Return for each node (N,) its tree, as they are sorted, and how many leaves of the tree stand before it."""
    starts = np.sort(nodes.root)
    which = np.searchsorted(starts, np.arange(len(nodes.inner)), side="right") - 1
    before = nodes.leaves_before
    sorted_as = np.empty(len(starts), dtype=np.intp)
    sorted_as[np.searchsorted(starts, nodes.root)] = np.arange(len(starts))
    return sorted_as[which], before - before[starts][which]


def _rows_to_the_right(nodes: Nodes, categories: Categories, layout: _Layout) -> Iterator[tuple[int, Indexes]]:
    """Give each categorical node, and the rows of the values that it does not send left."""
    place = {column: at for at, column in enumerate(layout.columns)}
    for index in np.flatnonzero(categories.at).tolist():
        at = place[int(nodes.feature[index])]
        away = np.append(~np.isin(np.ceil(layout.cuts[at]), categories.codes(index)), True)
        yield index, layout.starts[at] + np.flatnonzero(away)


def _hash_of(dtype: np.dtype[Any]) -> tuple[Any, Any]:
    """Return the de Bruijn sequence and the shift for masks of a type."""
    bits = dtype.itemsize * 8
    return dtype.type(_DE_BRUIJN[bits]), dtype.type(bits - bits.bit_length() + 1)


def _leaf_values(nodes: Nodes, tree: Indexes, first: Indexes, width: int, dtype: np.dtype[Any]) -> FloatArray:
    """Return the V values of each slot: 32 or 64 of them for each tree, by what the de Bruijn product says."""
    bits = dtype.itemsize * 8
    de_bruijn, shift = _hash_of(dtype)
    slot_of_bit = ((np.ones(bits, dtype=dtype) << np.arange(bits, dtype=dtype)) * de_bruijn) >> shift
    out = np.zeros((width * bits, nodes.n_values))
    leaf = np.flatnonzero(~nodes.inner)
    out[tree[leaf] * bits + slot_of_bit[first[leaf]].astype(np.intp)] = nodes.value.reshape(-1, nodes.n_values)[leaf]
    return out.reshape(-1)


def _aligned(shape: tuple[int, int], dtype: np.dtype[Any]) -> Masks:
    """Return an uninitialised array that starts at a cache line."""
    n_bytes = shape[0] * shape[1] * dtype.itemsize
    raw = np.empty(n_bytes + _LINE, dtype=np.uint8)
    start = -raw.ctypes.data % _LINE
    return raw[start : start + n_bytes].view(dtype).reshape(shape)
