"""Training processes: started ahead, without credentials, ended for certain, and with OpenMP where there is none."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from trainyard.clock import SystemClock
from trainyard.testing.processes import wait_until
from trainyard_trainer import openmp, workdir
from trainyard_trainer.children import ChildProcess, ChildProcesses, child_environment, memory_limit

LINUX = sys.platform.startswith("linux")
READ = "import sys; path = sys.stdin.readline().strip(); "


def children(tmp_path: Path, script: str) -> ChildProcesses:
    """Return children that run ``script``."""
    return ChildProcesses(tmp_path, child_environment(tmp_path, {}), (sys.executable, "-c", script))


def deaf(_said: object, _answer: object) -> None:
    """Hear nothing of the study."""


def ended(child: ChildProcess) -> int:
    """Return the exit code, within a deadline."""
    deadline = SystemClock().monotonic() + 30
    while (code := child.wait(0.2)) is None:
        assert SystemClock().monotonic() < deadline
    child.kill()
    return code


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("sys.exit(0)", 0),
        ("sys.exit(65)", 65),
        ("import os; os.kill(os.getpid(), 9)", -signal.SIGKILL),
        ("import ctypes; ctypes.string_at(0)", -signal.SIGSEGV),
    ],
)
def test_exit_codes_and_signals_are_seen(tmp_path: Path, script: str, code: int) -> None:
    """How a child ended is what the parent sees, signals as negative numbers."""
    child = children(tmp_path, READ + script).take()
    child.begin(tmp_path, deaf)
    assert ended(child) == code


def test_a_hanging_child_is_killed(tmp_path: Path) -> None:
    """A child that does not end is ended, and nothing of it is left."""
    child = children(tmp_path, READ + "import time; time.sleep(600)").take()
    child.begin(tmp_path, deaf)
    assert child.wait(0.1) is None
    pid = child._process.pid
    child.kill()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_progress_and_last_words(tmp_path: Path) -> None:
    """JSON lines on standard output are progress; everything else is kept as last words."""
    script = READ + (
        'print(\'a library talks\'); print(\'{"stage": "fitting", "done": 1, "total": 5}\', flush=True);'
        "raise SystemError('at the end')"
    )
    child = children(tmp_path, script).take()
    child.begin(tmp_path, deaf)
    assert ended(child) == 1
    assert child.progress() == {"stage": "fitting", "done": 1, "total": 5}
    assert child.progress() is None
    assert "a library talks" in child.last_words()
    assert "SystemError: at the end" in child.last_words()


def test_finished_trials_are_heard(tmp_path: Path) -> None:
    """Every trial that a child reports is passed on once, in order, and is no progress."""
    script = READ + (
        "import json; print(json.dumps({'trial': {'number': 1}})); print(json.dumps({'stage': 'searching'}));"
        "print(json.dumps({'trial': {'number': 2}})); print('[1]'); print(json.dumps({'trial': 3}))"
    )
    child = children(tmp_path, script).take()
    child.begin(tmp_path, deaf)
    assert ended(child) == 0
    assert list(child.trials()) == [{"number": 1}, {"number": 2}]
    assert list(child.trials()) == []


def test_what_a_child_has_started_ends_with_it(tmp_path: Path) -> None:
    """A hanging child is killed with its whole process group, and one that ends leaves nothing behind."""
    start = (
        READ
        + "import json, subprocess; p = subprocess.Popen(['sleep', '600']);"
        + "print(json.dumps({'stage': p.pid}), flush=True);"
    )
    for script, waits in ((start + "p.wait()", True), (start, False)):
        child = children(tmp_path, script).take()
        child.begin(tmp_path, deaf)
        heard: list[int] = []

        def told(child: ChildProcess = child, heard: list[int] = heard) -> bool:
            progress = child.progress()
            heard.extend([int(progress["stage"])] if progress else [])
            return bool(heard)

        wait_until(told, "the grandchild")
        if waits:
            assert child.wait(0.1) is None
        else:
            ended(child)
        child.kill()
        wait_until(lambda heard=heard: not _runs(heard[0]), "the grandchild to end", seconds=10)


def test_memory_is_limited(tmp_path: Path) -> None:
    """Where the system can limit it, an allocation beyond the limit fails inside the child, and it says so."""
    script = READ + "held = bytearray(1 << 30)"
    pool = ChildProcesses(
        tmp_path, child_environment(tmp_path, {}), (sys.executable, "-c", script), memory=memory_limit(500)
    )
    child = pool.take()
    child.begin(tmp_path, deaf)
    assert (ended(child), "MemoryError" in child.last_words()) == ((1, True) if LINUX else (0, False))


def test_how_much_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting, or nine tenths of the machine; no limit where the system knows none."""
    monkeypatch.setattr(sys, "platform", "linux")
    assert memory_limit(1_500) == 1_500_000_000
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert memory_limit(0) == int(whole * 0.9)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert memory_limit(1_500) is None


def test_a_child_waits_ahead_and_is_used_once(tmp_path: Path) -> None:
    """The one that waits is the one that is taken; a dead one is replaced; the last one is ended."""
    pool = children(tmp_path, READ)
    pool.warm()
    waiting = pool._waiting
    pool.warm()
    assert pool._waiting is waiting
    assert pool.take() is waiting
    waiting.kill()
    pool.warm()
    dead = pool._waiting
    assert dead is not None
    dead._process.kill()
    dead._process.wait(10)
    other = pool.take()
    assert other is not dead
    other.kill()
    pool.warm()
    last = pool._waiting
    pool.close()
    assert not last.alive()


def test_a_child_gets_no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the parent's environment nothing but a path reaches the child: no keys, addresses or database."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("TRAINYARD_DATABASE_URL", "postgresql://u:p@h/d")
    child = children(tmp_path, READ + "import json, os; print(json.dumps({'stage': ' '.join(os.environ)}))").take()
    child.begin(tmp_path, deaf)
    assert ended(child) == 0
    progress = child.progress()
    assert progress is not None
    names = set(progress["stage"].split())
    assert names >= {"PATH", "OMP_NUM_THREADS"}
    assert not [name for name in names if name.startswith(("AWS", "TRAINYARD", "PG"))]


def test_children_end_with_their_parent(tmp_path: Path) -> None:
    """kill -9 of the parent ends a child that is at work (Linux), and closes the input of one that waits."""
    script = (
        "import sys, time; from pathlib import Path; from trainyard_trainer.children import *\n"
        f"home = Path({str(tmp_path)!r})\n"
        "command = (sys.executable, '-c', 'import sys, time; sys.stdin.readline(); time.sleep(600)')\n"
        "child = ChildProcess(command, home, child_environment(home, {})); child.begin(home, print)\n"
        "print(child._process.pid, flush=True); time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait(10)
    parent.stdout.close()
    if sys.platform.startswith("linux"):
        wait_until(lambda: not _runs(pid), "the child to end with its parent", seconds=10)
    else:
        os.kill(pid, signal.SIGKILL)


def _runs(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] not in "ZX"


def test_run_directories_are_private(tmp_path: Path) -> None:
    """Nobody else can look into a run's directory, and it is gone afterwards."""
    with workdir.fresh(tmp_path / "work") as directory:
        assert directory.stat().st_mode & 0o777 == 0o700
        (directory / "x").write_text("x")
    assert not directory.exists()


# --- OpenMP ---


def test_nothing_is_done_where_the_system_has_openmp(tmp_path: Path) -> None:
    """A library that is present needs no link."""
    assert openmp.variables(tmp_path / "lib", present=True) == {}
    assert not (tmp_path / "lib").exists()


def test_lightgbm_runs_on_the_library_that_scikit_learn_carries(tmp_path: Path) -> None:
    """With the system's libgomp taken for absent, LightGBM loads the one of scikit-learn's wheel, and trains."""
    for _ in range(2):  # the second time the link is there
        found = openmp.variables(tmp_path / "lib", present=False)
    assert found == {"LD_LIBRARY_PATH": str(tmp_path / "lib")}
    script = (
        "import json, lightgbm, numpy\n"
        "data = lightgbm.Dataset(numpy.arange(200.0)[:, None], label=numpy.arange(200) % 2)\n"
        "lightgbm.train({'verbosity': -1, 'num_threads': 1}, data, 2)\n"
        "paths = {line.split()[-1] for line in open('/proc/self/maps') if 'gomp' in line}\n"
        "print(json.dumps(sorted(paths)))\n"
    )
    environment = child_environment(tmp_path, found)
    done = subprocess.run(
        [sys.executable, "-I", "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    loaded = json.loads(done.stdout)
    assert loaded
    assert all("scikit_learn.libs" in path for path in loaded)
