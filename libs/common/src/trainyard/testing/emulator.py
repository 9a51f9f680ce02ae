"""AWS emulators on free ports: three of them, because they differ where it matters; child processes, or containers.

They disagree about stale receipts, error codes, what a fleet request copies to its instances and what survives a
kill; a contract suite that holds on all of them counts on none of these. ministack is the one that the embedded stack
runs and that every test uses which does not ask for more (see :mod:`trainyard.testing.pytest_plugin`).
"""

from __future__ import annotations

import subprocess
import sys
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from trainyard.testing.processes import answers, end, free_port, wait_until

if TYPE_CHECKING:
    from pathlib import Path

#: As processes, and out of the images that docker-compose.yml names.
NAMES = ("ministack", "moto", "localstack", "ministack-image", "localstack-image")
#: The emulators take any credentials.
ACCESS_KEY = "test"
SECRET_KEY = "test"  # noqa: S105 - not a secret: the emulators check none

#: What LocalStack is told wherever tests run it: the services they need, and nothing that asks the network.
LOCALSTACK_SETTINGS = {
    "SERVICES": "s3,sqs,ec2",
    "EAGER_SERVICE_LOADING": "1",
    "DNS_ADDRESS": "0",
    "DISABLE_EVENTS": "1",
    "SKIP_SSL_CERT_DOWNLOAD": "1",
    "SQS_ENDPOINT_STRATEGY": "path",
}


class Emulator(ABC):
    """S3, SQS and EC2 on one address, the same over restarts."""

    #: Whether objects survive :meth:`kill`. Queues, notifications and instances survive it nowhere.
    keeps_objects: bool
    #: Whether a dead-letter queue remembers which queues may bury in it; where not, every queue may.
    keeps_redrive_allow: bool = True
    #: Longest from the start of the process to its first answer.
    start_seconds: float = 20.0

    def __init__(self, directory: Path, *, port: int | None = None) -> None:
        self._directory = directory
        self._port = port or free_port()

    @property
    def endpoint(self) -> str:
        """The address for boto3."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point a service, or boto3 itself, at the emulator."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        }

    @abstractmethod
    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            TimeoutError: it did not answer within :attr:`start_seconds`.
        """

    @abstractmethod
    def kill(self) -> None:
        """End it as a power failure would."""

    @abstractmethod
    def stop(self) -> None:
        """End it in good order."""

    @property
    @abstractmethod
    def _health(self) -> str:
        """The path that answers as soon as calls are taken."""


class ProcessEmulator(Emulator):
    """An emulator as a child process."""

    def __init__(self, directory: Path, *, port: int | None = None) -> None:
        super().__init__(directory, port=port)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process and wait until it answers.

        Raises:
            RuntimeError: the process ended at once.
            TimeoutError: it did not answer within :attr:`start_seconds`.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        log_path = self._directory / "emulator.log"
        common = {"HOME": str(self._directory), "TMPDIR": str(self._directory)}
        with log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(), env={**common, **self._variables()}, stdout=log, stderr=log, cwd=self._directory
            )
        wait_until(self._ready, f"the AWS emulator (log: {log_path})", seconds=self.start_seconds)

    def kill(self) -> None:
        """End the process as a power failure would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def stop(self) -> None:
        """End the process in good order."""
        if self._process is not None:
            end(self._process)
            self._process = None

    @abstractmethod
    def _command(self) -> list[str]:
        """Return the command line."""

    @abstractmethod
    def _variables(self) -> dict[str, str]:
        """Return the environment of the process."""

    def _ready(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise RuntimeError(f"the AWS emulator ended with {self._process.returncode}; see {self._directory}")
        return answers(self.endpoint + self._health)


class AwsEmulator(ProcessEmulator):
    """ministack: the emulator of the embedded stack; ``services`` are those it offers."""

    keeps_objects = True
    services = "s3,sqs,ec2"
    _health = "/_ministack/health"

    def _command(self) -> list[str]:
        return [sys.executable, "-m", "ministack"]

    def _variables(self) -> dict[str, str]:
        return {
            "GATEWAY_PORT": str(self._port),
            "BIND_HOST": "127.0.0.1",
            "PERSIST_STATE": "0",
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(self._directory / "s3"),
            "SERVICES": self.services,
            # It would remove labelled containers from the machine's Docker, and listen for SFTP and MQTT.
            "DOCKER_HOST": f"unix://{self._directory}/no-docker.sock",
            "SFTP_ENABLED": "0",
            "IOT_MTLS_ENABLED": "0",
            "LOG_LEVEL": "WARNING",
        }


class MotoEmulator(ProcessEmulator):
    """moto's server: everything in memory."""

    keeps_objects = False
    keeps_redrive_allow = False
    _health = "/moto-api/data.json"

    def _command(self) -> list[str]:
        return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self._port)]

    def _variables(self) -> dict[str, str]:
        # Without them it would look for the credentials of a real account.
        return {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}


class LocalstackEmulator(ProcessEmulator):
    """LocalStack from its wheel, in an environment of its own: its dependencies are older than ours.

    ``python`` is that environment's interpreter (``make localstack-env`` makes it).
    """

    keeps_objects = False
    start_seconds = 90.0
    _health = "/_localstack/health"

    def __init__(self, directory: Path, *, python: Path, port: int | None = None) -> None:
        super().__init__(directory, port=port)
        self._python = python

    def _command(self) -> list[str]:
        return [str(self._python), "-m", "localstack.runtime.main"]

    def _variables(self) -> dict[str, str]:
        return {
            "GATEWAY_LISTEN": f"127.0.0.1:{self._port}",
            "LOCALSTACK_HOST": f"127.0.0.1:{self._port}",
            **LOCALSTACK_SETTINGS,
            "FILESYSTEM_ROOT": str(self._directory / "root"),
            "PATH": "/usr/bin:/bin",
        }


def emulator(name: str, directory: Path, *, localstack_python: Path) -> Emulator:
    """Return the emulator ``name`` (one of :data:`NAMES`), not yet started.

    Raises:
        ValueError: there is none of this name.
    """
    match name:
        case "ministack":
            return AwsEmulator(directory)
        case "moto":
            return MotoEmulator(directory)
        case "localstack":
            return LocalstackEmulator(directory, python=localstack_python)
        case "localstack-image" | "ministack-image":
            from trainyard.testing.images import ImageEmulator  # noqa: PLC0415 - processes need no Docker client

            return ImageEmulator(directory, image=name.removesuffix("-image"))
        case _:
            raise ValueError(f"no AWS emulator is named {name!r}; there are {', '.join(NAMES)}")
