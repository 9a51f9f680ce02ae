"""The kernels of tree ensembles: each says what a walk in plain Python says, to the bit, for any batch."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainyard.model import TreeEnsemble
from trainyard.model.ensembles import CATEGORICAL, LEAF, MISSING_LEFT
from trainyard.model.intervals import Intervals
from trainyard.model.single_trees import Walk
from trainyard.model.tree_nodes import Nodes, in_order
from trainyard.model.tree_tables import BitTables
from trainyard.model.trees import WORTH_TABLES, TreeKernel

WIDTH = 4
#: Codes of categories; NUMBERS are near some of them.
CODES = (-3, -2, -1, 0, 1, 2, 7, 2**31 - 1, -(2**31))
#: Thresholds and values alike: ties, both zeros, the smallest and the largest doubles.
NUMBERS = (
    -1.7976931348623157e308,
    -(2.0**31),
    -2.5,
    -1.0,
    -5e-324,
    -0.0,
    0.0,
    5e-324,
    0.1,
    0.5,
    1.0,
    1e10,
    1.7976931348623157e308,
)


def ensemble(
    leaves: list[int],
    n_outputs: int,
    *,
    vector: bool,
    mean: bool = False,
    seed: int = 0,
    numbers: Any = NUMBERS,
    categorical: float = 0.0,
) -> TreeEnsemble:
    """Return random trees with the given numbers of leaves, of any shape; ``categorical`` is a share of the splits."""
    rng = np.random.default_rng(seed)
    columns: dict[str, list[Any]] = {k: [] for k in ("feature", "threshold", "left", "right", "default_left", "value")}

    def grow(n_leaves: int) -> int:
        index, leaf = len(columns["feature"]), n_leaves == 1
        columns["feature"].append(-1 if leaf else int(rng.integers(WIDTH)))
        columns["threshold"].append(0.0 if leaf else float(rng.choice(numbers)))
        columns["default_left"].append(0 if leaf else int(rng.integers(2)))
        # of very different sizes, so that another order of additions would show
        size = rng.normal(size=n_outputs if vector else 1) * 10.0 ** rng.integers(-6, 7)
        columns["value"].append(size if leaf else 0.0 * size + 0.0)
        columns["left"].append(-1)
        columns["right"].append(-1)
        if not leaf:
            on_the_left = int(rng.integers(1, n_leaves))
            columns["left"][index] = grow(on_the_left)
            columns["right"][index] = grow(n_leaves - on_the_left)
        return index

    start = [grow(n) for n in leaves]
    return TreeEnsemble.from_nodes(
        tree_start=np.array(start),
        **{k: np.array(v) for k, v in columns.items() if k != "value"},
        value=np.array(columns["value"]) + 0.0,
        tree_output=np.zeros(len(start)) if vector else rng.integers(0, n_outputs, len(start)),
        base=rng.normal(size=n_outputs),
        aggregation="mean" if mean else "sum",
        output="identity",
        cover=rng.integers(0, 100, len(columns["feature"])),
        categories={
            node: rng.choice(CODES, rng.integers(1, 4))
            for node, feature in enumerate(columns["feature"])
            if feature >= 0 and rng.random() < categorical
        },
    )


def rows_for(n: int, seed: int = 0, numbers: Any = NUMBERS) -> np.ndarray[Any, Any]:
    """Return a matrix (WIDTH, n): values equal to thresholds, between them, missing and infinite."""
    rng = np.random.default_rng(seed)
    kinds = [rng.choice(numbers, (WIDTH, n)), rng.normal(size=(WIDTH, n))]
    x = np.where(rng.random((WIDTH, n)) < 0.6, *kinds)
    x[rng.random(x.shape) < 0.1] = math.nan
    x[rng.random(x.shape) < 0.03] = math.inf
    x[rng.random(x.shape) < 0.03] = -math.inf
    return x


def walk(trees: TreeEnsemble, row: list[float]) -> list[float]:
    """Return the scores of one row, one node and one addition after the other, by the words of the format's page."""
    n_outputs = len(trees.base)
    inner = zip(trees.feature.tolist(), trees.threshold.tolist(), strict=True)
    leaves = iter(trees.value.tolist())
    nodes = iter(trees.node.tolist())
    bounds = [*trees.category_start.tolist(), len(trees.category)]
    sets = [trees.category.tolist()[begin:end] for begin, end in pairwise(bounds)]

    def subtree() -> list[float]:
        """Read a whole subtree and return the values of its leaf that the row would come to."""
        node = next(nodes)
        if node == LEAF:
            return next(leaves)
        feature, threshold = next(inner)
        value = row[feature]
        if math.isnan(value):
            left = bool(node & MISSING_LEFT)
        elif node & CATEGORICAL:
            left = any(code - 1 < value <= code for code in sets[int(threshold)])
        else:
            left = value <= threshold
        on_the_left = subtree()
        on_the_right = subtree()
        return on_the_left if left else on_the_right

    totals, counts = [0.0] * n_outputs, [0] * n_outputs
    for output in trees.tree_output.tolist():
        for k, added in enumerate(subtree(), start=output):
            totals[k] += added
            counts[k] += 1
    if trees.aggregation == "mean":
        totals = [total / max(1, count) for total, count in zip(totals, counts, strict=True)]
    return [base + total for base, total in zip(trees.base.tolist(), totals, strict=True)]


def expected(trees: TreeEnsemble, x: np.ndarray[Any, Any]) -> list[list[float]]:
    """Return the scores of each row by the walk in plain Python."""
    return [walk(trees, row) for row in x.T.tolist()]


def tables_of(trees: TreeEnsemble) -> BitTables:
    """Return the tables of an ensemble that can have some."""
    tables = BitTables.build(Nodes.of(trees))
    assert tables is not None
    return tables


@given(
    leaves=st.lists(st.sampled_from([1, 2, 3, 7, 31, 32, 33, 64]), min_size=1, max_size=9),
    outputs=st.sampled_from([(1, False), (3, False), (3, True)]),
    mean=st.booleans(),
    n=st.integers(1, 40),
    seed=st.integers(0, 2**32 - 1),
    categorical=st.sampled_from([0.0, 0.3, 1.0]),
)
@settings(deadline=None)
def test_all_kernels_follow_the_written_rule(
    leaves: list[int], outputs: tuple[int, bool], mean: bool, n: int, seed: int, categorical: float
) -> None:
    """Any ensemble, any rows: the walks and the tables give the bits of a reading of the format's page."""
    trees = ensemble(leaves, outputs[0], vector=outputs[1], mean=mean, seed=seed, categorical=categorical)
    x = rows_for(n, seed)
    wanted = expected(trees, x)
    assert Nodes.of(trees).scores(x).T.tolist() == wanted
    assert tables_of(trees).scores(x).T.tolist() == wanted
    alone = Walk(trees)
    assert [alone.scores(row) for row in x.T.tolist()] == wanted


@pytest.mark.parametrize("outputs", [(1, False), (3, False), (2, True)])
@pytest.mark.parametrize("most", [1, 32, 33, 64, 65, 700])
def test_any_batch_gives_the_same_bits(most: int, outputs: tuple[int, bool]) -> None:
    """Each size of a batch from 1 row to several blocks gives, row by row, what plain Python gives."""
    trees = ensemble([most, 5, 1, 31] * 9, outputs[0], vector=outputs[1], seed=most)
    x = rows_for(5_000, most)
    kernel = TreeKernel(trees)
    whole = kernel.scores(x)
    some = [0, 1, 7, 63, 640, 1_365, 1_366, 4_095, 4_096, 4_999]
    assert whole[:, some].T.tolist() == expected(trees, x[:, some])
    for n in (*range(1, 40), 255, 256, 257, 1_365, 1_366, 4_096, 4_097):
        assert np.array_equal(TreeKernel(trees).scores(x[:, :n]), whole[:, :n])
        assert np.array_equal(kernel.scores(x[:, :n]), whole[:, :n])
    assert kernel.scores(x[:, :0]).shape == (outputs[0], 0)


def test_an_order_of_columns_does_not_matter() -> None:
    """A matrix that is not contiguous, or the transpose of one, gives the same."""
    trees = ensemble([31] * 5, 1, vector=False)
    x = rows_for(600)
    wanted = tables_of(trees).scores(x)
    assert np.array_equal(tables_of(trees).scores(np.asfortranarray(x)), wanted)
    assert np.array_equal(tables_of(trees).scores(np.repeat(x, 2, axis=1)[:, ::2]), wanted)
    assert np.array_equal(Nodes.of(trees).scores(np.asfortranarray(x)), wanted)


def test_a_few_rows_build_no_tables() -> None:
    """Making a kernel builds nothing, the golden rows are walked; a batch or many rows build the tables, once."""
    trees = ensemble([31] * 5, 1, vector=False)
    kernel = TreeKernel(trees)
    assert kernel._nodes is None
    kernel.scores(rows_for(32))
    assert kernel._settled is None
    for _ in range(WORTH_TABLES - 32):
        kernel.scores(rows_for(1))
    settled = kernel._settled
    assert isinstance(settled, BitTables)
    kernel.scores(rows_for(1_000))
    assert kernel._settled is settled
    at_once = TreeKernel(trees)
    at_once.scores(rows_for(WORTH_TABLES))
    assert isinstance(at_once._settled, BitTables)


def test_large_trees_and_large_tables_are_walked(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than 64 leaves, or tables beyond the limit: the walk answers, and stays."""
    x = rows_for(300)
    large = TreeKernel(ensemble([65, 3], 1, vector=False))
    assert large.scores(x).shape == (1, 300)
    assert isinstance(large._settled, Nodes)
    trees = ensemble([31] * 20, 1, vector=False)
    monkeypatch.setattr("trainyard.model.tree_tables.MAX_BYTES", 10_000)
    kernel = TreeKernel(trees)
    assert kernel.scores(x).T.tolist() == expected(trees, x)
    assert isinstance(kernel._settled, Nodes)


def test_splits_by_many_categories_are_walked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes that share one large set make no tables: these would grow with nodes times codes."""
    trees = TreeEnsemble(
        aggregation="sum",
        output="identity",
        node=[4, 1, 1] * 60,
        feature=[0] * 60,
        threshold=[0.0] * 60,
        category_start=[0],
        category=np.arange(0, 20_000, 2),
        value=np.tile([[1.0], [0.0]], (60, 1)),
        tree_output=[0] * 60,
        base=[0.0],
    )
    kernel = TreeKernel(trees)
    x = np.array([[0.0, 1.0, 19_998.0, 20_000.0, math.nan]] * WIDTH)
    assert kernel.scores(np.tile(x, 40))[0, :5].tolist() == [60.0, 0.0, 60.0, 0.0, 0.0]
    assert isinstance(kernel._settled, Nodes)
    monkeypatch.setattr("trainyard.model.tree_tables._MOST_CATEGORIES", 10_000_000)
    assert isinstance(BitTables.build(Nodes.of(trees)), BitTables)
    monkeypatch.setattr("trainyard.model.tree_tables._MOST_LOOKED_AT", 100)
    assert BitTables.build(Nodes.of(trees)) is None


def test_threads_share_a_kernel() -> None:
    """Threads that start with the first rows and mix single rows with batches all get the same bits."""
    trees = ensemble([31] * 40, 3, vector=False)
    x = rows_for(700)
    wanted = tables_of(trees).scores(x)
    kernel = TreeKernel(trees)
    parts = [(begin, begin + size) for size in (1, 3, 40, 350) for begin in range(0, 700 - size, 1 + size // 2)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda part: kernel.scores(x[:, part[0] : part[1]]), parts))
    assert all(np.array_equal(a, wanted[:, b:e]) for a, (b, e) in zip(answers, parts, strict=True))


@given(
    cuts=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=60, unique=True),
    values=st.lists(st.floats(), max_size=60),
)
def test_intervals_are_those_of_searchsorted(cuts: list[float], values: list[float]) -> None:
    """For any cuts and any values, many or few: the number of cuts below, and the given number for NaN."""
    ordered = np.unique(cuts)
    beside = [math.nextafter(cut, towards) for cut in cuts for towards in (-math.inf, math.inf)]
    few = np.array([*values, *cuts, *beside, math.inf, -math.inf])
    wanted = np.where(np.isnan(few), 99, np.searchsorted(ordered, few))
    intervals = Intervals.of(ordered)
    for values_ in (few[:200], np.tile(few, 100)):
        out = np.empty(len(values_), dtype=np.intp)
        intervals.of_values(values_, 99, out)
        assert out.tolist() == np.resize(wanted, len(values_)).tolist()


@pytest.mark.parametrize("n_rows", [1, 2, 3, 8, 100])
@pytest.mark.parametrize("n_trees", [0, 1, 9, 127, 1_000])
def test_sums_are_in_order(n_trees: int, n_rows: int) -> None:
    """What numpy adds up is added one after the other, whatever the shape."""
    rng = np.random.default_rng(n_trees)
    values = rng.normal(size=(n_trees, n_rows)) * 10.0 ** rng.integers(-8, 9, (n_trees, n_rows))
    wanted = [0.0] * n_rows
    for tree in values.tolist():
        wanted = [total + value for total, value in zip(wanted, tree, strict=True)]
    assert in_order(values).tolist() == wanted
