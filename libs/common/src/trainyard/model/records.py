"""How the parts of a model become plain objects and come back: the schema, arrays, and dataclasses as maps.

codec.py combines these converters, and those of :mod:`trainyard.model.converters`, into the format.
"""

from __future__ import annotations

import math

from trainyard.errors import ArtifactError, ServiceError
from trainyard.frozen import dataclass, field
from trainyard.model.arrays import DTYPES, Array
from trainyard.model.converters import Converter, place
from trainyard.schema import Schema

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from typing import Any

    from trainyard.model.converters import Where

_MAX_AXIS = 2**31 - 1
_COLUMN = ["name", "type", "role", "nullable"]
_ARRAY = ["dtype", "shape", "data"]


@dataclass(frozen=True)
class SchemaForm(Converter):
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
            if list(given) != (_COLUMN if column.categories is None else [*_COLUMN, "categories"]):
                raise ArtifactError(
                    "not_canonical", f"{place(where)} leaves out a default or orders its fields otherwise"
                )
        return schema


@dataclass(frozen=True)
class ArrayOf(Converter):
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
        if type(raw) is not dict or list(raw) != _ARRAY or type(raw["data"]) is not bytes:
            raise ArtifactError("wrong_type", f"{place(where)} is not an array")
        dtype, shape, data = raw.values()
        if dtype != self.dtype:
            raise ArtifactError("array_dtype", f"{place(where)} is not of dtype {self.dtype}")
        if type(shape) is not list or len(shape) != self.ndim or set(map(type, shape)) != {int} or min(shape) < 0:
            raise ArtifactError("array_shape", f"{place(where)} does not have {self.ndim} axes")
        if math.prod(shape) * DTYPES[dtype][1] != len(data):
            raise ArtifactError("array_size", f"{place(where)} has not as many bytes as its shape says")
        if max(shape) > _MAX_AXIS:  # (0, 2**62): no bytes, yet more than anybody can address
            raise ArtifactError("array_shape", f"{place(where)} has an impossible shape")
        array = Array(dtype, tuple(shape), data)
        self._check_finite(array, where)
        return array

    def _check_finite(self, array: Array, where: Where) -> None:
        if not array.is_finite:
            raise ArtifactError("not_finite", f"{place(where)} holds NaN or infinity")


@dataclass(frozen=True)
class Record(Converter):
    """A dataclass as a map with exactly its fields, in fixed order; ``kind`` comes first where it is set.

    ``make`` and ``take`` stand between the dataclass and fields that another version of the format has: they make it
    from the fields, and give the fields of it. ``at_once`` is for a dataclass that is its fields and nothing else (no
    ``__post_init__``, no arrays): they are set together. A frozen one's ``__init__`` sets them one by one, which takes
    as long as checking them.
    """

    cls: type
    fields: Mapping[str, Converter]
    kind: str | None = None
    make: Callable[..., Any] | None = None
    take: Callable[[Any], Mapping[str, Any]] | None = None
    at_once: bool = False
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
        fields = {name: form.unpack(raw[name], (where, name)) for name, form in self.fields.items()}
        return self._made_at_once(fields) if self.at_once else (self.make or self.cls)(**fields)

    def many(self, raws: Collection[Any]) -> Collection[Any] | None:
        """Return the dataclasses of many maps, field by field, where they can be made at once."""
        if not self.at_once or any(type(raw) is not dict or list(raw) != self._names for raw in raws):
            return None
        columns = dict(zip(self._names, zip(*map(dict.values, raws), strict=True), strict=True))
        if any(kind != self.kind for kind in columns.get("kind", ())):
            return None
        values = [form.many(columns[name]) for name, form in self.fields.items()]
        if any(of_field is None for of_field in values):
            return None
        return [self._made_at_once(zip(self.fields, of_one, strict=True)) for of_one in zip(*values, strict=True)]

    def _made_at_once(self, fields: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> Any:
        made: Any = object.__new__(self.cls)
        made.__dict__.update(fields)
        return made


@dataclass(frozen=True)
class OneOf(Converter):
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

    def many(self, raws: Collection[Any]) -> Collection[Any] | None:
        """Return the dataclasses of many maps, where all are of the kind of the first."""
        first = next(iter(raws), None)
        kind = first.get("kind") if type(first) is dict else None
        return next((record.many(raws) for record in self.records if record.kind == kind), None)
