"""The demo, in short: a few hundred flights of three months tell the story to its end and leave nothing running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from stack import PORTS, wait_until

from trainyard.testing.processes import free_ports

SHORT = """
import os, sys
from trainyard import config
from trainyard_demo.main import run
from trainyard_demo.plan import Plan
plan = Plan(seed=7, months=(6, 7), spare=8, rows=1500, budget_seconds=3.0)
sys.exit(run(config.load(os.environ), os.environ, once={once}, as_json={once}, plan=plan))
"""


@pytest.fixture
def environment(tmp_path):
    """A data directory and ports of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TRAINYARD_"))}
    ports = zip(PORTS, free_ports(len(PORTS)), strict=True)
    return {
        **kept,
        **{f"TRAINYARD_{name}_PORT": str(port) for name, port in ports},
        "TRAINYARD_DATA_DIR": str(tmp_path / "demo"),
    }


def _start(environment, *, once):
    return subprocess.Popen(
        [sys.executable, "-c", SHORT.format(once=once)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _processes(environment):
    done = subprocess.run(
        [sys.executable, "-m", "trainyard_client.main", "status", "--json"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return json.loads(done.stdout)["processes"]


def test_the_story_holds_and_nothing_stays(environment):
    """Months are predicted, trained and gated; every check of the live figures passed; the stack is gone after."""
    demo = _start(environment, once=True)
    out, err = demo.communicate(timeout=150)
    assert demo.returncode == 0, err
    chapters = json.loads(out)
    assert [chapter["version"] for chapter in chapters] == list(range(1, len(chapters) + 1))
    assert any(chapter["promoted"] for chapter in chapters)
    assert not all(chapter["promoted"] for chapter in chapters), "a real month or the shuffled one is refused"
    for chapter in chapters:
        assert chapter["promoted"] == all(check["passed"] for check in chapter["gate"]["checks"])
    served = [chapter["live"] for chapter in chapters if chapter["live"]]
    assert served
    assert err.count("checked: log, answers, feedback") == len(served)
    assert "curl -s http://127.0.0.1:" in err
    assert _processes(environment) == {}


def test_ctrl_c_in_the_middle_stops_the_stack(environment):
    """An interrupted demo says so, ends with 130 and leaves nothing running."""
    demo = _start(environment, once=False)
    try:
        wait_until(lambda: _processes(environment), seconds=60, what="the stack starts", every=0.5)
        demo.send_signal(signal.SIGINT)
        out, err = demo.communicate(timeout=60)
    finally:
        demo.kill()
    assert (demo.returncode, "interrupted" in out) == (130, True), err
    assert _processes(environment) == {}
