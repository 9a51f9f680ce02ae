"""What a key of a policy may be: a test of its JSON value, and the words that an error expects it with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trainyard.durations import seconds_of
from trainyard.errors import Problem

#: Tells whether a value fits, and says what would.
Field = tuple[Callable[[Any], bool], str]
#: Above this a limit only keeps numbers sane; an error does not speak of it.
_LARGE = 10**12


def problems_of(where: str, raw: object, keys: Mapping[str, Field], *, named: Sequence[str] = ()) -> list[Problem]:
    """Return everything that is wrong with an object given as JSON: unknown keys first, then wrong values.

    Args:
        where: its place, for the words.
        raw: anything.
        keys: what may stand in it.
        named: the keys that an error offers, all of them by default.
    """
    if not isinstance(raw, Mapping):
        return [wrong(where, "an object", raw)]
    offered = f"one of the keys {', '.join(named or keys)}"
    unknown = [Problem(None, f"{where}.{str(key)[:80]}", offered, "an unknown key") for key in raw if key not in keys]
    bad = [(key, words) for key, (fits, words) in keys.items() if key in raw and not fits(raw[key])]
    return unknown + [wrong(f"{where}.{key}", words, raw[key]) for key, words in bad]


def wrong(where: str, expected: str, got: object) -> Problem:
    """Return the problem of one value."""
    return Problem(None, where, expected, repr(got)[:120])


def or_null(field: Field) -> Field:
    """Return the field that may be null as well."""
    fits, words = field
    return lambda value: value is None or fits(value), f"{words}, or null"


def flag() -> Field:
    """Return a truth value."""
    return lambda value: isinstance(value, bool), "true or false"


def whole(least: int, most: int) -> Field:
    """Return a whole number with its bounds."""

    def fits(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most

    return fits, f"a whole number from {least}" + (f" to {most}" if most < _LARGE else "")


def number(least: float, most: float) -> Field:
    """Return a number with its bounds; infinities and NaN are in none."""

    def fits(value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most

    return fits, f"a number from {least:.10g} to {most:.10g}"


def length(least: float, most: float, most_words: str) -> Field:
    """Return a length of time, in seconds or as a text."""

    def fits(value: Any) -> bool:
        seconds = seconds_of(value)
        return seconds is not None and least <= seconds <= most

    from_words = f"{least:g} s" if least else "0"
    return fits, f'seconds or a text such as "90s", "15m", "24h" or "7d", from {from_words} to {most_words}'


def one_of(names: Sequence[str]) -> Field:
    """Return a name from a closed list."""
    return lambda value: isinstance(value, str) and value in names, f"one of {', '.join(names)}"


def list_of(fits_one: Callable[[str], bool], words: str, *, least: int = 0, most: int | None = None) -> Field:
    """Return a list of texts, each once."""

    def fits(value: Any) -> bool:
        return (
            isinstance(value, list | tuple)
            and least <= len(value)
            and (most is None or len(value) <= most)
            and all(isinstance(one, str) and fits_one(one) for one in value)
            and len(set(value)) == len(value)
        )

    return fits, words
