"""How plain values become plain objects and come back: scalars, JSON, and lists and maps of whatever there is.

Every converter has ``pack(value) -> object`` and ``unpack(object, where) -> value``; ``unpack`` raises
``ArtifactError`` with the place (``where``) for anything that is not exactly of its form. What models are made of is in
:mod:`trainyard.model.records`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence

from trainyard.errors import ArtifactError
from trainyard.frozen import dataclass
from trainyard.protocol import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    #: A place in a body: the name of the whole, or a place and the name or number of something in it.
    Where = str | tuple[Any, str | int]

MAX_INT = 2**63 - 1


def place(where: Where) -> str:
    """Return a place in words, ``model.golden.rows[3]``: only errors need them, and making them takes its time."""
    if isinstance(where, str):
        return where
    outer, name = where
    return place(outer) + (f".{name}" if isinstance(name, str) else f"[{name}]")


class Converter(Protocol):
    """Both directions of one kind of value."""

    def pack(self, value: Any) -> Any:
        """Return the plain object for ``value``."""
        ...

    def unpack(self, raw: Any, where: Where) -> Any:
        """Return the value of a plain object that stands at ``where``."""
        ...

    def many(self, raws: Collection[Any]) -> Collection[Any] | None:
        """Return the values of plain objects, where one look at all tells that each is of the form.

        ``raws`` themselves are returned where they are the values. None says nothing: each has to be looked at, and
        ``unpack`` tells what is wrong with which.
        """
        return None if raws else raws


def plain(value: Any) -> Any:
    """Return a scalar of numpy as Python's own; anything else as it is."""
    return value.item() if type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0 else value


def _fit_in_64_bits(integers: Iterable[int]) -> bool:
    return all(-MAX_INT - 1 <= n <= MAX_INT for n in integers)


@dataclass(frozen=True)
class Scalar(Converter):
    """A str, int, float or bool; never one for the other."""

    type: type

    def pack(self, value: Any) -> Any:
        """Return the value, in its own Python type."""
        if self.type is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        return self.unpack(plain(value), "value")

    def unpack(self, raw: Any, where: Where) -> Any:
        """Return the value."""
        if type(raw) is not self.type:
            raise ArtifactError("wrong_type", f"{place(where)} is not a {self.type.__name__}")
        if type(raw) is float and not math.isfinite(raw):
            raise ArtifactError("not_finite", f"{place(where)} is not finite")
        if type(raw) is int and not _fit_in_64_bits((raw,)):
            raise ArtifactError("wrong_type", f"{place(where)} is not a 64-bit integer")
        return raw

    def many(self, raws: Collection[Any]) -> Collection[Any] | None:
        """Return the values if all are of the type and, as numbers, within bounds."""
        good = set(map(type, raws)) == {self.type}
        if good and self.type is float:
            good = all(map(math.isfinite, raws))
        elif good and self.type is int:
            good = _fit_in_64_bits(raws)
        return raws if good else None


_PLAIN = {type(None), bool, int, float, str}
STR, INT, FLOAT, BOOL = Scalar(str), Scalar(int), Scalar(float), Scalar(bool)


@dataclass(frozen=True)
class Label(Converter):
    """A class label: str, int or bool."""

    def pack(self, value: Any) -> Any:
        """Return the label."""
        return self.unpack(plain(value), "class")

    def unpack(self, raw: Any, where: Where) -> Any:
        """Return the label."""
        if type(raw) is int:
            return INT.unpack(raw, where)
        if type(raw) in (str, bool):
            return raw
        raise ArtifactError("wrong_type", f"{place(where)} is not a str, int or bool")


@dataclass(frozen=True)
class Optional(Converter):
    """The value or null."""

    inner: Converter

    def pack(self, value: Any) -> Any:
        """Return null or the packed value."""
        return None if value is None else self.inner.pack(value)

    def unpack(self, raw: Any, where: Where) -> Any:
        """Return None or the value."""
        return None if raw is None else self.inner.unpack(raw, where)

    def many(self, raws: Collection[Any]) -> Collection[Any] | None:
        """Return the values, if those that are there are of the form."""
        there = [raw for raw in raws if raw is not None]
        values = self.inner.many(there) if there else raws
        if values is None or len(there) in (0, len(raws)):
            return values
        each = iter(values)
        return [None if raw is None else next(each) for raw in raws]


@dataclass(frozen=True)
class ListOf(Converter):
    """A list of equal things; comes back as a tuple."""

    inner: Converter

    def pack(self, value: Any) -> Any:
        """Return the list of packed items."""
        if not isinstance(value, list | tuple):
            raise ArtifactError("wrong_type", f"{type(value).__name__} is not a list")
        return [self.inner.pack(v) for v in value]

    def unpack(self, raw: Any, where: Where) -> Any:
        """Return the tuple of items."""
        if type(raw) is not list:
            raise ArtifactError("wrong_type", f"{place(where)} is not a list")
        values = self.inner.many(raw)
        return tuple([self.inner.unpack(v, (where, i)) for i, v in enumerate(raw)] if values is None else values)


@dataclass(frozen=True)
class MapOf(Converter):
    """A map from names to equal things; the names are sorted by code point in the file."""

    inner: Converter

    def pack(self, value: Any) -> Any:
        """Return the map of packed values, sorted."""
        if not isinstance(value, Mapping):
            raise ArtifactError("wrong_type", f"{type(value).__name__} is not a map")
        return {name: self.inner.pack(value[name]) for name in sorted(map(STR.pack, value))}

    def unpack(self, raw: Any, where: Where) -> Any:
        """Return the dict of values."""
        if type(raw) is not dict:
            raise ArtifactError("wrong_type", f"{place(where)} is not a map")
        if list(raw) != sorted(raw):
            raise ArtifactError("not_canonical", f"the names in {place(where)} are not sorted")
        given = raw.values()
        values = self.inner.many(given)
        if values is given:
            return raw
        return {name: self.inner.unpack(v, (where, name)) for name, v in raw.items()}


@dataclass(frozen=True)
class Json(Converter):
    """Anything JSON can say: null, bool, int, finite float, str, lists, string-keyed maps."""

    def pack(self, value: Any) -> Any:
        """Return the value with sorted maps."""
        if isinstance(value, Mapping):
            return MapOf(self).pack(value)
        if isinstance(value, Sequence) and not isinstance(value, str | bytes):
            return ListOf(self).pack(value)
        return self.unpack(plain(value), "value")

    def unpack(self, raw: Any, where: Where) -> Any:
        """Return the value; lists stay lists."""
        if raw is None or type(raw) in (bool, str):
            return raw
        if type(raw) is int:
            return INT.unpack(raw, where)
        if type(raw) is float:
            return raw if math.isfinite(raw) else FLOAT.unpack(raw, where)
        if type(raw) is list:
            return list(ListOf(self).unpack(raw, where))
        if type(raw) is dict:
            return MapOf(self).unpack(raw, where)
        raise ArtifactError("wrong_type", f"{place(where)} is not a JSON value")

    def many(self, raws: Collection[Any]) -> Collection[Any] | None:
        """Return the values if none is a list or map and the numbers are within bounds."""
        types = set(map(type, raws))
        if types == {float}:
            return raws if all(map(math.isfinite, raws)) else None
        good = (
            types <= _PLAIN
            and (float not in types or all(math.isfinite(v) for v in raws if type(v) is float))
            and (int not in types or _fit_in_64_bits(v for v in raws if type(v) is int))
        )
        return raws if good else None
