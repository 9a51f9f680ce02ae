"""How the rows are cut to choose with: no unit on both sides, each class in its share, time only forward."""

from __future__ import annotations

import numpy as np
import pytest

from trainyard.holdout import unit_hash
from trainyard_trainer.learning import folds


def units(groups: np.ndarray) -> np.ndarray:
    """Return the hash of each row's group."""
    return np.array([unit_hash("group", [str(g)]) for g in groups], dtype=np.uint64)


def test_every_row_is_measured_once_and_classes_keep_their_share() -> None:
    """Five folds of rows of their own: disjoint, complete, of equal size, and a rare class is in each of them."""
    classes = np.array([0] * 900 + [1] * 90 + [2] * 10)
    cuts = folds.by_unit(units(np.arange(1_000)), classes, seed=3, count=5)
    assert sorted(np.concatenate([cut.validation for cut in cuts]).tolist()) == list(range(1_000))
    for cut in cuts:
        assert not np.intersect1d(cut.train, cut.validation).size
        assert len(cut.train) + len(cut.validation) == 1_000
        assert np.bincount(classes[cut.validation]).tolist() == [180, 18, 2]


def test_a_group_is_on_one_side() -> None:
    """Rows of one group are never both learnt from and measured on, and large groups are spread."""
    rng = np.random.default_rng(0)
    groups = np.concatenate([np.repeat([900, 901, 902], 50), rng.integers(0, 60, 350)])
    classes = (groups % 2).astype(np.int64)
    cuts = folds.by_unit(units(groups), classes, seed=0, count=3)
    for cut in cuts:
        assert not np.intersect1d(groups[cut.train], groups[cut.validation]).size
        assert len(np.intersect1d(groups[cut.validation], [900, 901, 902])) <= 2
        assert 0.2 < classes[cut.validation].mean() < 0.8


def test_the_seed_decides() -> None:
    """The same seed gives the same folds, another one others; values need no classes."""
    unit = units(np.arange(100))
    first, again, other = (folds.by_unit(unit, None, seed, 5)[0].validation.tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_time_goes_forward() -> None:
    """Each cut is measured on what comes right behind what it learnt from, and the last ends with the rows."""
    cuts = folds.by_time(1_000)
    assert [len(cut.train) for cut in cuts] == [700, 800, 900]
    assert [cut.validation[[0, -1]].tolist() for cut in cuts] == [[700, 799], [800, 899], [900, 999]]


@pytest.mark.parametrize(
    ("rows", "columns", "outputs", "budget", "count"),
    [(500, 10, 1, 60.0, 5), (15_000, 20, 1, 60.0, 3), (15_000, 20, 3, 60.0, 1), (20_001, 1, 1, 3_600.0, 1)],
)
def test_how_often_depends_on_size_and_budget(rows: int, columns: int, outputs: int, budget: float, count: int) -> None:
    """Small tables are cut five times, larger ones three times and once."""
    assert folds.how_many(rows, columns, outputs, budget) == count


def test_one_cut_where_more_would_lose_a_class() -> None:
    """A class that some part to learn from would lack, or too few rows in time, leave the split's own validation."""
    single = np.arange(300) % 7 == 0
    groups = np.where(np.arange(300) < 10, 999, np.arange(300))
    classes = (groups == 999).astype(np.int64)  # all of class 1 is one group
    given = {"n_classes": 2, "seed": 0, "count": 5}
    (cut,) = folds.cut(single, classes, unit=units(groups), **given)
    assert cut.validation.tolist() == np.flatnonzero(single).tolist()
    late = (np.arange(300) > 250).astype(np.int64)
    assert len(folds.cut(single, late, unit=None, **given)) == 1
    assert len(folds.cut(single, 1 - late, unit=units(np.arange(300)), **given)) == 5
    assert len(folds.cut(single, None, unit=None, n_classes=0, seed=0, count=5)) == 3
    assert len(folds.cut(single[:150], None, unit=None, n_classes=0, seed=0, count=5)) == 1
