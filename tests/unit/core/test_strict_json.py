"""What the JSON reader takes and refuses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainyard import strict_json
from trainyard.errors import ServiceError

_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(alphabet=st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=20,
).filter(lambda value: _depth(value) <= strict_json.MAX_DEPTH)


def _depth(value):
    if isinstance(value, list):
        return 1 + max((_depth(item) for item in value), default=0)
    if isinstance(value, dict):
        return 1 + max((_depth(item) for item in value.values()), default=0)
    return 0


@given(_VALUES)
def test_what_is_written_is_read_back_equal(value):
    """dumps and loads are inverse on every value that JSON can carry."""
    assert strict_json.loads(strict_json.dumps(value)) == value


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "Infinity"),
        (b'{"a": 1e999}', "too large"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b'{"a": 9223372036854775808}', "64 bits"),
        (b"1" * 5000, "64 bits"),
        (b"[0.0001234567890123456789, 9223372036854775808]", "64 bits"),
        (b"[" + b"9" * 400 + b".5]", "too large"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b'"\xff"', "UTF-8"),
        (b"[" * 200_000, "nested"),
        (b'{"a": ' * 17 + b"1" + b"}" * 17, "nested"),
        (b"{'a': 1}", "line 1"),
        (b'{"a": 1} x', "Extra data"),
        (b'"\x00"', "control"),
    ],
)
def test_what_is_not_json_is_refused_by_name(body, said):
    """Every way of being wrong gives bad_json and words that say which."""
    with pytest.raises(ServiceError) as caught:
        strict_json.loads(body)
    assert caught.value.code == "bad_json"
    assert said in caught.value.message


def test_brackets_inside_strings_are_not_nesting():
    """A text full of brackets is still one level."""
    assert strict_json.loads(b'["' + b"[" * 500 + b'"]') == ["[" * 500]


@pytest.mark.parametrize("body", [b"", b"  \n"])
def test_an_empty_body_has_a_code_of_its_own(body):
    """Nothing at all is not the same as something broken."""
    with pytest.raises(ServiceError) as caught:
        strict_json.loads(body)
    assert caught.value.code == "empty_body"
