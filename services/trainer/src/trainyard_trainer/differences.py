"""How two models differ, in words: what a reproduction that is not identical says of itself. Pure."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trainyard.model import Model

_MOST_SHOWN = 80
#: Where models were made, which is told of its own: equal models differ there when they were made by another release.
_PLACES = ("lineage.libraries", "lineage.code_version")
#: What the parts of a run's environment are called.
_PARTS = {"cpu": "the CPU family", "python": "Python", "packages": "the installed packages (their hash)"}


def differences(
    ours: Model, theirs: Model, here: Mapping[str, Any], there: Mapping[str, Any] | None
) -> tuple[str, ...]:
    """Return sentences, causes first, then the first field that is not the same.

    Args:
        ours, theirs: the model that was fitted again, and the original.
        here, there: the environments of the two runs; None: nobody noted it.
    """
    found = list(_libraries(ours, theirs))
    if there is None:
        found.append("the original's run did not note its CPU family and packages")
    else:
        found += [
            f"{words}: {here.get(name)} here, {there.get(name)} there"
            for name, words in _PARTS.items()
            if here.get(name) != there.get(name)
        ]
    first = next((d for d in _apart("", ours, theirs) if not d[0].startswith(_PLACES)), None)
    if first is None:
        found.append("the models are the same but for where they were made")
    else:
        path, mine, other = first
        found.append(f"the first field that differs is {path}: {_shown(mine)} here, {_shown(other)} there")
    return tuple(found)


def _libraries(ours: Model, theirs: Model) -> Iterator[str]:
    here, there = ours.lineage, theirs.lineage
    if here.code_version != there.code_version:
        yield f"trainyard: {here.code_version} here, {there.code_version} there"
    for name in sorted(here.libraries.keys() | there.libraries.keys()):
        mine, other = here.libraries.get(name), there.libraries.get(name)
        if mine != other:
            yield f"{name}: {mine or 'not noted'} here, {other or 'not noted'} there"


def _apart(path: str, ours: Any, theirs: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield path and values of each difference, in the order of the fields."""
    if type(ours) is not type(theirs):
        yield path, ours, theirs
    elif hasattr(ours, "__array__"):
        yield from _arrays(path, np.asarray(ours), np.asarray(theirs))
    elif is_dataclass(ours):
        for field in fields(ours):
            name = f"{path}.{field.name}".lstrip(".")
            yield from _apart(name, getattr(ours, field.name), getattr(theirs, field.name))
    elif isinstance(ours, dict):
        for key in [*ours, *(key for key in theirs if key not in ours)]:
            yield from _apart(f"{path}.{key}", ours.get(key), theirs.get(key))
    elif isinstance(ours, list | tuple):
        if len(ours) != len(theirs):
            yield f"the length of {path}", len(ours), len(theirs)
        for index, (mine, other) in enumerate(zip(ours, theirs, strict=False)):
            yield from _apart(f"{path}[{index}]", mine, other)
    elif ours != theirs:
        yield path, ours, theirs


def _arrays(path: str, ours: Any, theirs: Any) -> Iterator[tuple[str, Any, Any]]:
    if ours.shape != theirs.shape:
        yield f"the shape of {path}", ours.shape, theirs.shape
        return
    same = (ours == theirs) | ((ours != ours) & (theirs != theirs))  # noqa: PLR0124 - NaN is not equal to itself
    for place in np.argwhere(~same)[:1].tolist():
        at = tuple(place)
        yield f"{path}{place}", ours[at].item(), theirs[at].item()


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else text[: _MOST_SHOWN - 1] + "…"
