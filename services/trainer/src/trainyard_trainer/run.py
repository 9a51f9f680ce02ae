"""One run: from a claimed request to a published version, or to the reason why there is none."""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING, Any, TypeVar

from trainyard import logs
from trainyard.alias_object import artifact_key
from trainyard.contracts.blobs import BlobExistsError, BlobMissingError
from trainyard.contracts.runs import LeaseLostError, NewVersion, Published, Trial
from trainyard.crashpoints import crashpoint
from trainyard.errors import ServiceError, TransientError
from trainyard_trainer import workdir
from trainyard_trainer.domain import (
    EXIT_DONE,
    BlockedError,
    CancelledError,
    RunFailedError,
    StoppedError,
    class_of_exit,
    deadline_seconds,
)
from trainyard_trainer.selfcheck import verified_artifact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from trainyard.clock import Clock
    from trainyard.contracts.runs import Job
    from trainyard.snapshot import Snapshot
    from trainyard_trainer.lease import LeaseKeeper
    from trainyard_trainer.ports import Outside, Stop, TrainerSettings

log = logs.get(__name__)
_Answer = TypeVar("_Answer")

_LEAST_PAUSE_SECONDS, _MOST_PAUSE_SECONDS = 0.2, 2.0
_LOOK_SECONDS = 0.1
#: How long a run insists on something outside that does not answer, while its lease lives.
_PATIENCE_SECONDS = 600.0


def pause(clock: Clock) -> None:
    """Wait a moment before something outside is asked again."""
    clock.sleep(random.uniform(_LEAST_PAUSE_SECONDS, _MOST_PAUSE_SECONDS))  # noqa: S311 - jitter


class Run:
    """One attempt to serve one request, under a lease that somebody else keeps (``keeper``)."""

    def __init__(self, outside: Outside, settings: TrainerSettings, stop: Stop, job: Job, keeper: LeaseKeeper) -> None:
        self._out = outside
        self._settings = settings
        self._stop = stop
        self._job = job
        self._keeper = keeper
        self._clock = outside.clock

    def execute(self) -> Published:
        """Read, train, verify, store, publish.

        Raises:
            LeaseLostError: the request is somebody else's now.
            BlockedError: there is nothing to test on; nothing is recorded yet.
            CancelledError, StoppedError: it was asked to end; nothing is recorded yet.
            RunFailedError: there will be no version.
        """
        with workdir.fresh(self._settings.work_dir) as directory:
            described = self._prepare(directory)
            crashpoint("K20")
            self._train(directory)
            crashpoint("K21")
            report = workdir.read_json(directory, workdir.REPORT)
            crashpoint("K22")
            data = verified_artifact(directory, described)
            crashpoint("K23")
            version = self._store(data, report, described)
            return self._publish(version)

    def _prepare(self, directory: Path) -> dict[str, Any]:
        """Fill the run's directory; return what job.json says."""

        def watch(rows: int) -> None:
            self._keeper.report({"stage": "reading", "done": rows, "total": 0})
            self.check()

        watch(0)
        try:
            snapshot = self.insist(
                lambda: self._out.snapshots.read(self._job.dataset_id, self._job.upto_seq, progress=watch)
            )
        except ServiceError as e:
            raise RunFailedError("data", e.message) from e
        self._look_for_test_rows(snapshot)
        described = {
            "model": self._job.model,
            "dataset": self._job.dataset,
            "label": self._job.label,
            "task": self._job.task,
            "settings": dict(self._job.settings),
            "known_seq": self._job.known_seq,
            "rows": snapshot.rows,
            "snapshot": workdir.write_snapshot(directory, snapshot),
            "champion_version": None if self._job.champion is None else self._job.champion.version,
            "champion_note": self._fetch_champion(directory),
        }
        workdir.write_json(directory, workdir.JOB, described)
        return described

    def _look_for_test_rows(self, snapshot: Snapshot) -> None:
        """Refuse to train what could not be tested: under the time rule only rows that no version has seen can test."""
        known = self._job.known_version
        if snapshot.schema.event_time is not None and known and not (snapshot.first_seq > self._job.known_seq).any():
            raise BlockedError(f"no new rows since version {known} to test on")

    def _fetch_champion(self, directory: Path) -> str:
        """Put the champion's artifact into the directory; return why it cannot be compared with, or ''."""
        champion = self._job.champion
        if champion is None:
            return ""
        note = (
            f"version {champion.version} cannot be compared with: its artifact %s; treated as if there were no champion"
        )
        try:
            blob = self.insist(lambda: self._out.blobs.get(champion.artifact_key))
        except BlobMissingError:
            return note % "is missing"
        if hashlib.sha256(blob.data).hexdigest() != champion.sha256:
            return note % "is not what was published"
        (directory / workdir.CHAMPION).write_bytes(blob.data)
        return ""

    def _train(self, directory: Path) -> None:
        """Let a child do the job, and end it when it must not go on."""
        deadline = self._clock.monotonic() + deadline_seconds(float(self._job.settings["budget_seconds"]))
        child = self._out.children.take()
        try:
            child.begin(directory)
            while (code := child.wait(_LOOK_SECONDS)) is None:
                self.check()
                progress = child.progress()
                if progress is not None:
                    self._keeper.report(progress)
                if self._clock.monotonic() > deadline:
                    raise RunFailedError("timeout", "the run took longer than its budget and the grace allow")
        finally:
            child.kill()
        if code == EXIT_DONE:
            return
        try:
            message = str(workdir.read_json(directory, workdir.ERROR)["message"])
        except FileNotFoundError:
            message = f"the training process ended with {code}: {child.last_words()[-2_000:]}"
        raise RunFailedError(class_of_exit(code), message)

    # --- storing and publishing ---

    def _store(self, data: bytes, report: Mapping[str, Any], described: Mapping[str, Any]) -> NewVersion:
        """Write the artifact under its hash; the same bytes may be there from an attempt that was cut short."""
        sha256 = hashlib.sha256(data).hexdigest()
        key = artifact_key(self._job.model, sha256)

        def put() -> None:
            crashpoint("K24")
            try:
                self._out.blobs.put(key, data, only_if_absent=True)
            except BlobExistsError:
                found = self._out.blobs.get(key).data
                if hashlib.sha256(found).hexdigest() != sha256:
                    raise RunFailedError("crash", f"another object stands under the key {key}") from None

        self.insist(put)
        crashpoint("K25")
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
            trials=[Trial(**trial) for trial in report["trials"]],
        )

    def _publish(self, version: NewVersion) -> Published:
        """Publish; when the answer is lost, look whether it happened before trying again."""
        deadline = self._clock.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                return self._out.runs.publish(self._job.lease, version, compared_with=self._job.champion)
            except (TransientError, LeaseLostError) as failure:
                found = self._look_up()
                if found is not None and found.run_id == self._job.lease.run_id:
                    return found
                if isinstance(failure, LeaseLostError) or self._keeper.lost:
                    raise LeaseLostError("the lease was lost before the version could be published") from failure
                if self._clock.monotonic() > deadline:
                    raise RunFailedError("transient", f"publishing did not work out: {failure}") from failure
                pause(self._clock)

    def _look_up(self) -> Published | None:
        """Return what came of the request, asking for as long as a lease lasts."""
        deadline = self._clock.monotonic() + self._settings.lease_seconds
        while True:
            try:
                return self._out.runs.published(self._job.lease.request_id)
            except TransientError as e:
                if self._clock.monotonic() > deadline:
                    raise LeaseLostError(f"the database did not say what came of the request: {e}") from e
                pause(self._clock)

    # --- small help ---

    def check(self) -> None:
        """Raise what ends the run early."""
        if self._keeper.lost:
            raise LeaseLostError("the lease could not be renewed")
        if self._keeper.cancelled:
            raise CancelledError("cancelled on request")
        if self._stop.reason:
            raise StoppedError(self._stop.reason)

    def insist(self, call: Callable[[], _Answer]) -> _Answer:
        """Call until it works, while the lease lives and patience lasts.

        Raises:
            LeaseLostError: the lease ran out first.
            RunFailedError: ``transient``: patience ran out first.
        """
        deadline = self._clock.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                return call()
            except TransientError as e:
                log.warning("run.outage", reason=str(e))
                if self._keeper.lost:
                    raise LeaseLostError("the lease ran out while something outside did not answer") from e
                if self._clock.monotonic() > deadline:
                    raise RunFailedError("transient", str(e)) from e
            pause(self._clock)
