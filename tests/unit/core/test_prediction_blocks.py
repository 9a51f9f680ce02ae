"""Blocks of the prediction log are records by the time anybody reads them."""

from __future__ import annotations

import math
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainyard.prediction_blocks import pack_blocks, records_of, rows_in

COMMON = {
    "model": "flights", "version": 3, "key_id": "k", "trace_id": None, "latency_us": 12,
    "predicted_at": "2026-11-30T20:00:00.000000+00:00",
}  # fmt: skip
FLOATS = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))
JSON = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.text(max_size=30))


@st.composite
def answers(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of a column of floats and one of anything, and outputs with or without probabilities."""
    count = draw(st.integers(1, 40))
    rows = [{"x": draw(FLOATS), "y": draw(JSON)} for _ in range(count)]
    outputs: list[dict[str, Any]] = [{"prediction": draw(JSON)} for _ in range(count)]
    if draw(st.booleans()):
        for one in outputs:
            one["probabilities"] = {"no": draw(st.floats(0, 1)), "yes": draw(st.floats(0, 1))}
    return rows, outputs


def packed(rows: list[dict[str, Any]], outputs: list[dict[str, Any]], most_bytes: int) -> list[bytes]:
    """Pack rows as a predictor does."""
    output: dict[str, Any] = {"prediction": [one["prediction"] for one in outputs]}
    if "probabilities" in outputs[0]:
        output["probabilities"] = {
            label: [one["probabilities"][label] for one in outputs] for label in outputs[0]["probabilities"]
        }
    inputs = {"x": np.array([row["x"] for row in rows], dtype=np.float64), "y": [row["y"] for row in rows]}
    return pack_blocks(COMMON, ids(len(rows)), inputs, output, most_bytes=most_bytes)


def ids(count: int) -> list[str]:
    """Return as many prediction ids."""
    return [f"pr_{number:032x}" for number in range(count)]


@given(answers(), st.integers(200, 2_000))
def test_records_are_those_that_went_in(answer: tuple[list[Any], list[Any]], most_bytes: int) -> None:
    """In their order, whatever the number of blocks; each block says how many it holds, and is short enough."""
    rows, outputs = answer
    blocks = packed(rows, outputs, most_bytes)
    assert all(len(block) <= most_bytes or rows_in(block) == 1 for block in blocks)
    assert sum(map(rows_in, blocks)) == len(rows)
    found = [record for block in blocks for record in records_of(msgpack.unpackb(block))]
    assert found == [
        {"id": ident, **COMMON, "inputs": row, "output": output}
        for ident, row, output in zip(ids(len(rows)), rows, outputs, strict=True)
    ]


def test_a_record_is_one_row() -> None:
    """And anything that is no block is handed on for whoever checks records."""
    record = {"id": "pr_0", "model": "flights"}
    assert rows_in(msgpack.packb(record)) == 1
    for entry in (record, [], None, "block", 7):
        assert list(records_of(entry)) == [entry]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("block", 0), ("block", 3), ("block", True), ("block", "2"), ("ids", b"x" * 31), ("ids", ["a", "b"]),
        ("inputs", []), ("inputs", {"x": b"x" * 15}), ("inputs", {"x": [1.0]}), ("inputs", {"x": None}),
        ("output", {"prediction": [1, 2], "more": 1}), ("output", {}), ("output", {"prediction": [1]}),
        ("output", {"prediction": [1, 2], "probabilities": [0.5, 0.5]}),
        ("output", {"prediction": [1, 2], "probabilities": {"no": [0.5]}}),
    ],
)  # fmt: skip
def test_a_broken_block_is_refused(field: str, value: Any) -> None:
    """Before any of its records is read."""
    (block,) = packed([{"x": 1.0, "y": 1}] * 2, [{"prediction": 1}] * 2, 10_000)
    with pytest.raises(ValueError, match="of a block"):
        list(records_of({**msgpack.unpackb(block), field: value}))


def test_a_field_more_or_less_is_refused() -> None:
    """A block of another release is not guessed at."""
    (block,) = packed([{"x": math.pi, "y": "z"}], [{"prediction": 1}], 10_000)
    good = msgpack.unpackb(block)
    for bad in ({**good, "new": 1}, {name: value for name, value in good.items() if name != "trace_id"}):
        with pytest.raises(ValueError, match="block"):
            list(records_of(bad))
