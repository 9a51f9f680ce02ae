"""One run: from a claimed request to a published version, or to the reason why there is none."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import version as installed
from typing import TYPE_CHECKING, Any

from trainyard import logs
from trainyard.contracts.blobs import BlobMissingError
from trainyard.contracts.searches import Invitation
from trainyard.contracts.studies import study_name
from trainyard.crashpoints import crashpoint, step
from trainyard.errors import ServiceError
from trainyard_trainer import reproduction, workdir
from trainyard_trainer.asking import Asking
from trainyard_trainer.domain import (
    EXIT_DONE,
    BlockedError,
    RunFailedError,
    class_of_exit,
    deadline_seconds,
    end_in_words,
    policy_of,
    trial_of,
)
from trainyard_trainer.guard import Guard
from trainyard_trainer.publication import Publication
from trainyard_trainer.selfcheck import verified_artifact
from trainyard_trainer.sharing import Sharing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from trainyard.contracts.runs import Job, Original, Published, Reproduction, Trial
    from trainyard.policy import Policy
    from trainyard.snapshot import Snapshot
    from trainyard_trainer.lease import LeaseKeeper
    from trainyard_trainer.ports import Outside, Stop, TrainerSettings, TrainingChild

log = logs.get(__name__)

_LOOK_SECONDS = 0.1


class Run:
    """One attempt to serve one request, under a lease that somebody else keeps (``keeper``)."""

    def __init__(self, outside: Outside, settings: TrainerSettings, stop: Stop, job: Job, keeper: LeaseKeeper) -> None:
        self._out = outside
        self._settings = settings
        self._job = job
        self._keeper = keeper
        self._run_log = keeper.run_log
        self._stage = ""
        self._clock = outside.clock
        self._study = study_name(job.lease.request_id, job.known_seq, installed("trainyard"))
        self._earlier: list[Trial] = []
        self.guard = Guard(keeper, stop, outside.clock)
        self._publication = Publication(outside, settings, stop, job, self.guard)

    def execute(self) -> Published | Reproduction:
        """Read, train, verify, store, publish; or fit a version again, and note how it compares.

        Raises:
            LeaseLostError: the request is somebody else's now.
            BlockedError: there is nothing to test on; nothing is recorded yet.
            CancelledError, StoppedError: it was asked to end; nothing is recorded yet.
            RunFailedError: there will be no version.
        """
        policy = policy_of(self._job)
        if self._job.reproduces is not None:
            return self._reproduce(self._job.reproduces, policy)
        with workdir.fresh(self._settings.work_dir) as directory:
            described = self._prepare(directory)
            self._train(directory, policy, self._sharing(directory, policy, described))
            crashpoint("K21")
            report = workdir.read_json(directory, workdir.REPORT)
            crashpoint("K22")
            data = verified_artifact(directory, described)
            crashpoint("K23")
            if policy.keep_extract:
                described["extract_key"] = self._publication.keep_extract(directory, described)
            version = self._publication.store(data, report, described)
            return self._publication.publish(version)

    def _reproduce(self, original: Original, policy: Policy) -> Reproduction:
        data, model = reproduction.original_file(original, self._out.blobs, self.guard)
        with workdir.fresh(self._settings.work_dir) as directory:
            (directory / workdir.ORIGINAL).write_bytes(data)
            described = reproduction.described(self._job, reproduction.as_seen(self._read(), model), directory)
            workdir.write_json(directory, workdir.JOB, described)
            self._train(directory, policy)
            environment = workdir.read_json(directory, workdir.REPORT)["environment"]
            outcome = reproduction.outcome(verified_artifact(directory, described), model, original, environment)
        self.guard.settle(lambda: self._out.runs.reproduced(self._job.lease, outcome, environment=environment))
        return outcome

    def _prepare(self, directory: Path) -> dict[str, Any]:
        """Fill the run's directory; return what job.json says."""
        snapshot = self._read()
        self._look_for_test_rows(snapshot)
        self._earlier = self._find_earlier()
        return workdir.write_job(
            directory,
            snapshot,
            model=self._job.model,
            dataset=self._job.dataset,
            label=self._job.label,
            settings=self._job.settings,
            task=self._job.task,
            known_seq=self._job.known_seq,
            champion_version=None if self._job.champion is None else self._job.champion.version,
            champion_note=self._fetch_champion(directory),
            trials=[asdict(trial) for trial in self._earlier],
        )

    def _find_earlier(self) -> list[Trial]:
        """Return what earlier runs of the request have finished on the same split of the same rows."""
        found = self.guard.work(lambda: self._out.studies.finished(self._study))
        if found:
            log.info("study.joined", trials=len(found))
        return found

    def _read(self) -> Snapshot:
        """Read the rows; a run that must end learns it between two chunks."""

        def watch(rows: int) -> None:
            self._keeper.report({"stage": "reading", "done": rows, "total": 0})
            self.guard.check()

        def read() -> Snapshot:
            with step("K20"):
                return self._out.snapshots.read(self._job.dataset_id, self._job.upto_seq, progress=watch)

        watch(0)
        try:
            return self.guard.work(read)
        except ServiceError as e:
            raise RunFailedError("poison" if e.code == "unknown_dataset" else "data", e.message) from e

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
            blob = self.guard.work(lambda: self._out.blobs.get(champion.artifact_key))
        except BlobMissingError:
            return note % "is missing"
        if hashlib.sha256(blob.data).hexdigest() != champion.sha256:
            return note % "is not what was published"
        (directory / workdir.CHAMPION).write_bytes(blob.data)
        return ""

    def _sharing(self, directory: Path, policy: Policy, described: Mapping[str, Any]) -> Sharing | None:
        """Return how others may join the search, as the policy has it; None: not at all."""
        if not policy.helpers:
            return None
        spent = sum(trial.seconds for trial in self._earlier if not trial.helped)
        end = self._clock.monotonic() + policy.budget_seconds - spent

        def invitation() -> Invitation:
            return Invitation(
                policy.helpers,
                max(0.0, end - self._clock.monotonic()),
                installed("trainyard"),
                described["snapshot"]["sha256"],
                workdir.read_json(directory, workdir.SCREENING),
            )

        earlier = [trial.number for trial in self._earlier]
        return Sharing(self._out.searches, self._job.lease, self._keeper, earlier=earlier, invitation=invitation)

    def _train(self, directory: Path, policy: Policy, sharing: Sharing | None = None) -> None:
        """Let a child do the job, and end it when it must not go on; what it has finished is stored in any case."""
        deadline = self._clock.monotonic() + deadline_seconds(policy)
        seated = None if sharing is None else sharing.seated
        join = partial(self._out.studies.join, self._study, seed=policy.seed, metric=policy.metric, seated=seated)
        asking = Asking(join, lambda: self._keeper.lost, self._clock, worker=self._settings.worker, sharing=sharing)
        child = self._out.children.take()
        with asking:
            try:
                child.begin(directory, asking.hear)
                while (code := child.wait(_LOOK_SECONDS)) is None:
                    self.guard.check()
                    self._listen(child)
                    if asking.failure is not None:
                        raise RunFailedError("crash", f"its study failed: {asking.failure}") from asking.failure
                    if self._clock.monotonic() > deadline:
                        raise RunFailedError("timeout", "the run took longer than its budget and the grace allow")
            finally:
                child.kill()
                self._listen(child)
                self._keeper.store_trials()
        if code == EXIT_DONE:
            return
        last_words = child.last_words()
        try:
            message = str(workdir.read_json(directory, workdir.ERROR)["message"])
        except FileNotFoundError:
            message = end_in_words(code, last_words)
        raise RunFailedError(class_of_exit(code, last_words), message)

    def _listen(self, child: TrainingChild) -> None:
        """Pass on what the child says: how far it is, and what it has finished."""
        progress = child.progress()
        self._run_log.training(child.wrote())
        if progress is not None:
            self._keeper.report(progress)
            if progress["stage"] != self._stage:
                self._stage = progress["stage"]
                self._run_log.say("info", str(self._stage))
        for said in child.trials():
            trial = trial_of(said)
            if trial is None:
                log.warning("trial.unreadable", said=str(said)[:200])
            else:
                self._keeper.keep(replace(trial, worker=self._settings.worker))
                given_up = ", given up early" if trial.pruned else ""
                loss = trial.metrics.get("loss", float("nan"))
                words = f"trial {trial.number}: {trial.kind}, loss {loss:.5g}, {trial.seconds:.2g} s{given_up}"
                self._run_log.say("info", words)
