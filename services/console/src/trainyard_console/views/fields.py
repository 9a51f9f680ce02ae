"""Fields of forms that say what is wrong beside the field that it is about. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Field:
    """A field of a form. ``kind``: number, text, lines, flag, choice or choices."""

    name: str
    label: str
    hint: str
    kind: str
    value: Any
    choices: tuple[str, ...] = ()
    problem: str = ""
    required: bool = False


def shown_problems(details: Sequence[Mapping[str, Any]], prefix: str = "") -> dict[str, str]:
    """Return what a service refused by the field's name, without the ``prefix`` that the service gives it."""
    return {
        str(one.get("column") or "").removeprefix(prefix): f"{one.get('expected')}; got {one.get('got')}"
        for one in details
    }
