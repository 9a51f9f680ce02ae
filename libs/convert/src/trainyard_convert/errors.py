"""The one way to say no: by name, with the reason and the next step."""

from __future__ import annotations

from trainyard.errors import TrainyardError


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


def damaged(name: str, what: str = "a damaged tree") -> ConversionError:
    """Return the refusal of numbers that ``name``'s own library cannot have written."""
    return ConversionError(name, what, "get the file again from where it was made")


class MissingLibraryError(TrainyardError):
    """A library that must answer for its own model is not installed; ``extra`` of trainyard-convert brings it."""

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(f"{library} is not installed; install it with: pip install 'trainyard-convert[{extra}]'")
        self.extra = extra
