"""What a search remembers: the candidates that were proposed to it, what came of them, and what to try next.

The search asks for a candidate, fits it, and tells how good it was. A study outlives the process that searches: whoever
takes the request over joins it, is given once more what was asked for and never told, and goes on from there. Other
workers may help meanwhile (:mod:`trainyard.contracts.searches`). It ends with its request: what people see of it
afterwards are the run's trials (:class:`trainyard.contracts.runs.Trial`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from trainyard.contracts.runs import Trial


@dataclass(frozen=True)
class Range:
    """A parameter from ``low`` to ``high``, both included; ``log``: by its logarithm, ``whole``: an integer."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high


@dataclass(frozen=True)
class Choice:
    """A parameter that is one of ``options``, which are JSON."""

    options: Sequence[Any]

    def __contains__(self, value: object) -> bool:
        return value in self.options


@dataclass(frozen=True)
class Method:
    """A way to fit a kind of estimator, with the parameters that may vary, by name."""

    kind: str
    params: Mapping[str, Range | Choice]


#: What a study may propose: one of the methods, by name, and a value for each of its parameters.
Space = dict[str, Method]


@dataclass(frozen=True)
class Planned:
    """A candidate that is tried before anything is proposed.

    ``params`` are handed back as they are. ``method`` and ``at`` say where it lies in the space, so that proposals
    learn from it; None for one that lies nowhere in it.
    """

    kind: str
    params: Mapping[str, Any]
    method: str | None = None
    at: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Proposal:
    """What to try: the number of its trial (from 1; the planned ones come first), its kind and its parameters."""

    number: int
    kind: str
    params: Mapping[str, Any]


class StudyGoneError(Exception):
    """The study was removed, as its request has ended."""


class Study(Protocol):
    """One study. The holder of its request's lease leads it; those who have a seat in the search help.

    Every method raises :class:`~trainyard.errors.TransientError` when the database does not answer, and may be called
    again after it; and :class:`StudyGoneError`.
    """

    def plan(self, planned: Sequence[Planned], space: Space) -> None:
        """Say what is tried first and what may be proposed then; a study that is joined keeps what it has planned.

        Who helps plans nothing: it only says what may be proposed.
        """
        ...

    def ask(self) -> Proposal:
        """Return what to try next: asked for and not told, else planned, else proposed from the space.

        What was asked for and not told is for the leader alone, and only once nobody is at it any more.

        A proposal depends on the seed, on its number and on the trials that were told before, and on nothing else: so
        a search that was interrupted is proposed what one that was left in peace is.
        """
        ...

    def tell(self, trial: Trial) -> None:
        """Record what was asked for as finished. Telling it again changes nothing."""
        ...

    def news(self) -> list[Trial]:
        """Return the trials that others have told since this was asked last, or ever, by number."""
        ...

    def skip(self, number: int) -> None:
        """Record that what was asked for was not tried; nothing is learnt from it."""
        ...


class Studies(Protocol):
    """Where studies are kept."""

    def finished(self, name: str) -> list[Trial]:
        """Return the trials that the study was told, by number; none where there is no study of this name."""
        ...

    def join(self, name: str, *, seed: int, metric: str, seated: Callable[[], Collection[str]] | None = None) -> Study:
        """Return the study of this name for who leads it; it is made if need be.

        ``metric``: the policy's, by which its trials are ranked (:func:`trainyard.leaderboard.rank`). ``seated`` tells
        who helps at the moment, by seat; None: nobody ever does.

        Raises:
            StudyGoneError: its request is not open.
        """
        ...

    def help(self, name: str, *, seed: int, metric: str, seat: str) -> Study:
        """Return the study of this name for who has this seat in the search.

        Raises:
            StudyGoneError: there is no such study.
        """
        ...


def study_name(request_id: str, known_seq: int, release: str) -> str:
    """Return what the study of a request is called.

    When a version was published meanwhile the rows may be split elsewhere: then figures cannot be compared, and the
    request has another study. So it has for another release, whose candidates may mean something else.
    """
    return f"{request_id}/{known_seq}/{release}"


def space_as_json(space: Space) -> dict[str, Any]:
    """Return the space as JSON."""
    return {name: asdict(method) for name, method in space.items()}


def space_from_json(given: Mapping[str, Any]) -> Space:
    """Return the space that was written as JSON."""
    return {
        name: Method(
            method["kind"],
            {
                key: Choice(tuple(how["options"])) if "options" in how else Range(**how)
                for key, how in method["params"].items()
            },
        )
        for name, method in given.items()
    }
