"""Runs the steps of a deployment in their order, and remembers on S3 how far it got.

A step may be run again after a kill at any point, so a killed deployment is repeated from the step it was at, and ends
where an undisturbed one ends. When a step fails, what was live before is live again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trainyard.contracts.blobs import BlobMissingError
from trainyard.crashpoints import step as crash_step

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainyard.contracts.blobs import BlobStore


@dataclass
class Record:
    """How far a deployment got, and what was live before it; ``inputs`` says of what it is the deployment."""

    inputs: str
    done: list[str] = field(default_factory=list)
    complete: bool = False
    digests: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    before: dict[str, Any] = field(default_factory=dict)


class Records:
    """Where the record of an environment is kept."""

    def __init__(self, blobs: BlobStore, env: str) -> None:
        self._blobs = blobs
        self._key = f"{env}/record.json"

    def load(self) -> Record | None:
        """Return the newest record, or None."""
        try:
            return Record(**json.loads(self._blobs.get(self._key).data))
        except BlobMissingError:
            return None

    def save(self, record: Record) -> None:
        """Keep it."""
        self._blobs.put(self._key, json.dumps(vars(record), sort_keys=True).encode())

    def forget(self) -> None:
        """Remove it."""
        self._blobs.delete(self._key)


@dataclass(frozen=True)
class Step:
    """One step: a name, what it does in words, and the deed, which may be repeated."""

    name: str
    about: str
    do: Callable[[Record], None]
    #: Since this step people meet the new release: if it or a later one fails, the one before comes back.
    reaches_people: bool = False
    #: The release is good before this step: if it fails, it is repeated, and nothing comes back.
    behind_the_release: bool = False


@dataclass(frozen=True)
class Report:
    """What an engine tells while it works."""

    began: Callable[[Step], None]
    skipped: Callable[[Step], None]
    rolled_back: Callable[[Step, Exception], None]


class Engine:
    """Runs steps under a lease.

    Args:
        check: raises when the lease is lost; called before every step.
        roll_back: brings back what was live before; may be repeated.
    """

    def __init__(
        self,
        records: Records,
        steps: Sequence[Step],
        *,
        check: Callable[[], None],
        roll_back: Callable[[Record], None],
        report: Report,
    ) -> None:
        self._records = records
        self._steps = steps
        self._check = check
        self._roll_back = roll_back
        self._report = report

    def apply(self, inputs: str, before: Callable[[], dict[str, Any]]) -> Record:
        """Run every step that is not done; ``before`` tells what is live, and is asked when a deployment begins.

        Raises:
            Exception: what a step raised, after what was live before was brought back.
        """
        record = self._records.load()
        if record is None or record.complete or record.inputs != inputs:
            # What an unfinished deployment of something else found live is what people had last in good order.
            found = before() if record is None or record.complete else record.before
            record = Record(inputs, before=found)
            self._records.save(record)
        for step in self._steps:
            self._check()
            if step.name in record.done:
                self._report.skipped(step)
                continue
            self._run(step, record)
        record.complete = True
        self._records.save(record)
        return record

    def _run(self, step: Step, record: Record) -> None:
        self._report.began(step)
        try:
            with crash_step(f"deploy {step.name}"):
                step.do(record)
        except Exception as e:
            if not step.behind_the_release and any(
                one.reaches_people and (one.name in record.done or one is step) for one in self._steps
            ):
                self._report.rolled_back(step, e)
                self._roll_back(record)
                # Beyond what people meet, all stays done: the next try begins where they would meet it.
                record.done = [name for name in record.done if not self._at_or_behind_people(name)]
                self._records.save(record)
            raise
        record.done.append(step.name)
        self._records.save(record)

    def _at_or_behind_people(self, name: str) -> bool:
        names = [step.name for step in self._steps]
        first = next(index for index, step in enumerate(self._steps) if step.reaches_people)
        return names.index(name) >= first
