"""The emulators and Postgres out of the images that docker-compose.yml names, by testcontainers and a Docker engine.

They have the interface of their siblings that are child processes: the same address over restarts, and :meth:`kill` as
a power failure would. Set ``TESTCONTAINERS_RYUK_DISABLED=true`` where no registry is reached: testcontainers would pull
the container that removes what it finds left over; here :meth:`stop` removes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg2
from testcontainers.core.container import DockerContainer

from trainyard.testing.emulator import LOCALSTACK_SETTINGS, Emulator
from trainyard.testing.postgres import SETTINGS, USER, PostgresServer
from trainyard.testing.processes import answers, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_PASSWORD = "test"  # noqa: S105 - not a secret: on the loopback, for as long as the tests run


@dataclass(frozen=True)
class _Image:
    name: str
    health: str
    keeps_objects: bool
    variables: Mapping[str, str]


_IMAGES = {
    "localstack": _Image(
        "localstack/localstack:4.14.0",
        "/_localstack/health",
        keeps_objects=False,
        variables={"GATEWAY_LISTEN": "0.0.0.0:4566", **LOCALSTACK_SETTINGS},
    ),
    "ministack": _Image(
        "ministackorg/ministack:latest",
        "/_ministack/health",
        keeps_objects=True,
        variables={
            "BIND_HOST": "0.0.0.0",  # noqa: S104 - inside its container
            "SERVICES": "s3,sqs,ec2",
            "PERSIST_STATE": "0",
            "S3_PERSIST": "1",
            "S3_DATA_DIR": "/tmp/s3",  # noqa: S108 - its container's own
            "SFTP_ENABLED": "0",
            "IOT_MTLS_ENABLED": "0",
            "LOG_LEVEL": "WARNING",
        },
    ),
}


class _Container:
    """One container on a port of the loopback: made at the first start, and started again after a kill."""

    def __init__(self, container: DockerContainer, *, inside: int, outside: int) -> None:
        # As the engine's client takes it: who may reach the port, and which one it is.
        container.ports[f"{inside}/tcp"] = ("127.0.0.1", outside)  # type: ignore[assignment]
        self._container = container
        self._made = False

    def start(self) -> None:
        if self._made:
            self._container.get_wrapped_container().start()
        else:
            self._container.start()
            self._made = True

    def kill(self) -> None:
        self._container.get_wrapped_container().kill()

    def stop(self) -> None:
        if self._made:
            self._container.stop()
            self._made = False


class ImageEmulator(Emulator):
    """An emulator out of its image: ``localstack`` or ``ministack``."""

    start_seconds = 90.0

    def __init__(self, directory: Path, *, image: str, port: int | None = None) -> None:
        super().__init__(directory, port=port)
        self._image = _IMAGES[image]
        self.keeps_objects = self._image.keeps_objects
        variables = {**self._image.variables, "LOCALSTACK_HOST": f"127.0.0.1:{self._port}"}
        container = DockerContainer(self._image.name, env=variables)
        self._container = _Container(container, inside=4566, outside=self._port)

    @property
    def _health(self) -> str:
        return self._image.health

    def start(self) -> None:
        """Start the container and wait until it answers.

        Raises:
            TimeoutError: it did not answer within :attr:`start_seconds`.
        """
        self._container.start()
        wait_until(lambda: answers(self.endpoint + self._health), self._image.name, seconds=self.start_seconds)

    def kill(self) -> None:
        """End the container as a power failure would."""
        self._container.kill()

    def stop(self) -> None:
        """Remove the container."""
        self._container.stop()


class PostgresImage(PostgresServer):
    """Postgres 17, as the stack of containers has it."""

    _who = f"{USER}:{_PASSWORD}"

    def __init__(self, directory: Path, *, port: int | None = None) -> None:
        super().__init__(directory, port=port)
        options = [word for setting in SETTINGS for word in ("-c", setting)]
        variables = {"POSTGRES_USER": USER, "POSTGRES_DB": "postgres", "POSTGRES_PASSWORD": _PASSWORD}
        container = DockerContainer("postgres:17", env=variables).with_command(["postgres", *options])
        self._container = _Container(container, inside=5432, outside=self.port)

    def start(self) -> None:
        """Start the container and wait until it answers."""
        self._container.start()
        wait_until(self._ready, "Postgres out of its image", seconds=60)

    def kill(self) -> None:
        """End the container as a power failure would."""
        self._container.kill()

    def stop(self) -> None:
        """Remove the container."""
        self._container.stop()

    def _ready(self) -> bool:
        try:
            self.execute("SELECT 1")
        except psycopg2.OperationalError:
            return False
        return True
