"""How typed values become plain objects and come back: small converters that codec.py combines into the format.

Every converter has ``pack(value) -> object`` and ``unpack(object, where) -> value``; ``unpack`` raises
``ArtifactError`` with the place (``where``) for anything that is not exactly of its form.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from trainyard.errors import ArtifactError, ServiceError
from trainyard.frozen import dataclass, field
from trainyard.model.arrays import DTYPES, Array
from trainyard.schema import Schema

MAX_INT = 2**63 - 1
_MAX_AXIS = 2**31 - 1


#: A place in a body: the name of the whole, or a place and the name or number of something in it.
Where = str | tuple[Any, str | int]


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


def plain(value: Any) -> Any:
    """Return a scalar of numpy as Python's own; anything else as it is."""
    return value.item() if type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0 else value


@dataclass(frozen=True)
class Scalar:
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
        if isinstance(raw, float) and not math.isfinite(raw):
            raise ArtifactError("not_finite", f"{place(where)} is not finite")
        if isinstance(raw, int) and not -MAX_INT - 1 <= raw <= MAX_INT:
            raise ArtifactError("wrong_type", f"{place(where)} is not a 64-bit integer")
        return raw


STR, INT, FLOAT, BOOL = Scalar(str), Scalar(int), Scalar(float), Scalar(bool)


@dataclass(frozen=True)
class Label:
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
class Optional:
    """The value or null."""

    inner: Converter

    def pack(self, value: Any) -> Any:
        """Return null or the packed value."""
        return None if value is None else self.inner.pack(value)

    def unpack(self, raw: Any, where: Where) -> Any:
        """Return None or the value."""
        return None if raw is None else self.inner.unpack(raw, where)


@dataclass(frozen=True)
class ListOf:
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
        return tuple(self.inner.unpack(v, (where, i)) for i, v in enumerate(raw))


@dataclass(frozen=True)
class MapOf:
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
        return {name: self.inner.unpack(v, (where, name)) for name, v in raw.items()}


@dataclass(frozen=True)
class Json:
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


@dataclass(frozen=True)
class SchemaForm:
    """A schema in its JSON form, each column's fields in fixed order."""

    def pack(self, value: Any) -> Any:
        """Return the JSON form."""
        if not isinstance(value, Schema):
            raise ArtifactError("wrong_type", f"{type(value).__name__} is not a schema")
        return value.to_dict()

    def unpack(self, raw: Any, where: Where) -> Any:
        """Return the schema."""
        try:
            schema = Schema.from_dict(raw)
        except ServiceError as e:
            raise ArtifactError("bad_schema", f"{place(where)}: {e.details[0].expected}") from e
        for given, column in zip(raw["columns"], schema.columns, strict=True):
            if list(given.items()) != list(column.to_dict().items()):
                raise ArtifactError(
                    "not_canonical", f"{place(where)} leaves out a default or orders its fields otherwise"
                )
        return schema


@dataclass(frozen=True)
class ArrayOf:
    """An array of one fixed dtype and number of axes; every float in it is finite."""

    dtype: str
    ndim: int

    def pack(self, value: Any) -> Any:
        """Return ``{dtype, shape, data}``."""
        if type(value) is not Array or (value.dtype, len(value.shape)) != (self.dtype, self.ndim):
            raise ArtifactError("array_dtype", f"something else stands where an array of {self.dtype} belongs")
        self._check_finite(value, "array")
        return {"dtype": self.dtype, "shape": list(value.shape), "data": value.data}

    def unpack(self, raw: Any, where: Where) -> Any:
        """Return the array on these bytes."""
        if type(raw) is not dict or list(raw) != ["dtype", "shape", "data"] or type(raw["data"]) is not bytes:
            raise ArtifactError("wrong_type", f"{place(where)} is not an array")
        if raw["dtype"] != self.dtype:
            raise ArtifactError("array_dtype", f"{place(where)} is not of dtype {self.dtype}")
        shape = raw["shape"]
        if type(shape) is not list or len(shape) != self.ndim or any(type(n) is not int or n < 0 for n in shape):
            raise ArtifactError("array_shape", f"{place(where)} does not have {self.ndim} axes")
        if math.prod(shape) * DTYPES[self.dtype][1] != len(raw["data"]):
            raise ArtifactError("array_size", f"{place(where)} has not as many bytes as its shape says")
        if any(n > _MAX_AXIS for n in shape):  # (0, 2**62): no bytes, yet more than anybody can address
            raise ArtifactError("array_shape", f"{place(where)} has an impossible shape")
        array = Array(self.dtype, tuple(shape), raw["data"])
        self._check_finite(array, where)
        return array

    def _check_finite(self, array: Array, where: Where) -> None:
        if not array.is_finite:
            raise ArtifactError("not_finite", f"{place(where)} holds NaN or infinity")


@dataclass(frozen=True)
class Record:
    """A dataclass as a map with exactly its fields, in fixed order; ``kind`` comes first where it is set.

    ``make`` and ``take`` stand between the dataclass and fields that another version of the format has: they make it
    from the fields, and give the fields of it.
    """

    cls: type
    fields: Mapping[str, Converter]
    kind: str | None = None
    make: Callable[..., Any] | None = None
    take: Callable[[Any], Mapping[str, Any]] | None = None
    _names: list[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_names", ([] if self.kind is None else ["kind"]) + list(self.fields))

    def pack(self, value: Any) -> Any:
        """Return the map."""
        if type(value) is not self.cls:
            raise ArtifactError("wrong_type", f"{type(value).__name__} stands where another record belongs")
        head = {} if self.kind is None else {"kind": self.kind}
        of = {name: getattr(value, name) for name in self.fields} if self.take is None else self.take(value)
        return head | {name: form.pack(of[name]) for name, form in self.fields.items()}

    def unpack(self, raw: Any, where: Where) -> Any:
        """Return the dataclass."""
        if type(raw) is not dict:
            raise ArtifactError("wrong_type", f"{place(where)} is not a map")
        if list(raw) != self._names:
            raise ArtifactError(
                "wrong_fields", f"{place(where)} does not have exactly the fields {', '.join(self._names)}"
            )
        if self.kind is not None and raw["kind"] != self.kind:
            raise ArtifactError("unknown_kind", f"{place(where)}.kind is not {self.kind}")
        make = self.make or self.cls
        return make(**{name: form.unpack(raw[name], (where, name)) for name, form in self.fields.items()})


@dataclass(frozen=True)
class OneOf:
    """One of several records, told apart by ``kind``."""

    records: tuple[Record, ...]

    def pack(self, value: Any) -> Any:
        """Return the map of the record for the value's class."""
        for record in self.records:
            if type(value) is record.cls:
                return record.pack(value)
        raise ArtifactError("unknown_kind", f"{type(value).__name__} has no place here")

    def unpack(self, raw: Any, where: Where) -> Any:
        """Return the dataclass of the record that ``kind`` names."""
        if type(raw) is not dict:
            raise ArtifactError("wrong_type", f"{place(where)} is not a map")
        for record in self.records:
            if raw.get("kind") == record.kind:
                return record.unpack(raw, where)
        raise ArtifactError(
            "unknown_kind", f"{place(where)}.kind is not one of {', '.join(r.kind or '' for r in self.records)}"
        )
