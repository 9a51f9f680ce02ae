"""What a host that stopped at a bad moment leaves: the next one removes the files of the dead, never of the living."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from trainyard.clock import SystemClock
from trainyard.processes import ProcessId, alive
from trainyard.testing.processes import wait_until
from trainyard_ec2host.domain import Life
from trainyard_ec2host.edges import TrainerProcesses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

#: A trainer that works until a file `end` lies in its directory, and takes no other word for it.
TRAINER = """
import os, pathlib, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
work = pathlib.Path(os.environ["TRAINYARD_WORK_DIR"])
(work / "given").touch()
while not (work / "end").exists():
    time.sleep(0.05)
"""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Callable[[], TrainerProcesses]]:
    """Return a function that makes the trainers of a host, each time as the next host on the same disk finds them."""

    def make() -> TrainerProcesses:
        return TrainerProcesses(
            (sys.executable, "-c", TRAINER),
            lambda instance_id: {"TRAINYARD_WORK_DIR": str(tmp_path / "work" / instance_id)},
            pids=tmp_path / "pids",
            logs_dir=tmp_path / "logs",
            work=tmp_path / "work",
            clock=SystemClock(),
        )

    yield make
    if (tmp_path / "work/i-1").is_dir():
        (tmp_path / "work/i-1/end").touch()


def started(host: TrainerProcesses, tmp_path: Path) -> ProcessId:
    """Start the trainer of i-1, and return it once it is at work."""
    host.start("i-1")
    wait_until((tmp_path / "work/i-1/given").exists, "the trainer's work")
    process = ProcessId.parse((tmp_path / "pids/i-1.json").read_text())
    assert process is not None
    return process


def finish(host: TrainerProcesses, tmp_path: Path) -> None:
    """Let the trainer of i-1 end, and its host see it."""
    (tmp_path / "work/i-1/end").touch()
    wait_until(lambda: host.lives()["i-1"] is Life.ENDED, "the trainer's end")


def test_a_trainer_that_ended_before_the_next_host(host: Callable[[], TrainerProcesses], tmp_path: Path) -> None:
    """A host that goes between a trainer's end and dropping it leaves pid file and directory; the next has neither."""
    first = host()
    started(first, tmp_path)
    finish(first, tmp_path)
    first.sweep()
    assert (tmp_path / "work/i-1").exists()  # a host drops what it knows only when EC2 has heard
    second = host()
    second.sweep()
    assert second.lives() == {}
    assert list((tmp_path / "work").iterdir()) == []
    assert list((tmp_path / "pids").iterdir()) == []


@pytest.mark.parametrize("text", [None, "{"])
def test_a_living_trainer_keeps_its_directory(
    host: Callable[[], TrainerProcesses], tmp_path: Path, text: str | None
) -> None:
    """Even when its pid file was never written, or cut short; and its instance gets no second trainer meanwhile."""
    first = host()
    process = started(first, tmp_path)
    file = tmp_path / "pids/i-1.json"
    file.unlink() if text is None else file.write_text(text)
    second = host()
    second.sweep()
    assert alive(process)
    assert (tmp_path / "work/i-1/given").exists()
    with pytest.raises(BlockingIOError):
        second.start("i-1")
    finish(first, tmp_path)
    second.sweep()
    assert not (tmp_path / "work/i-1").exists()


def test_only_directories_of_instances_are_swept(host: Callable[[], TrainerProcesses], tmp_path: Path) -> None:
    """A trainer that could not be started leaves a directory, which goes; what else lies there is not ours."""
    trainers = host()
    for name in ("i-2", "lib"):
        (tmp_path / "work" / name / "x").mkdir(parents=True)
    (tmp_path / "work/i-3").touch()
    trainers.sweep()
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == ["i-3", "lib"]
