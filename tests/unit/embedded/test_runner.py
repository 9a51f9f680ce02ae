"""The life of a child, with processes that are not real and time that a test moves."""

from __future__ import annotations

import itertools
import signal
from concurrent.futures import Executor, Future
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from trainyard.clock import ManualClock
from trainyard.processes import ProcessId
from trainyard_embedded.child import Child
from trainyard_embedded.errors import EXIT_NOT_READY, StackError
from trainyard_embedded.logfiles import LogFiles
from trainyard_embedded.runner import State
from trainyard_embedded.supervisor import Supervisor, check_table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class AtOnce(Executor):
    """Runs what it is given before it returns."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run ``fn`` now."""
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


class FakeProcess:
    """A process that ends when the test says so, or on the signals it obeys."""

    def __init__(self, name: str, number: int, heard: list[tuple[str, str]], obeys: set[signal.Signals]) -> None:
        self.identity = ProcessId(number, name)
        self.code: int | None = None
        self._name = name
        self._heard = heard
        self._obeys = obeys

    def poll(self) -> int | None:
        """Return what the test has set."""
        return self.code

    def signal(self, number: signal.Signals) -> None:
        """Note the signal; end on one that is obeyed."""
        self._heard.append((self._name, number.name))
        if number in self._obeys:
            self.code = 0

    def kill_group(self) -> None:
        """End for certain."""
        if self.code is None:
            self._heard.append((self._name, "SIGKILL"))
            self.code = -9


class Stage:
    """A supervisor over fakes: ``started`` lists names in order, ``heard`` the signals."""

    def __init__(self, directory: Path, *children: Child) -> None:
        self.clock = ManualClock()
        self.started: list[str] = []
        self.heard: list[tuple[str, str]] = []
        self.now: dict[str, FakeProcess] = {}
        self.records: list[dict[str, ProcessId]] = []
        self.obeys = {signal.SIGTERM, signal.SIGINT}
        self.supervisor = Supervisor(
            children,
            spawn=self._spawn,
            executor=AtOnce(),
            files=LogFiles(directory),
            clock=self.clock,
            record=self.records.append,
        )

    def _spawn(self, child: Child) -> FakeProcess:
        self.started.append(child.name)
        process = FakeProcess(child.name, len(self.started), self.heard, self.obeys)
        if child.once:
            process.code = 0
        self.now[child.name] = process
        return process

    def watch(self, seconds: float) -> None:
        """Let the supervisor watch for so long."""
        end = self.clock.monotonic() + seconds
        self.supervisor.watch(lambda: int(self.clock.monotonic() >= end))


def test_children_start_when_what_they_need_is_ready(tmp_path: Path) -> None:
    """A child starts after its needs, a step must have succeeded first, independent ones start together."""
    database_answers = [False]
    stage = Stage(
        tmp_path,
        Child("db", ("db",), probe=lambda: None if database_answers[0] else "starting"),
        Child("migrate", ("m",), needs=("db",), once=True),
        Child("web", ("w",), needs=("migrate",)),
        Child("router", ("r",)),
    )
    calls = 0

    def stop_asked() -> int:
        nonlocal calls
        calls += 1
        database_answers[0] = calls > 10
        return 0

    assert stage.supervisor.start(stop_asked)
    assert stage.started == ["db", "router", "migrate", "web"]
    assert stage.supervisor.states()["migrate"] is State.DONE


def test_a_stop_during_the_start_is_obeyed(tmp_path: Path) -> None:
    """Start returns False as soon as a stop is asked, and the stop then ends what runs."""
    stage = Stage(tmp_path, Child("db", ("db",), probe=lambda: "never"))
    assert not stage.supervisor.start(lambda: int(stage.clock.monotonic() > 1))
    stage.supervisor.stop(lambda: 1)
    assert stage.heard == [("db", "SIGTERM")]


def test_a_crashed_child_is_back_at_once_and_then_with_growing_pauses(tmp_path: Path) -> None:
    """The first restart has no pause; pauses grow to 5 s; half a minute of health forgets the crashes."""
    stage = Stage(tmp_path, Child("web", ("w",)))
    stage.supervisor.start(lambda: 0)
    pauses = []
    for _ in range(8):
        stage.now["web"].code = 1
        before, at = len(stage.started), stage.clock.monotonic()
        while len(stage.started) == before:
            stage.watch(0.1)
        pauses.append(stage.clock.monotonic() - at)
    assert pauses[0] <= 0.5
    assert all(earlier < later + 0.3 for earlier, later in itertools.pairwise(pauses))
    assert 5.0 <= pauses[-1] <= 5.5
    stage.watch(31)
    stage.now["web"].code = 1
    stage.watch(0.4)
    assert len(stage.started) == 10
    assert stage.supervisor.states()["web"] is State.READY


def test_a_restart_is_prepared_again_and_does_not_disturb_others(tmp_path: Path) -> None:
    """`prepare` runs before each start; children that needed the crashed one keep running."""
    prepared: list[str] = []
    stage = Stage(
        tmp_path, Child("db", ("db",), prepare=lambda: prepared.append("db")), Child("web", ("w",), needs=("db",))
    )
    stage.supervisor.start(lambda: 0)
    stage.now["db"].code = -9
    stage.watch(1)
    assert stage.started == ["db", "web", "db"]
    assert prepared == ["db", "db"]


def test_three_ends_before_ready_fail_the_start_with_the_log(tmp_path: Path) -> None:
    """The error names the child, how it ended, and the last line it wrote."""
    LogFiles(tmp_path).path("web").write_text("No module named trainyard_web\n\n")
    stage = Stage(tmp_path, Child("web", ("w",), probe=lambda: "no"))

    def stop_asked() -> int:
        if "web" in stage.now:
            stage.now["web"].code = 3
        return 0

    with pytest.raises(StackError, match=r"web ended with exit code 3 before.*web\.log.*No module named") as caught:
        stage.supervisor.start(stop_asked)
    assert caught.value.exit_code == EXIT_NOT_READY
    assert stage.started == ["web"] * 3


def test_a_step_that_fails_is_not_repeated(tmp_path: Path) -> None:
    """A migration that ends with another code than 0 fails the start at once."""
    stage = Stage(tmp_path, Child("migrate", ("m",), once=True))

    def stop_asked() -> int:
        if "migrate" in stage.now:
            stage.now["migrate"].code = 1
        return 0

    with pytest.raises(StackError, match="migrate ended with exit code 1"):
        stage.supervisor.start(stop_asked)
    assert stage.started == ["migrate"]


def test_a_child_that_never_gets_ready_fails_the_start_with_its_reason(tmp_path: Path) -> None:
    """The error gives the time waited and the probe's last words."""
    stage = Stage(tmp_path, Child("web", ("w",), probe=lambda: "/readyz answered 503", ready_seconds=7))
    with pytest.raises(StackError, match=r"not ready after 7 s \(/readyz answered 503\)"):
        stage.supervisor.start(lambda: 0)


def test_the_stop_goes_stage_by_stage_and_database_last(tmp_path: Path) -> None:
    """Higher stages end before lower ones are asked, each with its own signal."""
    stage = Stage(
        tmp_path,
        Child("db", ("db",), stage=0, stop_signal=signal.SIGINT),
        Child("aws", ("a",), stage=1),
        Child("web", ("w",), stage=2),
        Child("worker", ("w",), stage=2),
        Child("router", ("r",), stage=3),
    )
    stage.supervisor.start(lambda: 0)
    stage.supervisor.stop(lambda: 1)
    assert stage.heard == [
        ("router", "SIGTERM"),
        ("web", "SIGTERM"),
        ("worker", "SIGTERM"),
        ("aws", "SIGTERM"),
        ("db", "SIGINT"),
    ]
    assert set(stage.supervisor.states().values()) == {State.STOPPED}
    assert stage.records[-1] == {}


@pytest.mark.parametrize("asked_twice", [True, False])
def test_a_child_that_does_not_listen_is_killed(tmp_path: Path, asked_twice: bool) -> None:
    """After its time, or at the second request, a deaf child gets its kill signal and then SIGKILL."""
    db = Child("db", ("db",), stop_seconds=30, kill_signal=signal.SIGQUIT)
    stage = Stage(tmp_path, db, replace(db, name="web", kill_signal=signal.SIGKILL))
    stage.obeys = set()
    stage.supervisor.start(lambda: 0)
    stage.supervisor.stop(lambda: 2 if asked_twice else 1)
    took = stage.clock.monotonic()
    assert took < 30 if asked_twice else took > 30
    assert [number for name, number in stage.heard if name == "web"] == ["SIGTERM", "SIGKILL"]
    assert [number for name, number in stage.heard if name == "db"][:2] == ["SIGTERM", "SIGQUIT"]
    assert [number for name, number in stage.heard if name == "db"][-1] == "SIGKILL"


def test_the_record_names_exactly_the_live_processes(tmp_path: Path) -> None:
    """What a killed supervisor leaves can be found: each change of the live processes is recorded."""
    stage = Stage(tmp_path, Child("web", ("w",)), Child("once", ("o",), once=True))
    stage.supervisor.start(lambda: 0)
    stage.watch(1)
    assert stage.records[-1] == {"web": ProcessId(1, "web")}
    stage.now["web"].code = 1
    stage.watch(1)
    assert stage.records[-1] == {"web": ProcessId(3, "web")}


def test_a_table_that_cannot_be_started_is_refused() -> None:
    """Names are unique and needs stand before those that need them."""
    with pytest.raises(ValueError, match="twice"):
        check_table([Child("a", ()), Child("a", ())])
    with pytest.raises(ValueError, match="do not stand before"):
        check_table([Child("a", (), needs=("b",)), Child("b", ())])
