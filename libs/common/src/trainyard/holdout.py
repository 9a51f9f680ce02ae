"""The hold-out: which rows of a snapshot a version is tested on, and which it may learn from. Pure.

One promise: no version of a model is ever judged on a row that any version of it was fitted on.

*Hash rule* (datasets without an event time). A row is a test row for ever, or never: when the hash of its *unit* (its
group, else its key, else its own number) is divisible by 5. Rows of one group, and corrections of one key, share a unit
and therefore a side.

*Time rule* (datasets with an event time). Rows are cut by ``ingest_seq``, the order in which they were committed, so
the test is on what came last, as in use. F is the highest sequence number that any version of the model has seen. The
first version is tested on the newest 20 % of its rows; each later one on the newest 40 % of the rows behind F (at least
``min_rows`` of them), and it learns from all rows up to that cut, which lies at or behind F. Every version's fit part
ends at or before what it has seen, so nothing behind F was ever fitted.

A *correction* (a newer row of a key that was known at or before the cut) that falls behind the cut is neither tested
on nor learnt from: an earlier version may have been fitted on the row that it replaces. The next version learns it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

BoolArray = npt.NDArray[np.bool_]

_TEST_IN = 5  # one unit in five is for testing
_FIRST_TEST_SHARE = 0.2
_NEW_TEST_SHARE = 0.4
_VALIDATION_SHARE = 0.15


@dataclass(frozen=True, eq=False)
class Split:
    """The parts of a snapshot as row masks of shape (rows,), and what the version's record says about them.

    ``validation`` (for choosing and early stopping) and ``train`` are disjoint and make up ``fit``; ``test`` is
    disjoint from ``fit``. Rows in none of them are corrections.
    """

    fit: BoolArray
    train: BoolArray
    validation: BoolArray
    test: BoolArray
    record: dict[str, Any]


def unit_hash(kind: str, cells: Sequence[str]) -> int:
    """Return the stable 64-bit hash of a unit: BLAKE2b (8 bytes, big-endian) over length-prefixed UTF-8 parts."""
    digest = hashlib.blake2b(digest_size=8)
    for part in (kind, *cells):
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(4, "big") + encoded)
    return int.from_bytes(digest.digest(), "big")


def split_by_time(
    seq: npt.NDArray[np.int64],
    first_seq: npt.NDArray[np.int64],
    *,
    upto_seq: int,
    known_seq: int,
    min_rows: int,
) -> Split:
    """Split by the time rule.

    Args:
        seq: numbers of the snapshot's rows, ascending.
        first_seq: for each row the first number ever stored under its key.
        upto_seq: W, where the snapshot ends.
        known_seq: F, the highest ``upto_seq`` of all versions of the model, 0 before the first.
        min_rows: test rows that the gate asks for.
    """
    new = np.flatnonzero(seq > known_seq)
    share = _NEW_TEST_SHARE if known_seq else _FIRST_TEST_SHARE
    wanted = round(len(new) * share)
    if known_seq:
        wanted = min(len(new), max(wanted, min_rows))
    cut = int(seq[len(seq) - wanted - 1]) if wanted < len(seq) else 0
    cut = max(cut, known_seq)
    fit = seq <= cut
    test = (seq > cut) & (first_seq > cut)
    fit_rows = np.flatnonzero(fit)
    validation = np.zeros(len(seq), dtype=np.bool_)
    validation[fit_rows[len(fit_rows) - round(len(fit_rows) * _VALIDATION_SHARE) :]] = True
    return _split("time", fit, validation, test, (cut, cut + 1, upto_seq))


def split_by_hash(unit: npt.NDArray[np.uint64], *, upto_seq: int, seed: int) -> Split:
    """Split by the hash rule; which units of the fit part validate depends on ``seed`` too.

    Args:
        unit: hash of each row's unit, from :func:`unit_hash`.
        upto_seq: W, where the snapshot ends.
        seed: the training request's.
    """
    test = unit % np.uint64(_TEST_IN) == 0
    validation = ~test & (mixed(unit, seed) % np.uint64(100) < np.uint64(round(100 * _VALIDATION_SHARE)))
    return _split("hash", ~test, validation, test, (upto_seq, 1, upto_seq))


def _split(rule: str, fit: BoolArray, validation: BoolArray, test: BoolArray, span: tuple[int, int, int]) -> Split:
    record = {
        "rule": rule,
        "fit_upto_seq": span[0],
        "test_from_seq": span[1],
        "test_upto_seq": span[2],
        "fit_rows": int(fit.sum()),
        "test_rows": int(test.sum()),
    }
    return Split(fit, fit & ~validation, validation, test, record)


def mixed(unit: npt.NDArray[np.uint64], seed: int) -> npt.NDArray[np.uint64]:
    """Return another hash of each unit for each seed (the finaliser of SplitMix64)."""
    with np.errstate(over="ignore"):
        z = unit + np.uint64((seed + 1) * 0x9E3779B97F4A7C15 % 2**64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(z ^ (z >> np.uint64(31)))
