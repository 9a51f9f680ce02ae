"""Watching a served model: the windows of its predictions, what they showed, and the alarms, each raised once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

DETECTORS = ("drift", "quality")
#: What a window showed. Suspect: an effect that has not persisted yet.
OUTCOMES = ("steady", "suspect", "alarm", "not_enough_data")


@dataclass(frozen=True)
class Alarm:
    """A window in which a detector found what it looks for; ``outcome`` says what came of it, None so far."""

    id: int
    detector: str
    window_id: str
    reason: str
    numbers: Mapping[str, Any]
    raised_at: datetime
    request_id: str | None
    outcome: str | None


@dataclass(frozen=True)
class Span:
    """The place of a window among the predictions of one version.

    Attributes:
        window_id: a function of version and place, the same for whoever cuts it.
        number: 0, 1, 2 ... within the version.
        cut: ``rows``: the predictions at the places ``after_seq`` < seq <= ``last_seq`` of the log;
            ``time``: those made from ``began_at`` to before ``ended_at``.
        rows: how many predictions it had when it was cut.
    """

    window_id: str
    version: int
    number: int
    cut: str
    after_seq: int
    last_seq: int
    began_at: datetime
    ended_at: datetime
    rows: int


def choice(rows: int, most: int) -> int:
    """Return below which ``seq % 2**31 * 2654435761 % 2**32`` lies for about ``most`` of ``rows`` predictions.

    The products are spread evenly, by the golden ratio (Knuth, volume 3, 6.4). Every second place of the log would be
    no even choice: a version that answers in turn with another one has only odd places, or none.
    """
    return 2**32 * most // max(rows, most)


@dataclass(frozen=True)
class WindowRecord:
    """What a detector found in a window: one of :data:`OUTCOMES`, and the numbers behind it."""

    detector: str
    span: Span
    outcome: str
    report: Mapping[str, Any]
    closed_at: datetime


@dataclass(frozen=True)
class Reference:
    """What a version is held against: the profile of its fitted rows (None: made before there were any), the metrics on
    its hold-out, and how many rows that had (None: nobody noted it).
    """

    profile: Mapping[str, Any] | None
    metrics: Mapping[str, float]
    rows: int | None = None


@dataclass(frozen=True)
class Scored:
    """A prediction's output, when it was made, and its latest label; ``has_label`` tells a null label from none."""

    at: datetime
    output: Mapping[str, Any]
    has_label: bool
    label: Any


@dataclass(frozen=True)
class Spent:
    """The alarms of a model that wait for a training or got one: how many in 24 hours, and when the latest was raised.

    ``now`` is the time by the same clock.
    """

    today: int
    last_at: datetime | None
    now: datetime


@dataclass(frozen=True)
class Sight:
    """What tells from afar whether there is news of a served model.

    Attributes:
        model: its name.
        predictions: place in the log of the newest prediction under its name, 0 when there is none.
        waiting: labels that the watch has not looked at, or windows that have waited long enough for theirs.
    """

    model: str
    predictions: int
    waiting: bool


@dataclass(frozen=True)
class ShadowReport:
    """How the answers of ``shadow_version`` differ from those that ``version`` gave, over so many rows.

    Attributes:
        mean_difference: of the predicted values, or of the probabilities of the class that was answered; the shadow's
            less the given.
        mean_absolute_difference: of the same, whatever the sign.
        changed: share of the rows to which the shadow would have answered another class.
    """

    version: int
    shadow_version: int
    rows: int
    mean_difference: float
    mean_absolute_difference: float
    changed: float
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True)
class Traffic:
    """So many predictions of a version, made in the hour that began ``at``, that took about ``latency_us`` each.

    Latencies are known to 5 %; None: nobody measured them.
    """

    at: datetime
    version: int
    latency_us: float | None
    predictions: int


class Alarms(Protocol):
    """The alarms, inside one transaction."""

    def open(self, model_id: int) -> list[Alarm]:
        """Return the alarms that nothing has come of yet, oldest first."""
        ...

    def settle(self, ids: Sequence[int], *, outcome: str, request_id: str | None) -> None:
        """Note what came of these: a request, or the reason why there is none."""
        ...

    def add(
        self,
        model_id: int,
        detector: str,
        window_id: str,
        *,
        reason: str,
        numbers: Mapping[str, Any],
        held: str | None,
    ) -> bool:
        """Raise an alarm for a stored window; ``held`` settles it at once. False: the window has raised its own."""
        ...

    def spent(self, model_id: int) -> Spent:
        """Return what the model's alarms have cost; those that were settled without a request do not count."""
        ...

    def page(self, model_id: int, limit: int) -> list[Alarm]:
        """Return the newest alarms, newest first."""
        ...


class Monitoring(Protocol):
    """The windows, inside one transaction. All times are the database's."""

    def sights(self) -> list[Sight]:
        """Look at all models that have a champion, in the order of their names."""
        ...

    def hold(self, model_id: int) -> int | None:
        """Hold the model's watch to the end of the transaction; return the feedback looked at so far.

        None: somebody else holds it at this moment.
        """
        ...

    def advance(self, model_id: int, feedback_seq: int) -> None:
        """Note that the feedback up to this place has been looked at."""
        ...

    def versions(self, model_id: int, limit: int) -> list[int]:
        """Return the newest versions that an alias points to or ever pointed to, newest first."""
        ...

    def reference(self, model_id: int, version: int) -> Reference:
        """Return what the version is held against."""
        ...

    def recent(self, model_id: int, detector: str, limit: int, *, version: int | None = None) -> list[WindowRecord]:
        """Return the newest windows, of all versions or of one, newest first."""
        ...

    def cut_rows(self, model_id: int, version: int, last: Span | None, rows: int) -> Span | None:
        """Return the place of the next ``rows`` predictions behind ``last``; None: there are not so many yet."""
        ...

    def cut_time(self, model_id: int, version: int, last: Span | None, seconds: float, late: float) -> Span | None:
        """Return the next whole multiple of ``seconds`` with a prediction; None: none has been over for ``late``."""
        ...

    def inputs(self, model_id: int, span: Span, most: int) -> Iterator[Mapping[str, Any]]:
        """Yield the inputs of the span's predictions in the order of the log; when it had more than ``most`` rows an
        even choice of about so many, see :func:`choice`.
        """
        ...

    def count(self, model_id: int, span: Span) -> int:
        """Return how many predictions the span has now: one by time may have got some after it was cut."""
        ...

    def scored(self, model_id: int, span: Span, most: int) -> Iterator[Scored]:
        """Yield predictions as :meth:`inputs` chooses them, each with its latest label."""
        ...

    def answering(self, model_id: int, limit: int) -> list[int]:
        """Return the newest versions with predictions in the log under the model's name, newest first."""
        ...

    def unwatched(self, model_id: int, version: int, last: Span | None, most: int) -> Iterator[Scored]:
        """Yield the newest ``most`` predictions behind the window ``last`` (None: of all) with their latest labels.

        Reads no more than that. Those of an earlier model of the same name are left out.
        """
        ...

    def traffic(self, model_id: int, hours: int) -> list[Traffic]:
        """Return the predictions of this hour and of the ``hours`` - 1 before it, oldest first, quickest first.

        Those of an earlier model of the same name are left out, to the hour.
        """
        ...

    def shadows(self, model_id: int, most: int) -> list[ShadowReport]:
        """Return what the newest comparisons, at most ``most``, say for each pair of versions, newest first."""
        ...

    def feedback_upto(self, after: int, limit: int) -> int:
        """Return the place of the last of the next ``limit`` labels; ``after`` when there are none."""
        ...

    def waiting_labels(self, limit: int) -> int:
        """Return how many of the newest ``limit`` labels, of all models, are of predictions not (yet) in the log."""
        ...

    def labelled(self, model_id: int, after: int, upto: int) -> list[Span]:
        """Return the windows whose predictions got labels at the places ``after`` < seq <= ``upto``."""
        ...

    def due(self, model_id: int, limit: int) -> list[Span]:
        """Return quality windows whose time has come to be looked at again."""
        ...

    def age(self, span: Span) -> float:
        """Return the seconds since the span ended."""
        ...

    def put(
        self,
        model_id: int,
        detector: str,
        span: Span,
        *,
        outcome: str,
        report: Mapping[str, Any],
        again_in: float | None = None,
    ) -> None:
        """Store what was found, in the place of what was there; ``again_in`` seconds from now it is due again."""
        ...
