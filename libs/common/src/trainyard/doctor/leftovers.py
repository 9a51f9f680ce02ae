"""I8: nothing is left over: instances, workers, launches, runs, sessions, locks, directories."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard.contracts.fleet import Fleet, Instance
    from trainyard.doctor.evidence import Database, LaunchRow, Leftovers, Machine, WorkerRow
    from trainyard.doctor.report import Findings

#: A session of ours ends by itself after 60 s of idleness inside a transaction.
IDLE_SECONDS = 60.0
#: An instance boots, and its trainer says its first word, within this; what ends has ended within it too.
_SETTLED_SECONDS = 300.0
#: A trainer speaks every few seconds.
_SILENT_SECONDS = 180.0
_MEND_SESSION = "End it with: SELECT pg_terminate_backend(PID); then find out which program left it."
_MEND_PREPARED = "End it with ROLLBACK PREPARED in psql: Trainyard prepares no transactions."
_MEND_RUN = (
    "The request's next claim closes it. When the request has ended there is none: set the run's state to 'lost' in"
    " core.run."
)
_MEND_STRANGER = (
    "The ledger does not know it, so its cost is in no limit. The scheduler ends it after"
    " TRAINYARD_BOOT_SECONDS; else terminate it with `aws ec2 terminate-instances`."
)
_MEND_FLEET = (
    "The scheduler ends it: is it running, and does EC2 answer? Else terminate it with `aws ec2 terminate-instances`."
)
_MEND_SILENT = (
    "Its lease runs out and the request goes on elsewhere; the scheduler's fleet loop ends the instance. See its log"
    " for what happened to the trainer."
)
_MEND_DIRECTORY = (
    "The EC2 host removes it as soon as no trainer is at work in it: is trainyard_ec2host running? Its log says what"
    " hinders it (`host.hindered`)."
)


def nothing_is_left_over(findings: Findings, database: Database, fleet: Fleet | None, machine: Machine | None) -> None:
    """Compare what runs with what should."""
    instances = [] if fleet is None else fleet.instances()
    left = database.leftovers(IDLE_SECONDS, [instance.launch_id for instance in instances])
    _sessions(findings, left)
    if fleet is None:
        findings.note("no fleet was named: instances were not looked at")
    else:
        _instances(findings, instances, left)
        _launches(findings, instances, left.launches)
    directories = None if machine is None else machine.work_directories()
    if directories is None:
        findings.note("the trainers' work directories are on other machines: they were not looked at")
        return
    alive = {instance.instance_id for instance in instances if instance.state not in {"terminated", "stopped"}}
    for directory in directories:
        if fleet is not None and directory.name not in alive and directory.age > _SETTLED_SECONDS:
            findings.problem(
                f"the work directory of instance {directory.name}, which is gone, was last written"
                f" {directory.age:,.0f} s ago",
                _MEND_DIRECTORY,
            )


def _sessions(findings: Findings, left: Leftovers) -> None:
    for session in left.sessions:
        who = f"session {session.pid} ({session.application or 'without a name'})"
        if session.pid is None:
            findings.problem(f"a prepared transaction {session.what} for {session.seconds:,.0f} s", _MEND_PREPARED)
        else:
            findings.problem(f"{who} {session.what} for {session.seconds:,.0f} s", _MEND_SESSION)
    for run in left.runs:
        findings.problem(
            f"run {run.run_id} counts as running, but its request {run.request_id} is {run.request_state}", _MEND_RUN
        )


def _instances(findings: Findings, instances: Sequence[Instance], left: Leftovers) -> None:
    launches = {launch.id: launch for launch in left.launches}
    workers: dict[str, WorkerRow] = {}
    for worker in left.workers:
        known = workers.get(worker.instance_id or "")
        if worker.instance_id is not None and (known is None or worker.silent < known.silent):
            workers[worker.instance_id] = worker
    for instance in instances:
        launch = launches.get(instance.launch_id)
        if not instance.alive:
            continue
        name = f"instance {instance.instance_id} ({instance.instance_type}, {instance.state})"
        if launch is None:
            findings.problem(f"{name} belongs to no launch of the ledger", _MEND_STRANGER)
        elif launch.age > _SETTLED_SECONDS and launch.state in {"ended", "failed"}:
            findings.problem(f"{name} still runs, {launch.age:,.0f} s after its launch {launch.state}", _MEND_FLEET)
        else:
            _worker_of(findings, name, launch, workers.get(instance.instance_id))


def _worker_of(findings: Findings, name: str, launch: LaunchRow, worker: WorkerRow | None) -> None:
    if worker is None or worker.state == "ended":
        if launch.age > _SETTLED_SECONDS and (worker is None or worker.silent > _SILENT_SECONDS):
            findings.problem(f"{name} has had no trainer for {launch.age:,.0f} s", _MEND_FLEET)
    elif worker.silent > _SILENT_SECONDS:
        findings.problem(f"worker {worker.id} on {name} has been silent for {worker.silent:,.0f} s", _MEND_SILENT)


def _launches(findings: Findings, instances: Sequence[Instance], launches: Sequence[LaunchRow]) -> None:
    alive = {instance.launch_id for instance in instances if instance.alive}
    for launch in launches:
        if launch.state not in {"asked", "launched"} or launch.id in alive or launch.age <= _SETTLED_SECONDS:
            continue
        findings.problem(
            f"launch {launch.id} has been '{launch.state}' for {launch.age:,.0f} s and no instance of it runs",
            _MEND_FLEET,
        )
