"""Many predictions of one answer as one entry of the log: columns instead of rows (docs/prediction-log.md).

A record repeats the name of every column; a thousand of them take longer to write than their predictions took. A block
says each name once, and numbers as they lie in memory. Whoever reads the log gets records either way.
"""

from __future__ import annotations

import struct

import msgpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

#: With it a block begins: its value is the number of rows.
_COUNT = "block"
_BEGIN = msgpack.packb(_COUNT)
_ID_PREFIX, _ID_BYTES, _DOUBLE_BYTES = "pr_", 16, 8
_COMMON = ("model", "version", "key_id", "trace_id", "latency_us", "predicted_at")
_FIELDS = {_COUNT, *_COMMON, "ids", "inputs", "output"}


def pack_blocks(
    common: Mapping[str, Any],
    ids: Sequence[str],
    inputs: Mapping[str, Any],
    output: Mapping[str, Any],
    *,
    most_bytes: int,
    pack: Callable[[Any], bytes] = msgpack.packb,
) -> list[bytes]:
    """Return blocks of the predictions of one answer, in its order.

    Args:
        common: what all records have alike: ``model``, ``version``, ``key_id``, ``trace_id``, ``latency_us`` and
            ``predicted_at``.
        ids: the prediction ids, n of them.
        inputs: by column name n JSON values, or numbers as an array of float64 (n,), NaN where one is missing.
        output: ``prediction``, n values or an array; for classifiers ``probabilities`` by class, lists of floats (n,).
        most_bytes: no block is longer, unless it has one row.
        pack: makes msgpack of a value.
    """
    block = pack(
        {
            _COUNT: len(ids),
            **common,
            "ids": bytes.fromhex("".join([one[len(_ID_PREFIX) :] for one in ids])),
            "inputs": {name: _packed(values) for name, values in inputs.items()},
            "output": {
                name: {label: doubles(own) for label, own in values.items()}
                if name == "probabilities"
                else _packed(values)
                for name, values in output.items()
            },
        }
    )
    if len(block) <= most_bytes or len(ids) == 1:
        return [block]
    step = max(1, len(ids) * most_bytes * 3 // (len(block) * 4))  # rows differ in length
    return [
        one
        for part in [slice(begin, begin + step) for begin in range(0, len(ids), step)]
        for one in pack_blocks(
            common,
            ids[part],
            {name: values[part] for name, values in inputs.items()},
            {
                name: {label: own[part] for label, own in values.items()} if name == "probabilities" else values[part]
                for name, values in output.items()
            },
            most_bytes=most_bytes,
            pack=pack,
        )
    ]


def doubles(values: Sequence[float]) -> bytes:
    """Return numbers as float64, little-endian."""
    return struct.pack(f"<{len(values)}d", *values)


def rows_in(packed: bytes) -> int:
    """Return how many predictions an entry of the log holds: those of a block, or one."""
    begin = 1 + len(_BEGIN)
    if packed[1:begin] != _BEGIN:
        return 1
    unpacker = msgpack.Unpacker()
    unpacker.feed(packed[begin : begin + 9])
    count: int = unpacker.unpack()
    return count


def records_of(entry: Any) -> Iterator[Any]:
    """Yield the records that an entry of the log stands for; what is no block is one itself, whatever it is.

    Raises:
        ValueError: a block that is not what it should be; says which field.
    """
    if not isinstance(entry, dict) or _COUNT not in entry:
        yield entry
        return
    count = entry[_COUNT]
    _require(set(entry) == _FIELDS and type(count) is int and count > 0, _COUNT)
    ids, output = entry["ids"], entry["output"]
    _require(isinstance(ids, bytes) and len(ids) == _ID_BYTES * count, "ids")
    _require(isinstance(entry["inputs"], dict), "inputs")
    _require(isinstance(output, dict) and {"prediction"} <= set(output) <= {"prediction", "probabilities"}, "output")
    chances = output.get("probabilities")
    _require(chances is None or isinstance(chances, dict), "output")
    columns = [_values(values, count, "inputs") for values in entry["inputs"].values()]
    predicted = _values(output["prediction"], count, "output")
    by_class = [_values(values, count, "output") for values in (chances or {}).values()]
    common = {name: entry[name] for name in _COMMON}
    for at in range(count):
        said: dict[str, Any] = {"prediction": predicted[at]}
        if chances is not None:
            said["probabilities"] = {label: own[at] for label, own in zip(chances, by_class, strict=True)}
        yield {
            "id": f"{_ID_PREFIX}{ids[_ID_BYTES * at : _ID_BYTES * (at + 1)].hex()}",
            **common,
            "inputs": {name: own[at] for name, own in zip(entry["inputs"], columns, strict=True)},
            "output": said,
        }


def _packed(values: Any) -> Any:
    """Return an array of float64 as its bytes, a list as it is."""
    return values if isinstance(values, list) else values.tobytes()


def _values(given: Any, count: int, field: str) -> list[Any]:
    """Return the ``count`` values of a column: doubles, of which NaN says that one is missing, or a list."""
    if isinstance(given, bytes):
        _require(len(given) == _DOUBLE_BYTES * count, field)
        return [None if value != value else value for value in struct.unpack(f"<{count}d", given)]  # noqa: PLR0124
    _require(isinstance(given, list) and len(given) == count, field)
    found: list[Any] = given
    return found


def _require(holds: bool, field: str) -> None:
    if not holds:
        raise ValueError(f"the field {field!r} of a block is not what it should be")
