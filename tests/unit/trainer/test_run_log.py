"""What a run says is kept for people: in its order, within bounds, and without holding anybody up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trainyard import logs
from trainyard.clock import ManualClock
from trainyard.contracts.runs import MAX_LINE_CHARS
from trainyard.errors import TransientError
from trainyard.testing.fakes import MemoryRuns
from trainyard_trainer import run_log
from trainyard_trainer.run_log import RunLog

if TYPE_CHECKING:
    from conftest import World

    from trainyard.contracts.runs import Line

log = logs.get("somewhere")


@pytest.fixture(autouse=True)
def everything(caplog: pytest.LogCaptureFixture) -> None:
    """Log as a trainer does."""
    caplog.set_level("INFO")


class Said:
    """A run that somebody holds, and its log."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.runs = MemoryRuns(self.clock)
        request_id = self.runs.add()
        claim = self.runs.claim(request_id, worker="w", instance_id=None, instance_type=None, lease_seconds=60)
        assert claim.job is not None
        self.run = self.runs.requests[request_id].runs[0]
        self.log = RunLog(self.runs, claim.job.lease.run_id, self.clock)

    def lines(self) -> list[Line]:
        """Return what is stored."""
        return [line for _, line in sorted(self.run.lines.items())]


def test_a_run_tells_its_story(world: World) -> None:
    """From the claim to the version: the trainer's own lines, its stages and every trial, by its clock."""
    request_id = world.request()
    world.trainer.step()
    (run,) = world.row(request_id).runs
    lines = [run.lines[number] for number in range(1, len(run.lines) + 1)]
    texts = [line.text for line in lines]
    assert texts[0] == "run.started attempt=1 upto_seq=400"
    assert "fitting" in texts
    assert any(": linear, loss " in text for text in texts)
    assert texts[-1].startswith("version.published version=1 promoted=True")
    assert {(line.level, line.source) for line in lines} == {("info", "trainer")}


def test_what_the_training_process_writes_is_told_apart() -> None:
    """Libraries' lines, printable, cut and none of them empty; faults by their level, with where they were raised."""
    said = Said()
    with said.log:
        said.log.training(["warn: \x1b[31mred\x00\n", "\n", "x" * 5_000])
        try:
            raise ValueError("no such thing")
        except ValueError as e:
            log.error("run.crashed", error=e)  # noqa: TRY400 - the logger takes the exception as a field
    (warned, long, crashed, *trace) = said.lines()
    assert (warned.source, warned.text) == ("training", "warn:  [31mred")
    assert len(long.text) == MAX_LINE_CHARS
    assert (crashed.level, crashed.source, crashed.text) == ("error", "trainer", "run.crashed")
    assert trace[-1].text == "ValueError: no such thing"
    log.info("afterwards")
    assert said.lines()[-1] == trace[-1]


def test_a_run_without_end_has_its_first_and_its_last_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers show how many are left out between them."""
    monkeypatch.setattr(run_log, "MOST_LINES", 3)
    said = Said()
    with said.log:
        said.log.training([f"line {i}" for i in range(1, 1_001)])
        said.log.store()
        assert [line.number for line in said.lines()] == [1, 2, 3]
    assert [line.number for line in said.lines()] == [1, 2, 3, *range(801, 1_001)]


def test_lines_wait_for_the_database() -> None:
    """An outage loses none and costs the run nothing; nobody is called for lines that are kept for the end."""
    said = Said()
    woken: list[int] = []
    said.log.woken = lambda: woken.append(1)
    said.runs.outage = TransientError("away")
    with said.log:
        log.warning("first", reason="r")
        said.log.store()
        assert said.lines() == []
        said.runs.outage = None
        log.info("second")
        said.log.store()
        assert [(line.number, line.level, line.text) for line in said.lines()] == [
            (1, "warning", "first reason=r"),
            (2, "info", "second"),
        ]
    assert len(woken) == 2
