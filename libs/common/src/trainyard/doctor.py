"""The doctor: does everything that was promised hold, right now? Each check says what is wrong and how to mend it.

I1 rows equal the ledger · I2 every request has ended or moves · I3 one version per request, judged on rows that no
version was fitted on · I4 every alias leads to an artifact that works · I9 the audit log is whole.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from trainyard.alias_object import AliasObject, alias_key, decode_alias
from trainyard.contracts.blobs import BlobMissingError
from trainyard.errors import TrainyardError, TransientError
from trainyard.model import decode, self_test

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from trainyard.contracts.blobs import BlobStore
    from trainyard.contracts.registry import PublishedAlias

#: A moved alias's object is written within 2 s; while the scheduler starts again, a little later.
PUBLISHED_WITHIN_SECONDS = 5.0
#: Most problems that one check lists.
MOST_PROBLEMS = 20
_MEND_ROWS = (
    "The warehouse was changed by other means than the services: restore the dataset from a backup, or delete it and"
    " send its batches again."
)
_MEND_REQUESTS = (
    "Is trainyard_scheduler.main running, and can a trainer start (GET /v1/fleet)? Else cancel the request and ask"
    " again."
)
_MEND_VERSIONS = "Point the aliases at a sound version, and train again by hand."
_MEND_ALIASES = (
    "Restore the artifact from the bucket's versions, or point the alias at another version; an alias object that"
    " differs is rewritten by trainyard_scheduler.main within 2 s."
)
_MEND_AUDIT = "Entries were changed or removed in the database: compare with a backup and find out who could."


@dataclass(frozen=True)
class LedgerGap:
    """A batch whose rows are not what the ledger says."""

    dataset: str
    batch_id: str
    ledger_rows: int
    rows: int
    ledger_checksum: str
    checksum: str


@dataclass(frozen=True)
class StuckRequest:
    """An open request without evidence of progress."""

    request_id: str
    model: str
    state: str
    why: str


@dataclass(frozen=True)
class JudgedVersion:
    """A version as far as its honesty goes; ``holdout`` as the trainer wrote it."""

    model: str
    version: int
    request_id: str
    fence: int
    winner_fence: int
    request_state: str
    holdout: Mapping[str, Any]


@dataclass(frozen=True)
class StandingAlias:
    """An alias with its artifact, and how long ago it was moved, by the database's clock."""

    published: PublishedAlias
    moved_seconds_ago: float


class Evidence(Protocol):
    """What the doctor asks the database."""

    def ledger_gaps(self, limit: int) -> list[LedgerGap]:
        """Return batches whose rows differ from the ledger in number or checksum."""
        ...

    def stray_rows(self) -> list[str]:
        """Return one sentence for each dataset with rows that no committed batch accounts for."""
        ...

    def stuck_requests(self) -> list[StuckRequest]:
        """Return open requests that nobody holds and whose message was not sent for an hour."""
        ...

    def doubled_requests(self) -> list[str]:
        """Return one sentence for each request with more than one version."""
        ...

    def versions(self) -> list[JudgedVersion]:
        """Return all versions of all models, by model and number."""
        ...

    def aliases(self) -> Sequence[StandingAlias]:
        """Return every alias with its artifact and its age."""
        ...

    def audit_breaks(self) -> Iterator[str]:
        """Yield one sentence for each place where the audit chain does not hold."""
        ...


@dataclass(frozen=True)
class Check:
    """The answer to one question; ``mend`` says what to do when it did not pass."""

    id: str
    title: str
    passed: bool
    problems: list[str]
    mend: str


@dataclass(frozen=True)
class Report:
    """All answers."""

    checks: list[Check] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        """True when every check passed."""
        return all(check.passed for check in self.checks)


class Doctor:
    """Looks and changes nothing."""

    def __init__(self, evidence: Evidence, blobs: BlobStore) -> None:
        self._evidence = evidence
        self._blobs = blobs

    def examine(self) -> Report:
        """Run every check.

        Raises:
            TransientError: the database or the store does not answer: nothing can be said.
        """
        evidence = self._evidence
        return Report(
            [
                _check("I1", "Rows and checksums equal the ledger, batch by batch", self._ledger(), _MEND_ROWS),
                _check("I2", "Every training request has ended or moves", self._requests(), _MEND_REQUESTS),
                _check(
                    "I3", "One version for a request, judged on rows it never saw", self._versions(), _MEND_VERSIONS
                ),
                _check("I4", "Every alias leads to an artifact that predicts", self._aliases(), _MEND_ALIASES),
                _check("I9", "The audit log is whole", evidence.audit_breaks(), _MEND_AUDIT),
            ]
        )

    def _ledger(self) -> Iterator[str]:
        for gap in self._evidence.ledger_gaps(MOST_PROBLEMS):
            if gap.rows != gap.ledger_rows:
                said = f"has {gap.rows:,} rows where the ledger has {gap.ledger_rows:,}"
            else:
                said = f"has rows of checksum {gap.checksum} where the ledger has {gap.ledger_checksum}"
            yield f"dataset {gap.dataset}: batch {gap.batch_id} {said}"
        yield from self._evidence.stray_rows()

    def _requests(self) -> Iterator[str]:
        for stuck in self._evidence.stuck_requests():
            yield f"request {stuck.request_id} of model {stuck.model} is {stuck.state}: {stuck.why}"

    def _versions(self) -> Iterator[str]:
        yield from self._evidence.doubled_requests()
        found = self._evidence.versions()
        for version in found:
            name = f"version {version.version} of model {version.model}"
            if version.fence != version.winner_fence or version.request_state != "done":
                yield (
                    f"{name} carries fence {version.fence}, but its request {version.request_id} is"
                    f" {version.request_state} with fence {version.winner_fence}"
                )
        yield from honesty_problems(found)

    def _aliases(self) -> Iterator[str]:
        differing: set[tuple[str, str]] = set()
        for standing in self._evidence.aliases():
            alias = standing.published
            problem = self._artifact_problem(alias)
            if problem is not None:
                yield f"{_name(alias)}: {problem}"
            if self._object_problem(alias) is not None:
                differing.add((alias.model, alias.alias))
        if differing:
            yield from self._unpublished(differing)

    def _unpublished(self, differing: set[tuple[str, str]]) -> Iterator[str]:
        """Look again at aliases whose object differed: one that was moved just now is being published."""
        for standing in self._evidence.aliases():
            alias = standing.published
            if (alias.model, alias.alias) in differing and standing.moved_seconds_ago >= PUBLISHED_WITHIN_SECONDS:
                problem = self._object_problem(alias)
                if problem is not None:
                    yield f"{_name(alias)}: {problem}"

    def _artifact_problem(self, alias: PublishedAlias) -> str | None:
        try:
            data = self._blobs.get(alias.key).data
        except BlobMissingError:
            return f"there is no object {alias.key}"
        if len(data) != alias.size or hashlib.sha256(data).hexdigest() != alias.sha256:
            return f"{alias.key} is not the file that was registered: {len(data):,} bytes, another hash"
        try:
            model = decode(data)
            self_test(model)
        except TransientError:
            raise
        except TrainyardError as e:
            return f"{alias.key} does not load or does not predict as it did: {e}"
        return None if model.name == alias.model else f"{alias.key} is a model called {model.name}"

    def _object_problem(self, alias: PublishedAlias) -> str | None:
        key = alias_key(alias.model, alias.alias)
        wanted = AliasObject(
            alias.model, alias.alias, alias.version, alias.key, alias.sha256, alias.size, alias.weight, alias.seq
        )
        try:
            found = decode_alias(self._blobs.get(key).data)
        except BlobMissingError:
            return f"there is no object {key}"
        except ValueError as e:
            return f"{key} cannot be read: {e}"
        if found == wanted:
            return None
        return f"{key} says version {found.version}, seq {found.seq}; the database says {wanted.version}, {wanted.seq}"


def honesty_problems(versions: Iterable[JudgedVersion]) -> Iterator[str]:
    """Yield one sentence for each version judged on rows that it, or an older version of its model, was fitted on.

    Only the hold-outs of rule 'time' can tell by their bounds: test rows must lie behind every fitted row. Under the
    other rules membership is a fixed function of the row, the same for all versions of a model, so versions of one
    model must simply share the rule.
    """
    fitted: dict[str, tuple[int, int]] = {}
    rules: dict[str, tuple[str, int]] = {}
    for version in versions:
        held = version.holdout
        rule = str(held.get("rule", ""))
        name = f"version {version.version} of model {version.model}"
        first_rule, first = rules.setdefault(version.model, (rule, version.version))
        if rule != first_rule:
            yield f"{name} was judged under the rule {rule!r}, version {first} under {first_rule!r}"
        upto, by = fitted.get(version.model, (0, version.version))
        own = _number(held.get("fit_upto_seq"))
        if own > upto:
            upto, by = own, version.version
        test_from = held.get("test_from_seq")
        if rule.startswith("time") and isinstance(test_from, int) and test_from <= upto:
            yield f"{name} was judged on rows from {test_from:,}, but version {by} was fitted on rows up to {upto:,}"
        fitted[version.model] = (upto, by)


def _name(alias: PublishedAlias) -> str:
    return f"alias {alias.alias} of model {alias.model} (version {alias.version})"


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _check(ident: str, title: str, found: Iterable[str], mend: str) -> Check:
    problems: list[str] = []
    more = 0
    for problem in found:
        if len(problems) < MOST_PROBLEMS:
            problems.append(problem)
        else:
            more += 1
    if more:
        problems.append(f"and {more:,} more")
    return Check(ident, title, not problems, problems, "" if not problems else mend)
