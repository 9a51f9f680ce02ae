"""The shortcuts of strict_json change nothing but the time: they agree with the plain way on every input."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trainyard import strict_json
from trainyard.errors import ServiceError

NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,5})?", fullmatch=True)


def plain_depth(data: bytes) -> int:
    """Return the deepest nesting outside of strings, one byte at a time."""
    depth = deepest = 0
    for bracket in strict_json._STRING.sub(b"", data):
        depth += (bracket in b"[{") - (bracket in b"]}")
        deepest = max(deepest, depth)
    return deepest


def outcome(decoder: json.JSONDecoder, text: str) -> Any:
    """Return what a decoder makes of a text, refusals as text."""
    try:
        return repr(decoder.decode(text))
    except (ServiceError, json.JSONDecodeError) as e:
        return str(e)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(list('[]{}"\\a:,')), max_size=80).map("".join))
@example('["[","]"' + ',["["' * 17)
@example('"' * 3 + "[" * 17)
@example('{"' * 20)
@example('[[[[[["[')
@example('[[[[[["[""')
def test_depth_is_counted_alike(text: str) -> None:
    """Whatever the quotes and backslashes, the limit holds for exactly the same documents."""
    padded = ("[" * 10 + text).encode()
    assert strict_json.too_deep(padded) == (plain_depth(padded) > strict_json.MAX_DEPTH)


@settings(max_examples=150, deadline=None)
@given(st.lists(NUMBERS, min_size=1, max_size=3))
@example(["999999999999999999e99"])
@example(["1E400"])
@example(["1e+400"])
@example(["9223372036854775808"])
def test_numbers_are_read_alike(numbers: list[str]) -> None:
    """The fast decoder is chosen only where it gives the strict one's values and refusals."""
    text = "[" + ",".join(numbers) + "]"
    chosen = strict_json._decoder_for(text.encode())
    assert outcome(chosen, text) == outcome(strict_json._DECODER, text)


@pytest.mark.parametrize("text", ["1", "0.1234567890123456", "1e-300", "123456789012345678", "1e99"])
def test_usual_numbers_take_the_short_way(text: str) -> None:
    """Numbers as data has them do not pay for the odd ones."""
    assert strict_json._decoder_for(text.encode()) is strict_json._PLAIN_DECODER
