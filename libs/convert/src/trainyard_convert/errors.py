"""The one way to say no: by name, with the reason and the next step."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from trainyard.errors import TrainyardError

if TYPE_CHECKING:
    from collections.abc import Iterator


class ConversionError(TrainyardError):
    """A model, a part of one or a file that cannot become a Trainyard model.

    Attributes:
        name: what is refused, as its library calls it: ``LightGBM linear_tree``, ``scikit-learn PCA``.
        reason: why.
        step: what to do instead; empty when there is nothing.
    """

    def __init__(self, name: str, reason: str, step: str = "") -> None:
        super().__init__(f"{name}: {reason}" + (f"; {step}" if step else ""))
        self.name = name
        self.reason = reason
        self.step = step


class DamagedError(ConversionError):
    """What the library that is named cannot have written."""


def damaged(name: str, what: str = "a damaged tree") -> DamagedError:
    """Return the refusal of numbers that ``name``'s own library cannot have written."""
    return DamagedError(name, what, "get it again from where it was made")


@contextmanager
def reading(name: str, what: str = "it is damaged, or no fitted model") -> Iterator[None]:
    """Refuse by name whatever reading a model ends with that nobody vouches for; a function may be decorated with it.

    Numbers out of their place, missing fields and endless nesting end in errors of any kind, those of the library that
    is asked among them.

    Raises:
        ConversionError: as it was raised within, or ``name``'s for anything else.
        MissingLibraryError: as it was raised within.
    """
    try:
        yield
    except (ConversionError, MissingLibraryError):
        raise
    except Exception as e:
        raise damaged(name, f"{what} ({type(e).__name__}: {e})") from e


@contextmanager
def reading_tree(name: str, number: int) -> Iterator[None]:
    """Say of damage that is found within that it is in tree ``number``, from 0.

    Raises:
        ConversionError: as it was raised within, or of a damaged tree for anything else.
    """
    try:
        with reading(name, "a damaged tree"):
            yield
    except DamagedError as e:
        raise damaged(e.name, f"{e.reason}, number {number} from 0") from e


class MissingLibraryError(TrainyardError):
    """A library that must answer for its own model is not installed; ``extra`` of trainyard-convert brings it."""

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(f"{library} is not installed; install it with: pip install 'trainyard-convert[{extra}]'")
        self.extra = extra
