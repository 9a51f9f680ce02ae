"""Crash points: free when unarmed, exact when armed, impossible outside tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from trainyard.crashpoints import EXIT_CODE, CrashPointError, arm, crashpoint, step
from trainyard.errors import ConfigError, TransientError
from trainyard.testing.crashpoints import armed, chaos

if TYPE_CHECKING:
    from pathlib import Path

_PROGRAM = """
import os, sys
from trainyard.crashpoints import arm, crashpoint
arm(os.environ)
for number in range(3):
    crashpoint("K25")
    print("passed", number, flush=True)
"""


def _run(variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_unarmed_point_does_nothing() -> None:
    """A point that nobody armed has no effect, also while another one is armed."""
    crashpoint("K25")
    with armed("K26"):
        crashpoint("K25")


def test_error_at_the_nth_pass_only() -> None:
    """``nth=2`` lets the first pass go, fails the second and lets all later ones go."""
    with armed("K25", "error", nth=2):
        crashpoint("K25")
        with pytest.raises(CrashPointError, match="K25"):
            crashpoint("K25")
        crashpoint("K25")
    crashpoint("K25")


def test_error_is_a_failure_of_the_outside() -> None:
    """Code under test handles the armed error as it handles a service that does not answer."""
    assert issubclass(CrashPointError, TransientError)


@pytest.mark.parametrize(
    ("action", "code"), [("kill9", -signal.SIGKILL), ("sigterm", -signal.SIGTERM), ("exit", EXIT_CODE)]
)
def test_process_dies_where_it_was_told_to(action: str, code: int) -> None:
    """The process ends at the second pass, in the way that was asked for."""
    done = _run(chaos("K25", action, nth=2))
    assert done.stdout == "passed 0\n"
    assert done.returncode == code


def test_restarted_process_gets_past_a_point_armed_once(tmp_path: Path) -> None:
    """With ``once`` a supervisor's restart with the same environment does not die again."""
    variables = chaos("K25", "kill9", once=tmp_path / "fired")
    assert _run(variables).returncode == -signal.SIGKILL
    again = _run(variables)
    assert (again.returncode, again.stdout.count("passed")) == (0, 3)


@pytest.mark.parametrize("env", [{}, {"TRAINYARD_ENV": "prod"}, {"TRAINYARD_ENV": "dev"}])
def test_arming_is_refused_outside_tests(env: dict[str, str]) -> None:
    """A production process that finds CHAOS in its environment says so and does not start."""
    with pytest.raises(ConfigError, match="TRAINYARD_ENV=test"):
        arm({**env, "CHAOS": "K25:kill9"})
    crashpoint("K25")


@pytest.mark.parametrize("text", ["K25", ":kill9", "K25:boom", "K25:kill9:nth=0", "K25:kill9:nth=x", "K25:error:once="])
def test_unreadable_order_is_refused(text: str) -> None:
    """A typing error must not look like a test that passed."""
    with pytest.raises(ConfigError, match="CHAOS"):
        arm({"TRAINYARD_ENV": "test", "CHAOS": text})


def test_several_points_at_once() -> None:
    """Points are separated by commas; arming again replaces them all."""
    arm({"TRAINYARD_ENV": "test", "CHAOS": "K1:error,K2:error"})
    for name in ("K1", "K2"):
        with pytest.raises(CrashPointError):
            crashpoint(name)
    arm({})
    crashpoint("K1")


def test_a_lost_answer_comes_behind_the_step() -> None:
    """``lost`` lets the step happen and raises then; every other action comes before it."""
    done: list[str] = []
    for action in ("lost", "error"):
        arm({"TRAINYARD_ENV": "test", "CHAOS": f"K25:{action}"})
        with pytest.raises(CrashPointError), step("K25"):
            done.append(action)
    arm({})
    with step("K25"):
        done.append("unarmed")
    assert done == ["lost", "unarmed"]
