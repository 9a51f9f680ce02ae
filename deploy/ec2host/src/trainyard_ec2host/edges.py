"""The EC2 API through boto3, and trainers as processes of this machine."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO

from trainyard import logs
from trainyard.adapters.aws.ec2 import ENV_TAG, LAUNCH_TAG, Ec2Fleet
from trainyard.adapters.aws.errors import translated
from trainyard.processes import ProcessId, alive, bound, identify, signal_group
from trainyard_ec2host.domain import INTERRUPT_TAG, Life, Machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from trainyard.clock import Clock

_log = logs.get(__name__)

#: what a trainer has to hand back its work, as on a real instance that is being terminated
STOP_SECONDS = 30.0
_LOGS_KEPT = 20
_NICE = ("--nice", "10")
#: the work directories of instances: their ids begin so
_INSTANCE = "i-*"


class Ec2Cloud:
    """The instances of one environment."""

    def __init__(self, client: Any, env: str) -> None:
        self._client = client
        self._fleet = Ec2Fleet(client, env)
        self._filters = [
            {"Name": f"tag:{ENV_TAG}", "Values": [env]},
            {"Name": "tag-key", "Values": [LAUNCH_TAG]},
            {"Name": "instance-state-name", "Values": ["running"]},
        ]

    def running(self) -> list[Machine]:
        """Return the running instances of the environment that were launched for training."""
        with translated("look for running instances"):
            pages = self._client.get_paginator("describe_instances").paginate(Filters=self._filters)
            return [
                _machine(instance)
                for page in pages
                for reservation in page["Reservations"]
                for instance in reservation["Instances"]
            ]

    def terminate(self, instance_ids: Sequence[str]) -> None:
        """End instances; ids that are unknown or already ended are not an error."""
        self._fleet.terminate(instance_ids)
        _log.info("instances.terminated", instance_ids=" ".join(instance_ids))


def _machine(instance: Mapping[str, Any]) -> Machine:
    tags = {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])}
    return Machine(
        instance_id=instance["InstanceId"],
        instance_type=instance.get("InstanceType", ""),
        image_id=instance.get("ImageId", ""),
        zone=instance.get("Placement", {}).get("AvailabilityZone", ""),
        private_ip=instance.get("PrivateIpAddress", ""),
        spot=instance.get("InstanceLifecycle") == "spot",
        interrupt_at=_time(instance["InstanceId"], tags.get(INTERRUPT_TAG)),
    )


def _time(instance_id: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        _log.warning("tag.unreadable", instance_id=instance_id, tag=INTERRUPT_TAG, value=text)
        return None
    return at


@dataclass
class _Trainer:
    """A trainer process: our child, or (``process`` None) one that an earlier host left."""

    identity: ProcessId
    process: subprocess.Popen[bytes] | None
    life: Life
    deadline: float = float("inf")


class TrainerProcesses:
    """Trainers as children of this process, with a pid file each so that the next host finds what this one leaves.

    ``environment`` gives the environment of an instance's trainer; ``work`` holds a directory per instance, which goes
    with it. A trainer has its directory locked as long as it lives, by a descriptor that it inherits: so a directory
    that nobody has locked is left over, whatever became of pid files when a host was killed.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Callable[[str], Mapping[str, str]],
        *,
        pids: Path,
        logs_dir: Path,
        work: Path,
        clock: Clock,
    ) -> None:
        self._command = tuple(command)
        self._environment = environment
        self._pids = pids
        self._logs = logs_dir
        self._work = work
        self._clock = clock
        self._trainers: dict[str, _Trainer] = {}
        for directory in (pids, logs_dir, work):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._adopt()

    def lives(self) -> dict[str, Life]:
        """Look at every process; kill those whose time to stop is over."""
        for instance_id, trainer in self._trainers.items():
            self._look(instance_id, trainer)
        return {instance_id: trainer.life for instance_id, trainer in self._trainers.items()}

    def start(self, instance_id: str) -> None:
        """Start the trainer of an instance, in a process group and a work directory of its own."""
        directory = self._work / instance_id
        directory.mkdir(mode=0o700, exist_ok=True)
        with self._open_log(instance_id) as output, _locked(directory) as lock:
            process = subprocess.Popen(
                bound(self._command, parent=os.getpid(), options=_NICE),
                env=dict(self._environment(instance_id)),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(lock,),
            )
        identity = identify(process.pid) or ProcessId(process.pid, "")
        self._trainers[instance_id] = _Trainer(identity, process, Life.RUNNING)  # it runs, file or no file
        self._pid_file(instance_id).write_text(identity.dump())
        _log.info("trainer.started", instance_id=instance_id, pid=process.pid)

    def stop(self, instance_id: str) -> None:
        """Ask a running trainer to end; it is killed when its time is over."""
        trainer = self._trainers[instance_id]
        if trainer.life is Life.RUNNING:
            trainer.life = Life.STOPPING
            trainer.deadline = self._clock.monotonic() + STOP_SECONDS
            _signal(trainer, signal.SIGTERM)
            _log.info("trainer.told_to_stop", instance_id=instance_id)

    def forget(self, instance_id: str) -> None:
        """Drop the process, its pid file and its work directory."""
        del self._trainers[instance_id]
        self._pid_file(instance_id).unlink(missing_ok=True)
        shutil.rmtree(self._work / instance_id, ignore_errors=True)

    def sweep(self) -> None:
        """Remove the work directories of trainers that ended while no host looked, or that could not be started."""
        for directory in self._work.glob(_INSTANCE):
            if directory.name in self._trainers or not directory.is_dir():
                continue
            try:
                with _locked(directory):
                    shutil.rmtree(directory)
            except BlockingIOError:
                continue  # its trainer still lives, although its pid file was lost; it was told to stop by the kernel
            except FileNotFoundError:
                continue  # somebody else was faster
            _log.info("directory.swept", instance_id=directory.name)

    def _look(self, instance_id: str, trainer: _Trainer) -> None:
        if trainer.life in {Life.ENDED, Life.STOPPED}:
            return
        code = trainer.process.poll() if trainer.process is not None else None
        if code is None and alive(trainer.identity):
            if self._clock.monotonic() > trainer.deadline:
                _log.warning("trainer.killed", instance_id=instance_id)
                signal_group(trainer.identity.pid, signal.SIGKILL)
            return
        if code is None and trainer.process is not None:
            return  # it has ended this very moment; its exit code comes with the next look
        signal_group(trainer.identity.pid, signal.SIGKILL)  # what it may have left in its group
        trainer.life = Life.ENDED if trainer.life is Life.RUNNING else Life.STOPPED
        _log.info("trainer.ended", instance_id=instance_id, code=code, by_itself=trainer.life is Life.ENDED)

    def _adopt(self) -> None:
        """Take over what a killed host left: its trainers were told to stop by the kernel, or are told now.

        The directories of trainers that have ended since go with the first sweep.
        """
        for file in self._pids.glob("*.json"):
            identity = ProcessId.parse(file.read_text())
            if identity is None or not alive(identity):
                file.unlink()
                continue
            trainer = _Trainer(identity, None, Life.ORPHANED, self._clock.monotonic() + STOP_SECONDS)
            self._trainers[file.stem] = trainer
            _signal(trainer, signal.SIGTERM)
            _log.warning("trainer.left_behind", instance_id=file.stem, pid=identity.pid)

    def _pid_file(self, instance_id: str) -> Path:
        return self._pids / f"{instance_id}.json"

    def _open_log(self, instance_id: str) -> BinaryIO:
        """Open the instance's log; the oldest logs go when there are many."""
        kept = sorted(self._logs.glob("trainer-*.log"), key=lambda path: path.stat().st_mtime)
        for path in kept[: max(0, len(kept) - _LOGS_KEPT + 1)]:
            path.unlink()
        path = self._logs / f"trainer-{instance_id}.log"
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def _signal(trainer: _Trainer, number: signal.Signals) -> None:
    """Signal the trainer itself, not its group: it stops its own children in order."""
    if alive(trainer.identity):
        os.kill(trainer.identity.pid, number)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[int]:
    """Hold the lock on a work directory; a process that inherits the descriptor keeps it beyond the block.

    Raises:
        BlockingIOError: a process has it.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor
    finally:
        os.close(descriptor)  # not LOCK_UN, which would take the lock from the heir too
