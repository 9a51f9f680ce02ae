"""The embedded stack as a process: real Postgres, the real emulator, and kill -9 of each of them."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest

from trainyard.adapters.aws.clients import AwsClients
from trainyard.clock import SystemClock
from trainyard.config import load, redact_url
from trainyard.processes import ProcessId, alive, bound, identify
from trainyard.testing.processes import end, free_port, free_ports, wait_until
from trainyard_embedded import identity, probes
from trainyard_embedded.errors import EXIT_IN_USE, EXIT_NOT_RUNNING, EXIT_PORT_BUSY
from trainyard_embedded.postgres import DATABASE, USER, Cluster, find_binaries

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIABLES = ("ROUTER", "INGEST", "SCHEDULER", "PREDICTOR", "CONSOLE", "AWS", "POSTGRES", "IMDS")
#: `up` with the part of the process table that this test is about
ONLY = """
import os, sys
from trainyard import config
from trainyard_embedded import commands, table
from trainyard_embedded.child import Child
from trainyard_embedded.errors import StackError
def some(*args):
    return [child for child in table.children(*args) if child.name in sys.argv[1:]]
DEAF = '''
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, lambda *_: None)
print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid, flush=True)
while True:
    time.sleep(1)
'''
def deaf(*args):
    return [Child("deaf", (sys.executable, "-c", DEAF), {}, stop_seconds=300)]
try:
    sys.exit(commands.up(config.load(os.environ), dict(os.environ), on_ready=lambda ready: None,
                         make_table=deaf if sys.argv[1:] == ["deaf"] else some))
except StackError as e:
    print(e, file=sys.stderr)
    sys.exit(e.exit_code)
"""


class Stack:
    """A data directory, ports of its own, and the `up` that works there."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "data"
        ports = zip(VARIABLES, free_ports(len(VARIABLES)), strict=True)
        self.environment = {f"TRAINYARD_{name}_PORT": str(port) for name, port in ports}
        self.environment |= {"TRAINYARD_DATA_DIR": str(self.root), "PATH": "/usr/bin:/bin"}
        self.process: subprocess.Popen[bytes] | None = None

    def up(self, *names: str) -> dict[str, Any]:
        """Start `up` with the named children and wait until it is ready; return what it tells other programs."""
        if self.process is not None:
            self.process.wait(20)
        self.process = subprocess.Popen([sys.executable, "-c", ONLY, *names], env=self.environment)
        wait_until(lambda: self.ready() is not None or self.ended(), "the stack")
        ready = self.ready()
        assert ready is not None, (self.root / "run" / "failure.json").read_text()
        return ready

    def ready(self) -> dict[str, Any] | None:
        """Return the content of ready.json if it is this `up`'s."""
        file = self.root / "run" / "ready.json"
        ready = json.loads(file.read_text()) if file.exists() else None
        return ready if ready and self.process and ready["pid"] == self.process.pid else None

    def ended(self) -> bool:
        """Tell whether `up` has ended."""
        return self.process is None or self.process.poll() is not None

    def children(self) -> dict[str, ProcessId]:
        """Return the recorded processes."""
        raw = json.loads((self.root / "run" / "children.json").read_text())
        return {name: ProcessId(**process) for name, process in raw.items()}

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `python -m trainyard_embedded`."""
        return subprocess.run(
            [sys.executable, "-m", "trainyard_embedded", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def connect(self) -> Any:
        """Connect to the database."""
        password = (self.root / "keys" / "postgres.password").read_text()
        port = self.environment["TRAINYARD_POSTGRES_PORT"]
        return psycopg2.connect(host="127.0.0.1", port=port, dbname=DATABASE, user=USER, password=password)

    def execute(self, statement: str) -> list[Any]:
        """Run one statement in a transaction of its own; return its rows."""
        with closing(self.connect()) as connection, connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def answers_sql(self) -> bool:
        """Tell whether the database answers."""
        try:
            self.execute("SELECT 1")
        except psycopg2.OperationalError:
            return False
        return True


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack that is not running yet; afterwards nothing of it runs."""
    stack = Stack(tmp_path)
    yield stack
    if stack.process is not None:
        end(stack.process, seconds=40)
    assert stack.command("down").returncode == 0
    assert str(stack.root) not in _commands()


def test_a_second_up_carries_on(stack: Stack) -> None:
    """Rows and objects are there again after down and up; keys and the password stay the same."""
    ready = stack.up("postgres", "aws")
    stack.execute("CREATE TABLE kept AS SELECT 7 AS x")
    config = load({"AWS_ENDPOINT_URL": ready["aws_endpoint_url"]})
    clients = AwsClients(config, access_key="test", secret_key="test")
    clients.s3.create_bucket(Bucket="kept")
    clients.s3.put_object(Bucket="kept", Key="a/b", Body=b"bytes")
    clients.close()
    before = {file: file.read_bytes() for file in (stack.root / "keys").iterdir()}
    live = stack.children()
    status = stack.command("status", "--json")
    assert status.returncode == 0
    shown = json.loads(status.stdout)["ready"]
    password = Path(shown.pop("database_password_file")).read_text(encoding="utf-8").strip()
    assert password in ready["database_url"]
    assert shown == {**ready, "database_url": redact_url(ready["database_url"])}
    assert json.loads(status.stdout)["processes"] == {name: child.pid for name, child in live.items()}
    assert ready["url"] in stack.command("status").stdout
    assert stack.command("down").returncode == 0
    assert not [name for name, child in live.items() if alive(child)]
    assert stack.process is not None
    assert stack.process.wait(10) == 0
    assert stack.command("status").returncode == EXIT_NOT_RUNNING
    stack.up("postgres", "aws")
    assert stack.execute("SELECT x FROM kept") == [(7,)]
    assert clients.s3.get_object(Bucket="kept", Key="a/b")["Body"].read() == b"bytes"
    clients.close()
    assert before == {file: file.read_bytes() for file in (stack.root / "keys").iterdir()}
    assert {file.stat().st_mode & 0o777 for file in before} == {0o600}


def test_postgres_comes_back_from_kill_9_with_every_row(stack: Stack) -> None:
    """With sessions open, the server is restarted after recovery and nothing committed is lost."""
    stack.up("postgres")
    stack.execute("CREATE TABLE kept AS SELECT 7 AS x")
    sessions = [stack.connect() for _ in range(3)]
    for session in sessions:
        session.cursor().execute("SELECT x FROM kept FOR UPDATE" if session is sessions[0] else "SELECT x FROM kept")
    first = stack.children()["postgres"]
    os.kill(first.pid, signal.SIGKILL)
    wait_until(lambda: not alive(first) and stack.answers_sql(), "the restart of Postgres")
    assert stack.execute("SELECT x FROM kept") == [(7,)]
    assert '"child.crashed"' in (stack.root / "logs" / "supervisor.log").read_text()
    for session in sessions:
        session.close()


def test_the_emulator_comes_back_from_kill_9(stack: Stack) -> None:
    """It is restarted and answers again."""
    stack.up("aws")
    first = stack.children()["aws"]
    os.kill(first.pid, signal.SIGKILL)
    check = probes.http_ready(int(stack.environment["TRAINYARD_AWS_PORT"]), "/_ministack/health")
    wait_until(lambda: not alive(first) and check() is None, "the restart of the emulator")


@pytest.mark.parametrize("everything", [True, False])
def test_up_carries_on_after_kill_9_of_the_supervisor(stack: Stack, everything: bool) -> None:
    """Whether its children were killed with it or not: the next `up` starts on the same data."""
    ready = stack.up("postgres", "aws")
    stack.execute("CREATE TABLE kept AS SELECT 7 AS x")
    victims = [ready["pid"], *(child.pid for child in stack.children().values() if everything)]
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    stack.up("postgres", "aws")
    assert stack.execute("SELECT x FROM kept") == [(7,)]


def test_a_stale_pid_file_that_names_a_stranger_does_not_matter(stack: Stack) -> None:
    """After a crash the number in Postgres' pid file may belong to another program, which is left alone."""
    stack.up("postgres")
    assert stack.command("down").returncode == 0
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as stranger:
        lines = f"{stranger.pid}\n{stack.root / 'postgres'}\n1\n{free_port()}\n\n127.0.0.1\n"
        (stack.root / "postgres" / "postmaster.pid").write_text(lines)
        stack.up("postgres")
        assert stack.execute("SELECT 1") == [(1,)]
        assert stranger.poll() is None
        stranger.kill()


def test_a_directory_in_use_is_refused_with_the_pid(stack: Stack) -> None:
    """The sentence names the process that holds it; that process is not disturbed."""
    ready = stack.up("postgres")
    for arguments in (("up",), ("up", "--detach")):
        second = stack.command(*arguments)
        assert second.returncode == EXIT_IN_USE
        assert f"in use by the process with pid {ready['pid']}" in second.stderr
        assert len(second.stderr.splitlines()) == 1
    assert stack.execute("SELECT 1") == [(1,)]


@pytest.mark.parametrize("detach", [True, False])
def test_a_busy_port_gets_one_sentence(stack: Stack, detach: bool) -> None:
    """It names the port and the variable that changes it, in front and in the background alike."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        stack.environment["TRAINYARD_CONSOLE_PORT"] = str(port)
        refused = stack.command("up", *(["--detach"] if detach else []))
    assert refused.returncode == EXIT_PORT_BUSY
    assert refused.stderr == (
        f"trainyard: port {port} is in use by another program; set TRAINYARD_CONSOLE_PORT to another port\n"
    )


def test_a_broken_database_directory_gets_one_sentence(stack: Stack) -> None:
    """Postgres is not started on it."""
    stack.up("postgres")
    assert stack.command("down").returncode == 0
    (stack.root / "postgres" / "global" / "pg_control").unlink()
    refused = stack.command("up")
    assert "is not a whole Postgres data directory" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_the_second_signal_ends_even_a_deaf_child_and_what_it_started(stack: Stack) -> None:
    """The first SIGTERM asks, the second kills the child's whole group."""
    stack.up("deaf")
    child = stack.children()["deaf"]
    log = stack.root / "logs" / "deaf.log"
    wait_until(lambda: log.read_text().endswith("\n"), "the deaf child")
    grandchild = identify(int(log.read_text()))
    assert grandchild is not None
    assert stack.process is not None
    stack.process.send_signal(signal.SIGTERM)
    supervisor = stack.root / "logs" / "supervisor.log"
    wait_until(lambda: not (stack.root / "run" / "ready.json").exists(), f"the stop (log: {supervisor})")
    assert alive(child)
    stack.process.send_signal(signal.SIGTERM)
    assert stack.process.wait(20) == 0
    wait_until(lambda: not alive(child) and not alive(grandchild), "the end of the group")


def _commands() -> str:
    """Return the command lines of all processes, as far as they can be seen."""
    if not Path("/proc/self/cmdline").exists():
        return subprocess.run(["/bin/ps", "axo", "args"], capture_output=True, text=True, check=True).stdout
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            lines.append(file.read_bytes().decode(errors="replace").replace("\0", " "))
    return "\n".join(lines)


def test_down_without_a_stack_is_no_error(stack: Stack) -> None:
    """Nothing to stop: exit code 0, and nothing is made."""
    assert stack.command("down").returncode == 0
    assert not stack.root.exists()


def _ways(binaries: Path) -> list[identity.RunAs]:
    if os.geteuid() != 0:
        return [identity.AsWeAre()]
    nobody = pwd.getpwnam("nobody")
    ways: list[identity.RunAs] = [
        identity.AsUser(nobody, binaries),
        identity.AsUser(nobody, binaries, keep_access=True),
    ]
    return [*ways, identity.InNamespace(), *ways] if identity.namespace_permitted() else ways


def test_postgres_runs_in_every_way_that_this_machine_permits() -> None:
    """As root: as another user, in a namespace, and as the other user again, on the same data; else as ourselves."""
    binaries = find_binaries()
    # Not under pytest's own directory, which only its owner may enter.
    root = Path(tempfile.mkdtemp(prefix="trainyard-"))
    port = free_port()
    for way in _ways(binaries):
        cluster = Cluster(root / "postgres", root / "password", port, binaries, way, SystemClock())
        cluster.prepare()
        if "--keep-access" in way.options:  # as in /root: nobody but root may enter
            root.chmod(0o700)
        command = bound(cluster.command(), parent=os.getpid(), number=signal.SIGINT, options=way.options)
        server = subprocess.Popen(command, env={"LC_ALL": "C"}, stderr=subprocess.DEVNULL)
        ready = probes.postgres_ready(port, DATABASE, USER, cluster.password)
        wait_until(lambda: ready() is None, f"Postgres as {way}")  # noqa: B023 - called before the next turn
        server.send_signal(signal.SIGINT)
        assert server.wait(20) == 0
    shutil.rmtree(root)


def test_a_child_ends_with_its_parent(tmp_path: Path) -> None:
    """`bound` children get their signal when the parent is killed (Linux), and are told apart by start time."""
    script = """if True:
        import os, subprocess, time
        from trainyard.processes import bound
        child = subprocess.Popen(bound(("/bin/sleep", "600"), parent=os.getpid()))
        print(child.pid, flush=True)
        time.sleep(600)
    """
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = identify(int(parent.stdout.readline()))
    assert child is not None
    assert not alive(ProcessId(child.pid, "another start"))
    assert ProcessId.parse(child.dump()) == child
    assert ProcessId.parse(child.dump()[:-5]) is None
    parent.kill()
    parent.wait(10)
    parent.stdout.close()
    wait_until(lambda: not alive(child), "the child's end")


def test_a_program_that_cannot_be_started_is_named() -> None:
    """The launcher ends with 126 and one line instead of a traceback."""
    done = subprocess.run(bound(("/no/such",), parent=None), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (126, 1)
    assert "/no/such" in done.stderr
