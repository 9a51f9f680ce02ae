"""The AWS emulator (ministack) as a child process: what it may do and what it must leave alone."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING

from trainyard_embedded.environment import base
from trainyard_embedded.errors import EXIT_DEPENDENCY, StackError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainyard.config import Config
    from trainyard_embedded.layout import Layout


def check_installed() -> None:
    """Look for the package without importing it.

    Raises:
        StackError: it is not installed.
    """
    if importlib.util.find_spec("ministack") is None:
        raise StackError(EXIT_DEPENDENCY, "the package ministack is not installed; run: make setup")


class QueueSnapshot:
    """What the emulator wrote down of its queues when it last stopped in order, good for one start.

    After a crash it would bring back queues that look as if nothing had happened, without what was sent since. Without
    it they are made again, and every sender learns from that to send again what may be lost.
    """

    def __init__(self, layout: Layout) -> None:
        self._file = layout.aws / "state" / "sqs.json"
        self._used = False

    def prepare(self) -> None:
        """Call before each start of the emulator: all but the first follow a crash."""
        if self._used:
            self._file.unlink(missing_ok=True)
        self._used = True


def command() -> tuple[str, ...]:
    """Return the command that runs the emulator in the foreground."""
    return (sys.executable, "-m", "ministack")


def environment(environ: Mapping[str, str], config: Config, layout: Layout) -> dict[str, str]:
    """Return the emulator's environment: loopback only, state in the data directory, no Docker, no other listeners."""
    own = {name: value for name, value in base(environ).items() if not name.startswith("TRAINYARD_")}
    return own | {
        "GATEWAY_PORT": str(config.aws_port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_REGION": config.aws_region,
        "SERVICES": "s3,sqs,ec2,secretsmanager,events",
        "PERSIST_STATE": "1",
        "STATE_DIR": str(layout.aws / "state"),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(layout.aws / "s3"),
        "TMPDIR": str(layout.run),
        # At its start it would remove containers that carry its label from the machine's Docker: not ours to touch.
        "DOCKER_HOST": f"unix://{layout.run}/no-docker.sock",
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
        "LOG_LEVEL": "WARNING",
        "PYTHONUNBUFFERED": "1",
    }
