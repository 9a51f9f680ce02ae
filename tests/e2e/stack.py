"""A whole stack for a test: spoken to over HTTP and S3, killed at will. The embedded one, started as a user would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import localstack_client.session
import requests

from trainyard.testing.processes import free_ports

PORTS = ("ROUTER", "INGEST", "SCHEDULER", "PREDICTOR", "CONSOLE", "AWS", "POSTGRES", "IMDS")
READY_SECONDS = 90


def wait_until(condition, *, seconds, what, every=0.1):
    """Return the first truthy value of ``condition()``; fail after ``seconds`` saying ``what`` did not come."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(every)


class Running:
    """A stack that is ready, as its user sees it.

    ``ready`` says where it is; ``patience`` multiplies every wait, for stacks that share a small machine with more.
    """

    ready: dict
    session: requests.Session
    patience = 1

    def wait_until(self, condition, *, seconds, what):
        """Return the first truthy value of ``condition()``, as :func:`wait_until` does."""
        return wait_until(condition, seconds=seconds * self.patience, what=what)

    def call(self, method: str, path: str, *, expect: int | tuple[int, ...] = (200, 201, 204), **arguments):
        """Send one request to the one address; fail on another status."""
        response = self.session.request(method, self.ready["url"] + path, timeout=60, **arguments)
        wanted = (expect,) if isinstance(expect, int) else expect
        assert response.status_code in wanted, f"{method} {path}: {response.status_code} {response.text[:500]}"
        return response.json() if response.content else None

    def call_patiently(self, method: str, path: str, *, seconds: float = 60, **arguments):
        """Send a repeatable request until it is answered, as a client does whose server is being restarted."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                response = self.session.request(method, self.ready["url"] + path, timeout=30, **arguments)
                if response.status_code < 500:
                    assert response.ok, f"{method} {path}: {response.status_code} {response.text[:500]}"
                    return response.json() if response.content else None
                said = f"{response.status_code} {response.text[:200]}"
            except requests.RequestException as e:
                said = repr(e)
            assert time.monotonic() < deadline, f"{method} {path} was not answered within {seconds} s: {said}"
            time.sleep(0.2)

    def items(self, path: str):
        """Return all items of a list, page by page."""
        found, cursor = [], None
        while True:
            page = self.call_patiently("GET", path, params={"limit": 1000, **({"cursor": cursor} if cursor else {})})
            found += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    def outside(self, service):
        """Return a client of an AWS service that knows nothing of Trainyard."""
        with mock.patch.dict(os.environ, {"AWS_ENDPOINT_URL": self.ready["aws_endpoint_url"]}):
            return localstack_client.session.Session(localstack_host="127.0.0.1").client(service)

    def doctor(self) -> dict:
        """Return the doctor's report."""
        return self.call_patiently("GET", "/v1/doctor")

    def recovered(self, *, seconds: float = 120) -> None:
        """Wait until the doctor has nothing to say: after a start what was under way is put in order first."""
        wait_until(lambda: self.doctor()["healthy"], seconds=seconds, what="a healthy stack", every=2)

    def answers(self, model: str, rows: list[dict]) -> list[dict] | None:
        """Return what the model's champion answers, without the predictions' ids; None: it does not answer."""
        response = self.session.post(f"{self.ready['url']}/v1/predict/{model}", json={"rows": rows}, timeout=30)
        if response.status_code != 200:
            return None
        return [{k: v for k, v in row.items() if k != "prediction_id"} for row in response.json()["rows"]]


@dataclass
class Stack(Running):
    """The stack in ``data_dir``; ``start`` may be called again after ``kill``."""

    data_dir: Path
    settings: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen | None = None
    ready: dict | None = None
    python: Path = Path(sys.executable)

    def __post_init__(self):
        ports = free_ports(len(PORTS))
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TRAINYARD_"))},
            **{f"TRAINYARD_{name}_PORT": str(port) for name, port in zip(PORTS, ports, strict=True)},
            "TRAINYARD_DATA_DIR": str(self.data_dir),
            "TRAINYARD_ENV": "test",
            "TRAINYARD_LANDING_SWEEP_SECONDS": "2",
            "TRAINYARD_POLICY_TICK_SECONDS": "1",
            "TRAINYARD_LEASE_SECONDS": "6",
            "TRAINYARD_RESEND_SECONDS": "6",
            "TRAINYARD_IDLE_SECONDS": "5",
            **self.settings,
        }

    def start(self) -> None:
        """Start `up` and wait until it says that it is ready."""
        ready_file = self.data_dir / "run" / "ready.json"
        ready_file.unlink(missing_ok=True)
        self.process = subprocess.Popen([self.python, "-m", "trainyard_embedded", "up"], env=self.environment)
        wait_until(
            lambda: ready_file.exists() or self.process.poll() is not None,
            seconds=READY_SECONDS,
            what="the stack is ready",
        )
        assert self.process.poll() is None, "the stack ended while it started"
        self.ready = json.loads(ready_file.read_text())
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {Path(self.ready['admin_key_file']).read_text().strip()}"

    def stop(self) -> int:
        """Ask for an orderly stop; return the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=60)

    def kill(self) -> None:
        """kill -9 of the whole stack's supervisor; the kernel takes its children."""
        self.process.kill()
        self.process.wait(timeout=10)

    def children(self) -> dict[str, int]:
        """Return the running processes of the stack by name."""
        done = subprocess.run(
            [self.python, "-m", "trainyard_embedded", "status", "--json"],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return json.loads(done.stdout)["processes"]

    def kill_child(self, name: str) -> None:
        """kill -9 one process and wait until another one has taken its place."""
        pid = self.children()[name]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: self.children().get(name, pid) != pid, seconds=60, what=f"{name} is restarted")
