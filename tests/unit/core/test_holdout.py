"""The hold-out: no version is ever judged on a row that any version was fitted on."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from trainyard.holdout import split_by_hash, split_by_time, unit_hash


def history(draw_seed: int, versions: int, keys: int) -> list[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
    """Return (W, seq, first_seq, key) of a growing dataset with corrections, at the times of its versions."""
    rng = np.random.default_rng(draw_seed)
    ends = np.sort(rng.choice(np.arange(50, 2_000), size=versions, replace=False))
    key_of = rng.integers(0, keys, int(ends[-1]))
    found = []
    for end in ends.tolist():
        seen = key_of[:end]
        number = np.arange(1, end + 1)
        first = {}
        last = {}
        for seq, key in zip(number.tolist(), seen.tolist(), strict=True):
            first.setdefault(key, seq)
            last[key] = seq
        seq = np.array(sorted(last.values()))
        by_seq = {value: key for key, value in last.items()}
        key = np.array([by_seq[s] for s in seq.tolist()])
        found.append((end, seq, np.array([first[k] for k in key.tolist()]), key))
    return found


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000), versions=st.integers(1, 6), keys=st.integers(5, 3_000), min_rows=st.integers(1, 300)
)
def test_time_rule_never_tests_what_was_fitted(seed: int, versions: int, keys: int, min_rows: int) -> None:
    """Over any history of versions, with corrections: test rows, by number and by key, are new to every version."""
    fitted_rows: set[int] = set()
    fitted_keys: set[int] = set()
    known = 0
    for end, seq, first, key in history(seed, versions, keys):
        split = split_by_time(seq, first, upto_seq=end, known_seq=known, min_rows=min_rows)
        fitted_rows |= set(seq[split.fit].tolist())
        fitted_keys |= set(key[split.fit].tolist())
        assert not fitted_rows & set(seq[split.test].tolist())
        assert not fitted_keys & set(key[split.test].tolist())
        assert (seq[split.fit] <= split.record["fit_upto_seq"]).all()
        assert split.record["fit_upto_seq"] >= known
        assert (seq[split.test] >= split.record["test_from_seq"]).all()
        known = max(known, end)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1_000), keys=st.integers(5, 500))
def test_hash_rule_keeps_a_unit_on_one_side(seed: int, keys: int) -> None:
    """Whatever grows or is corrected, a unit that was ever fitted is never tested on."""
    fitted: set[int] = set()
    for end, _, _, key in history(seed, 4, keys):
        unit = np.array([unit_hash("key", [str(k)]) for k in key.tolist()], dtype=np.uint64)
        split = split_by_hash(unit, upto_seq=end, seed=seed)
        fitted |= set(unit[split.fit].tolist())
        assert not fitted & set(unit[split.test].tolist())


def test_parts_are_disjoint_and_counted() -> None:
    """Train and validation make up fit, test is apart, and the record counts them."""
    unit = np.array([unit_hash("row", [str(i)]) for i in range(10_000)], dtype=np.uint64)
    seq = np.arange(1, 10_001)
    for split in (
        split_by_hash(unit, upto_seq=10_000, seed=1),
        split_by_time(seq, seq, upto_seq=10_000, known_seq=0, min_rows=200),
        split_by_time(seq, seq, upto_seq=10_000, known_seq=6_000, min_rows=200),
    ):
        assert not (split.train & split.validation).any()
        assert ((split.train | split.validation) == split.fit).all()
        assert not (split.fit & split.test).any()
        assert split.record["fit_rows"] == split.fit.sum()
        assert split.record["test_rows"] == split.test.sum()
        assert 0.12 < split.validation.sum() / split.fit.sum() < 0.18


def test_shares_of_the_time_rule() -> None:
    """The first version is tested on the newest fifth; a later one on two fifths of what is new, at least min_rows."""
    seq = np.arange(1, 1_001)
    first = split_by_time(seq, seq, upto_seq=1_000, known_seq=0, min_rows=5)
    assert (first.record["fit_upto_seq"], first.record["test_rows"]) == (800, 200)
    later = split_by_time(seq, seq, upto_seq=1_000, known_seq=500, min_rows=5)
    assert (later.record["fit_upto_seq"], later.record["test_rows"]) == (800, 200)
    few = split_by_time(seq, seq, upto_seq=1_000, known_seq=900, min_rows=80)
    assert (few.record["fit_upto_seq"], few.record["test_rows"]) == (920, 80)
    fewer = split_by_time(seq, seq, upto_seq=1_000, known_seq=950, min_rows=80)
    assert (fewer.record["fit_upto_seq"], fewer.record["test_rows"]) == (950, 50)
    none = split_by_time(seq, seq, upto_seq=1_000, known_seq=1_000, min_rows=80)
    assert (none.record["fit_upto_seq"], none.record["test_rows"]) == (1_000, 0)


def test_validation_is_the_newest_of_the_fit_part() -> None:
    """By the time rule a candidate is chosen on the rows right before the cut."""
    seq = np.arange(1, 1_001)
    split = split_by_time(seq, seq, upto_seq=1_000, known_seq=0, min_rows=5)
    assert seq[split.validation].tolist() == list(range(681, 801))


def test_corrections_behind_the_cut_are_in_no_part() -> None:
    """A new row of a key that is known before the cut is neither learnt from nor tested on."""
    seq = np.arange(1, 101)
    first = seq.copy()
    first[95] = 3
    split = split_by_time(seq, first, upto_seq=100, known_seq=0, min_rows=1)
    assert not split.test[95]
    assert not split.fit[95]
    assert split.record["test_rows"] == 19


def test_the_hash_is_stable() -> None:
    """Membership is for ever: these values must never change, nor may two kinds or paddings collide."""
    assert unit_hash("key", ["42"]) == 9092286062459646331
    assert unit_hash("row", ["1"]) == 10607388993775429647
    assert unit_hash("key", ["ab", "c"]) != unit_hash("key", ["a", "bc"])
    assert unit_hash("group", ["42"]) != unit_hash("key", ["42"])


def test_the_seed_moves_validation_only() -> None:
    """Another seed chooses other validation rows and the same test rows."""
    unit = np.array([unit_hash("row", [str(i)]) for i in range(2_000)], dtype=np.uint64)
    one, two = (split_by_hash(unit, upto_seq=2_000, seed=seed) for seed in (0, 1))
    assert (one.test == two.test).all()
    assert (one.validation != two.validation).any()


def test_nothing_at_all() -> None:
    """An empty snapshot splits into empty parts."""
    nothing = np.empty(0, dtype=np.int64)
    assert split_by_time(nothing, nothing, upto_seq=0, known_seq=0, min_rows=1).record["test_rows"] == 0
    assert split_by_hash(nothing.astype(np.uint64), upto_seq=0, seed=0).record["fit_rows"] == 0
