"""The quick reader of JSON against the strict one: the same values, the same refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trainyard import strict_json
from trainyard.errors import ServiceError
from trainyard_predictor.edges import quick_json

NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.floats(allow_nan=True, allow_infinity=True).map(str),
    st.sampled_from(["-0", "1E5", "1e-400", "1e400", "01", "1.", "0.1000000000000000055511151231257827", "9" * 500]),
    st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
)
STRINGS = st.one_of(
    st.text(max_size=8).map(json.dumps),
    st.text(max_size=8).map(lambda text: json.dumps(text, ensure_ascii=False)),
    st.sampled_from(['"{"', '"a:b"', '"["', '":"', '"\\u003a"', '"\\ud800"', '"\\""', '"a":', '"\t"', '""', '"rows"']),
)
SCALARS = st.one_of(
    NUMBERS, STRINGS, st.sampled_from(["null", "true", "false", "NaN", "[]", "{}", "[1]", '{"a":1}', ""])
)
SPACE = st.sampled_from(["", "", "", " ", "\n"])


@st.composite
def objects(draw: st.DrawFn, values: st.SearchStrategy[str] = SCALARS) -> str:
    """Return the text of an object whose keys may stand twice."""
    keys = st.one_of(st.sampled_from(['"a"', '"b"', '"\\u0061"', '"rows"', '"explain"']), STRINGS)
    pairs = draw(st.lists(st.tuples(keys, SPACE, SPACE, values), max_size=4))
    return "{" + ",".join(f"{key}{before}:{after}{value}" for key, before, after, value in pairs) + "}"


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Return something like a request's body."""
    rows = draw(st.lists(st.one_of(objects(), objects(), objects(), SCALARS), max_size=4))
    more = draw(st.sampled_from(["", "", ',"explain":true', ',"rows":[]', ',"x":[1]', ',"x":":"']))
    text = '{"rows":[' + ",".join(rows) + "]" + more + draw(st.sampled_from(["}", "}", "}", "} ", "}}", ""]))
    return text.encode("utf-8", "surrogatepass")


def read(reader: Any, data: bytes) -> Any:
    """Return what a reader makes of a text, types and signs of zeros included."""
    try:
        return repr(reader.loads(data))
    except ServiceError as e:
        return (e.code, e.message)


@given(st.one_of(bodies(), objects().map(str.encode), st.binary(max_size=30)))
@example(b'{"rows":[{"a":1,"a":2}]}')
@example(b'{"rows":[{"a":1,"\\u0061":2}]}')
@example(b'{"rows":[{"a":":","b" :1,"b":2}]}')
@example(b'{"rows":[{"a":18446744073709551616}]}')
@example(b'{"rows":[{"a":9223372036854775808}]}')
@example(b'{"rows":[{"a":0.0001234567890123456789,"b":-9223372036854775809}]}')
@example(b'{"rows":[],"explain":9223372036854775808}')
@example(b'{"rows":[{"a":[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]}]}')
@example(b'{"rows":[{"a":1}],"rows":[{"a":2}]}')
@example(b'\xef\xbb\xbf{"rows":[]}')
@example(b'{"rows":[{"a":"\xed\xa0\x80"}]}')
def test_both_readers_agree(data: bytes) -> None:
    """Whatever the text, the quick reader gives or refuses what the strict one does, in the same words."""
    assert read(quick_json, data) == read(strict_json, data)


@given(bodies(), st.integers(0, 7))
@example(b'{"rows":[{"a":18446744073709551616}]}', 0)
def test_both_readers_agree_on_long_texts(data: bytes, shift: int) -> None:
    """Many bytes are counted in another way: wherever what is odd may stand, it is found."""
    many = b'{"rows":[' + b'{"a":0.5},' * 1_000 + b" " * shift
    long = data.replace(b'{"rows":[', many, 1)
    assert read(quick_json, long) == read(strict_json, long)


@pytest.mark.parametrize(
    "rows",
    [
        [{"a": 1.5, "b": None, "c": True}] * 3,
        [{"time": "2024-05-01T12:00:00Z", "text": "{[:", "a:b": 1}],
        [{"a": 10**17}],
        [{"a": 0.00012345678901234567, "b": 7, "c": 12345678.000000001}],
        [{"a": 0.00012345678901234567, "b": 7, "c": "a:b"}] * 1_000,
    ],
)
def test_what_is_plain_is_read_once(rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    """The strict reader is not asked about rows as they come."""
    monkeypatch.setattr(strict_json, "loads", None)
    body = {"rows": rows, "explain": False}
    assert quick_json.loads(json.dumps(body).encode()) == body
    assert quick_json.loads(json.dumps(body, separators=(",", ":")).encode()) == body


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_what_is_written_means_the_same(value: Any) -> None:
    """What the quick way writes is read as what the strict way writes: the very same numbers and texts."""
    assert repr(json.loads(quick_json.dumps(value))) == repr(json.loads(strict_json.dumps(value)))
