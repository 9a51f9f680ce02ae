"""The fuzz target: any bytes give a model or an ``ArtifactError``, and a model encodes to the bytes it came from.

    python tests/fuzz/decoder.py [libFuzzer options] CORPUS

An input is a whole file when it begins as one, else the body of a file: its envelope is put around it, so that the
checksum does not stop every change at the door. Half of the changes are libFuzzer's own, on bytes; the others are made
in the parsed body, so that they reach the rules behind the parser. Whatever is raised but ``ArtifactError`` is a crash.
"""

from __future__ import annotations

import copy
import random
import struct
import sys
from typing import TYPE_CHECKING, Any

import atheris
import msgpack

with atheris.instrument_imports(include=["trainyard.model", "trainyard.schema"]):
    from trainyard.errors import ArtifactError
    from trainyard.model import decode, encode, self_test, wire

if TYPE_CHECKING:
    from collections.abc import Callable

_MAGIC = b"\x84\xa6format"
_STRANGE: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 255, 2**31 - 1, 2**31, -(2**31), 2**63 - 1, 2**64 - 1, -(2**63),
    0.0, -0.0, 0.5, 1.0, 1e308, -1e308, 5e-324, float("nan"), float("inf"),
    "", "x", "kind", "sum", "mean", "identity", "softmax", "\x00", "ü" * 40, b"", bytes(8), [], {}, [[]], {"a": None},
)  # fmt: skip
_NUMBERS = tuple(struct.pack("<d", v) for v in (0.0, -1.0, 1e308, float("nan"), float("inf"))) + tuple(
    struct.pack("<i", v) for v in (-2, -1, 0, 1, 2, 255, 2**31 - 1)
)


def run_one(data: bytes) -> None:
    """Decode one input; raise what must never be raised."""
    file = data if data.startswith(_MAGIC) else wire.envelope(data)
    try:
        model = decode(file)
        self_test(model)
    except ArtifactError:
        return
    if encode(model) != file:
        raise AssertionError("a model that was read is written otherwise")


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Return a changed input of at most ``max_size`` bytes."""
    rng = random.Random(seed)  # noqa: S311 - fuzzing, no secret
    if rng.random() < 0.5 and not data.startswith(_MAGIC):
        try:
            tree = msgpack.unpackb(data, strict_map_key=False)
            for _ in range(rng.choice((1, 1, 1, 2, 4))):
                tree = _changed(tree, rng)
            out: bytes = msgpack.packb(tree)
        except (ValueError, TypeError, OverflowError, msgpack.UnpackException, UnicodeError):
            out = data
        if out != data and len(out) <= max_size:
            return out
    mutated: bytes = atheris.Mutate(data, max_size)
    return mutated


def _changed(tree: Any, rng: random.Random) -> Any:
    """Return the tree with one value changed, removed, doubled or put elsewhere."""
    places = list(_places(tree))
    if not places:
        return copy.deepcopy(rng.choice(_STRANGE))
    holder, key = rng.choice(places)
    other_holder, other_key = rng.choice(places)
    value = holder[key]
    changes: list[Callable[[], Any]] = [
        lambda: copy.deepcopy(rng.choice(_STRANGE)),  # copies: what is put in twice must not become its own child
        lambda: copy.deepcopy(other_holder[other_key]),
        lambda: _near(value, rng),
        lambda: _near(value, rng),
    ]
    kind = rng.randrange(len(changes) + 2)
    if kind < len(changes):
        holder[key] = changes[kind]()
    elif isinstance(holder, list) and kind == len(changes):
        holder.insert(rng.randrange(len(holder) + 1), copy.deepcopy(value))
    else:
        del holder[key]
    return tree


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Return (holder, key) of every value inside the tree."""
    found: list[tuple[Any, Any]] = []
    waiting = [tree]
    while waiting:
        holder = waiting.pop()
        if isinstance(holder, dict | list):
            keys = list(holder) if isinstance(holder, dict) else range(len(holder))
            found += [(holder, key) for key in keys]
            waiting += [holder[key] for key in keys]
    return found


def _near(value: Any, rng: random.Random) -> Any:
    """Return something of the same type."""
    if isinstance(value, bool | None):
        return not value
    if isinstance(value, int | float):
        return value * rng.choice((-1, 0, 1, 2)) + rng.choice((-1, 0, 1, 255))
    if isinstance(value, str):
        return rng.choice((value + value, value[1:], value.upper(), value[::-1]))
    if isinstance(value, bytes):
        number = rng.choice(_NUMBERS)
        at = rng.randrange(0, max(1, len(value)), len(number))
        return rng.choice((value[:at] + number + value[at + len(number) :], value[8:], value + value[:8]))
    return value[::-1] if isinstance(value, list) else dict(reversed(value.items()))


def main() -> None:
    """Hand over to libFuzzer, which ends the process."""
    atheris.Setup(sys.argv, run_one, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
