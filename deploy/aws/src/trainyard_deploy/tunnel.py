"""A port of this machine that leads to the services: SSM port forwarding, for there is no door from outside."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from trainyard_deploy.ports import DeployError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainyard.clock import Clock

_ROUTER_PORT = 8080
_START_SECONDS = 30.0
_POLL_SECONDS = 0.2


def command(instance: str, region: str, port: int) -> list[str]:
    """Return the command that forwards ``port`` of this machine's loopback until it is ended.

    Raises:
        DeployError: the AWS CLI or its plug-in is not installed.
    """
    for program, what in (("aws", "the AWS CLI"), ("session-manager-plugin", "the AWS CLI's Session Manager plug-in")):
        if shutil.which(program) is None:
            raise DeployError(f"the services are reached through {what}, which is not installed ({program})")
    ports = {"portNumber": [str(_ROUTER_PORT)], "localPortNumber": [str(port)]}
    return [
        *("aws", "ssm", "start-session", "--region", region, "--target", instance),
        *("--document-name", "AWS-StartPortForwardingSession", "--parameters", json.dumps(ports)),
    ]


@contextmanager
def opened(instance: str, region: str, port: int, clock: Clock) -> Iterator[str]:
    """Return the services' address for as long as the block lasts; port 0: a free one.

    Raises:
        DeployError: no connection came about.
    """
    port = port or _free_port()
    process = subprocess.Popen(
        command(instance, region, port), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        deadline = clock.monotonic() + _START_SECONDS
        while not _listens(port):
            if process.poll() is not None or clock.monotonic() > deadline:
                raise DeployError(f"no connection to instance {instance} came about within {_START_SECONDS:.0f} s")
            clock.sleep(_POLL_SECONDS)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
