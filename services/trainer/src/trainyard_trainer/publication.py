"""The last steps of a run: the artifact to S3 under its hash, then version, request and alias in one transaction."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trainyard.alias_object import artifact_key, extract_key
from trainyard.contracts.blobs import BlobExistsError
from trainyard.contracts.runs import LeaseLostError, NewVersion, Published, Trial
from trainyard.crashpoints import crashpoint, step
from trainyard.errors import TransientError
from trainyard_trainer.domain import RunFailedError, StoppedError
from trainyard_trainer.extract import write_extract
from trainyard_trainer.guard import PATIENCE_SECONDS, pause

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from trainyard.contracts.runs import Job
    from trainyard_trainer.guard import Guard
    from trainyard_trainer.ports import Outside, Stop, TrainerSettings


class Publication:
    """What a run does once its artifact is verified. No child is at work any more: the fence alone protects."""

    def __init__(self, outside: Outside, settings: TrainerSettings, stop: Stop, job: Job, guard: Guard) -> None:
        self._out = outside
        self._settings = settings
        self._stop = stop
        self._job = job
        self._guard = guard
        self._clock = outside.clock

    def store(self, data: bytes, report: Mapping[str, Any], described: Mapping[str, Any]) -> NewVersion:
        """Write the artifact; the same bytes may be there from an attempt that was cut short.

        Raises:
            RunFailedError: ``crash``: another object stands under the key.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        key = artifact_key(self._job.model, sha256)

        def put() -> None:
            try:
                with step("K24"):
                    self._out.blobs.put(key, data, only_if_absent=True)
            except BlobExistsError:
                found = self._out.blobs.get(key).data
                if hashlib.sha256(found).hexdigest() != sha256:
                    raise RunFailedError("crash", f"another object stands under the key {key}") from None
            crashpoint("K25")

        self._guard.work(put)
        return NewVersion(
            artifact_key=key,
            sha256=sha256,
            size_bytes=len(data),
            snapshot_rows=described["rows"],
            snapshot_hash=described["snapshot"]["sha256"],
            holdout=report["holdout"],
            metrics=report["metrics"],
            gate=report["gate"],
            passed=report["passed"],
            waits=report.get("waits", False),
            trials=[self._made(Trial(**trial)) for trial in report["trials"]],
            profile=report.get("profile"),
            extract_key=described.get("extract_key"),
            report=report.get("evaluation"),
            environment=report.get("environment"),
            copy=data if len(data) <= self._settings.copy_most_bytes else None,
        )

    def _made(self, trial: Trial) -> Trial:
        """Return the trial with who has made it: us, where nobody else is named."""
        return trial if trial.worker else replace(trial, worker=self._settings.worker)

    def keep_extract(self, directory: Path, described: Mapping[str, Any]) -> str:
        """Store the rows that the version was made from, under their hash, and return the key.

        An object that is there holds the same rows: the key says so, and nobody replaces it.
        """
        key = extract_key(self._job.model, described["snapshot"]["sha256"])
        path = write_extract(directory, described["snapshot"])

        def put() -> None:
            try:
                with path.open("rb") as file:
                    self._out.blobs.put(key, file, only_if_absent=True)
            except BlobExistsError:
                return

        self._guard.work(put)
        return key

    def publish(self, version: NewVersion) -> Published:
        """Publish; when the answer is lost, look whether it happened before trying again.

        While the database is away this goes on for the rest of the lease: the training is done, only the record of it
        is missing. Where somebody took over meanwhile the fence refuses it.

        Raises:
            LeaseLostError: the lease ran out or was taken; whoever claims the request next finds the artifact stored.
            StoppedError: the trainer has to stop.
            RunFailedError: ``transient``: the lease lives, but publishing does not work out.
        """
        deadline = self._clock.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return self._out.runs.publish(self._job.lease, version, compared_with=self._job.champion)
            except (TransientError, LeaseLostError) as failure:
                found = self._guard.settle(lambda: self._out.runs.published(self._job.lease.request_id))
                if found is not None and found.run_id == self._job.lease.run_id:
                    return found
                if isinstance(failure, LeaseLostError):
                    raise
                self._guard.check_lease()
                if self._stop.reason:
                    raise StoppedError(self._stop.reason) from failure
                if self._clock.monotonic() > deadline:
                    raise RunFailedError("transient", f"publishing did not work out: {failure}") from failure
                pause(self._clock)
