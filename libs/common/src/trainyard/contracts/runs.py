"""Training requests from the trainer's side: claim one, keep it, hand it back, or publish what came of it.

Whoever claims a request holds it by a *lease* that runs out unless it is renewed, by the clock of the database, and
carries a *fence*: a number that rises with every claim. Every write names its fence, and a write with an old one is
refused with :class:`LeaseLostError`: a holder that was believed dead can do no harm when it wakes up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from trainyard.errors import TrainyardError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

#: Attempts that a request is worth; those that were handed back uncounted do not count.
MAX_ATTEMPTS = 3
#: How the words of a version begin that waits for a person.
PENDING = "pending approval"
#: Of a line that a run has said.
MAX_LINE_CHARS = 1_000
#: For how long a message rests that points to a request for other machines, before another worker looks at it.
UNSUITED_SECONDS = 10


class LeaseLostError(TrainyardError):
    """The request is no longer held; nothing was written.

    ``code`` says how that is known: ``zombie`` (the database refused the fence: somebody else has the request, or it
    is settled) or ``lease_lost`` (the holder itself could not renew the lease in time).
    """

    def __init__(self, message: str, code: str = "zombie") -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Lease:
    """What a holder shows with every write."""

    request_id: str
    run_id: str
    fence: int


@dataclass(frozen=True)
class Champion:
    """The version in use when the request was claimed; ``seq`` is its alias's, for compare-and-set."""

    version: int
    seq: int
    artifact_key: str
    sha256: str


@dataclass(frozen=True)
class Original:
    """The version that a request fits again.

    ``not_reproducible`` says why that cannot give the same bytes any more, None when it can; ``environment`` is where
    it was made (``python``, ``cpu``, ``packages``), None for one that was made before runs noted it.
    """

    version: int
    artifact_key: str
    sha256: str
    not_reproducible: str | None
    environment: Mapping[str, Any] | None


@dataclass(frozen=True)
class Reproduction:
    """What came of fitting a version again.

    ``differences`` are sentences, the likeliest cause first; there are some unless the bytes are the same.
    """

    version: int
    sha256: str
    original_sha256: str
    differences: tuple[str, ...] = ()

    @property
    def identical(self) -> bool:
        """True when the bytes are the same."""
        return self.sha256 == self.original_sha256

    @property
    def words(self) -> str:
        """Return the outcome in one sentence."""
        if self.identical:
            return f"version {self.version} was fitted again: identical, {self.sha256}"
        return f"version {self.version} was fitted again and differs: {'; '.join(self.differences)}"

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "version": self.version,
            "identical": self.identical,
            "sha256": self.sha256,
            "original_sha256": self.original_sha256,
            "differences": list(self.differences),
            "words": self.words,
        }


@dataclass(frozen=True)
class Job:
    """A claimed request, with all that its run needs to know.

    ``known_seq`` is the highest ``upto_seq`` of all versions of the model and ``known_version`` the newest version that
    has it, both 0 when there is none. ``settings`` are those of the request row
    (:meth:`trainyard.policy.Policy.settings`), which nobody has checked. ``reproduces``: the version to fit again,
    whose rows ``upto_seq`` names; None for a training.
    """

    lease: Lease
    attempt: int
    model_id: int
    model: str
    dataset_id: int
    dataset: str
    label: str
    task: str
    upto_seq: int
    settings: Mapping[str, Any]
    champion: Champion | None
    known_seq: int
    known_version: int
    trace_id: str | None
    reproduces: Original | None = None


@dataclass(frozen=True)
class Claim:
    """The answer to a claim.

    Attributes:
        outcome: ``claimed`` (``job`` is ours now, be it of another request than the named one), or what is true of the
            named one when there is nothing to do for this worker: ``held`` (somebody else's for ``seconds_left``),
            ``settled`` (done, failed, cancelled or blocked by data, be it just now: ``state``), ``unsuited`` (it waits
            for other machines, and a fresh message was posted for it), ``unknown`` (no such request).
    """

    outcome: str
    job: Job | None = None
    state: str = ""
    seconds_left: float = 0.0


@dataclass(frozen=True)
class Trial:
    """One candidate inside a run, finished: what people see of it. A search goes on from its study, not from these.

    ``params`` hold all that it takes to fit it again (``length``: what early stopping found), ``metrics`` are on the
    validation rows (``loss``: what the search minimises), ``seconds`` is what it cost. ``pruned``: it was given up
    after the first of several cuts, where it was clearly beaten; its figures are of that cut alone. ``worker`` made it,
    '' where nobody knows; ``helped``: beside the holder of the lease, whose time it has not cost.
    """

    number: int
    kind: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    seconds: float
    chosen: bool
    pruned: bool = False
    worker: str = ""
    helped: bool = False


@dataclass(frozen=True)
class Line:
    """A line that a run has said: the ``number``-th, from 1, ``at`` by the trainer's clock.

    ``level`` is debug, info, warning or error; ``source`` is ``trainer``, or ``training`` for what the process that
    trains has written. ``text`` is printable, and not longer than :data:`MAX_LINE_CHARS`.
    """

    number: int
    at: datetime
    level: str
    source: str
    text: str


@dataclass(frozen=True)
class NewVersion:
    """A version to be registered; its artifact is stored already. The mappings are JSON objects.

    ``trials`` is the whole study, those of earlier runs included; ``profile`` sums up the rows that the version was
    fitted on (:func:`trainyard.drift.profile_of`); ``extract_key`` is the object with the snapshot's rows, where
    the policy keeps them; ``report`` is what the hold-out tells (:func:`trainyard.evaluation.evaluate`). ``waits``: it
    is not promoted before a person approves. ``environment`` is where the run computed: it goes into the run's row.
    ``copy``: the artifact itself, to be kept in the database as well.
    """

    artifact_key: str
    sha256: str
    size_bytes: int
    snapshot_rows: int
    snapshot_hash: str
    holdout: Mapping[str, Any]
    metrics: Mapping[str, Any]
    gate: Mapping[str, Any]
    passed: bool
    trials: Sequence[Trial]
    profile: Mapping[str, Any] | None = None
    extract_key: str | None = None
    report: Mapping[str, Any] | None = None
    waits: bool = False
    environment: Mapping[str, Any] | None = None
    copy: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Published:
    """A registered version; ``words`` say why it was promoted, or why not."""

    version: int
    run_id: str
    promoted: bool
    words: str


class Runs(Protocol):
    """Every method raises :class:`~trainyard.errors.TransientError` when the database does not answer."""

    def claim(
        self,
        request_id: str,
        *,
        worker: str,
        instance_id: str | None,
        instance_type: str | None,
        lease_seconds: float,
    ) -> Claim:
        """Take the most urgent request that this worker can serve; a message is a ticket, not an address.

        Claimable is what is queued, or running with a lease that has run out (that run becomes 'lost'). It suits when
        it names no instance types, or the worker's, or when the worker has no type; and when it may be served by spot
        capacity, or the worker's instance was not launched as such. Urgent is the highest priority,
        then the request that the message names, then the oldest. Workers that claim at once never get the same one.

        A request of a deleted model, or one that was asked to be cancelled, becomes 'cancelled' instead; one that has
        used up :data:`MAX_ATTEMPTS` becomes 'failed'; and the next is looked at. A message that names no request of
        ours is no ticket.

        When the named request is queued for other machines a fresh message is posted for it in the same transaction,
        whatever is taken, to be seen :data:`UNSUITED_SECONDS` later: no request is left without a ticket.
        """
        ...

    def beat(self, lease: Lease, *, lease_seconds: float, progress: Mapping[str, Any] | None = None) -> bool:
        """Renew the lease from now on, note the progress, and return whether cancelling was asked for.

        ``progress`` is ``{"stage", "done", "total", "message"}``.

        Raises:
            LeaseLostError: it is not ours any more.
        """
        ...

    def keep_trials(self, lease: Lease, trials: Sequence[Trial]) -> None:
        """Store finished trials of the run, at least one, for people; storing one again changes nothing.

        Raises:
            LeaseLostError: it is not ours any more.
        """
        ...

    def keep_lines(self, run_id: str, lines: Sequence[Line]) -> None:
        """Store what the run has said, at least one line; storing one again changes nothing.

        The run may be over, or its lease lost: what it said stays true.
        """
        ...

    def release(self, lease: Lease, *, reason: str) -> None:
        """Hand the request back unharmed: 'queued' again, not counted as an attempt, with a new message to come.

        Raises:
            LeaseLostError: it is not ours any more.
        """
        ...

    def retry(self, lease: Lease, *, error_class: str, error: str) -> None:
        """Record a failed attempt and queue the request again, with a new message to come.

        Raises:
            LeaseLostError: it is not ours any more.
        """
        ...

    def fail(self, lease: Lease, *, error_class: str, error: str) -> None:
        """Record that the request has failed for good.

        Raises:
            LeaseLostError: it is not ours any more.
        """
        ...

    def block(self, lease: Lease, *, reason: str) -> None:
        """Record that the rows allow no version worth having: 'blocked_by_data', which is nobody's failure.

        Raises:
            LeaseLostError: it is not ours any more.
        """
        ...

    def cancel(self, lease: Lease) -> None:
        """Record that the run was stopped because somebody asked for it.

        Raises:
            LeaseLostError: it is not ours any more.
        """
        ...

    def publish(self, lease: Lease, version: NewVersion, *, compared_with: Champion | None) -> Published:
        """Register the version and end request and run, all in one transaction.

        A version that passed becomes champion if the alias still is what it was compared with; the old champion
        becomes 'previous'. After :class:`~trainyard.errors.TransientError` the outcome is unknown: ask
        :meth:`published`.

        Raises:
            LeaseLostError: it is not ours any more; nothing was written.
        """
        ...

    def reproduced(self, lease: Lease, outcome: Reproduction, *, environment: Mapping[str, Any]) -> None:
        """Note what came of fitting a version again, and end request and run as 'done'; there is no new version.

        Raises:
            LeaseLostError: it is not ours any more.
        """
        ...

    def published(self, request_id: str) -> Published | None:
        """Return what came of the request, or None when it has no version (yet)."""
        ...

    def open_requests(self, instance_type: str | None = None, instance_id: str | None = None) -> int:
        """Return how many requests are queued or running; with a type or an instance only those that suit it."""
        ...


def promotion(
    version: NewVersion, compared_with: Champion | None, current: Champion | None, *, deleted: bool = False
) -> tuple[bool, str]:
    """Decide whether a version becomes champion, and say why: the one rule for every implementation.

    ``current`` is the champion now, under the lock that moves it; ``deleted``: the model is gone.
    """
    summary = str(version.gate["summary"])
    if not version.passed and not version.waits:
        return False, f"not promoted: {summary.removeprefix('refused: ')}"
    if deleted:
        return False, "not promoted: the model was deleted meanwhile"
    compared, now = (None if c is None else (c.version, c.seq) for c in (compared_with, current))
    if compared != now:
        then = "no champion" if compared_with is None else f"version {compared_with.version}"
        since = "there is none" if current is None else f"it is version {current.version}"
        return False, f"not promoted: it was compared with {then} as champion, but the alias was moved: {since} now"
    if version.waits:
        return False, f"{PENDING}: {summary}"
    return True, f"promoted: {summary.removeprefix('passed: ')}"
