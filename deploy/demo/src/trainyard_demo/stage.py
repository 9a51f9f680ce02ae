"""Where the demo plays: on a stack of its own, fresh each time, on ports that nobody uses; or on one that runs."""

from __future__ import annotations

import json
import shutil
import socket
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainyard_demo.errors import DemoError
from trainyard_embedded import commands
from trainyard_embedded.layout import Layout
from trainyard_embedded.probes import port_problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainyard.config import Config
    from trainyard_embedded.stack import Ready

DEFAULT_DIRECTORY = ".trainyard-demo"
_MARKER = "demo.json"
_PORTS = ("router_port", "ingest_port", "scheduler_port", "predictor_port", "console_port", "aws_port",
          "postgres_port", "imds_port")  # fmt: skip


@dataclass(frozen=True)
class Stage:
    """A stack as its user sees it.

    ``command`` is what stands before a `trainyard` command that shall reach it, ``console`` where a browser begins.
    """

    url: str
    key: str
    bucket: str
    aws_endpoint_url: str
    aws_region: str
    command: str
    console: str

    @classmethod
    def own(cls, ready: Ready) -> Stage:
        """Return the stack that the demo has started."""
        return cls(
            ready.url,
            Path(ready.admin_key_file).read_text(encoding="utf-8").strip(),
            ready.bucket,
            ready.aws_endpoint_url,
            ready.aws_region,
            f"TRAINYARD_DATA_DIR={ready.data_dir} trainyard",
            commands.console_link(ready),
        )

    @classmethod
    def running(cls, config: Config, url: str) -> Stage:
        """Return the stack at ``url``.

        Raises:
            DemoError: the settings do not say with which key, or where its bucket is.
        """
        if not config.api_key or not config.aws_endpoint_url:
            raise DemoError("--at needs TRAINYARD_API_KEY, and AWS_ENDPOINT_URL for the bucket")
        command = f"TRAINYARD_URL={url} TRAINYARD_API_KEY=… trainyard"
        return cls(url, config.api_key, config.bucket, config.aws_endpoint_url, config.aws_region, command, f"{url}/")


def prepare(config: Config, environ: Mapping[str, str]) -> tuple[Config, list[str]]:
    """Return the settings of the demo's stack and what the reader should know about them.

    The data directory is TRAINYARD_DATA_DIR, else ``.trainyard-demo`` in the current directory. What an earlier demo
    left there is removed; anything else is left alone. One trainer at a time keeps the figures of two cores steady.

    Raises:
        DemoError: a stack runs there, or the directory is not the demo's.
        StackError: the directory cannot be used.
    """
    given = environ.get("TRAINYARD_DATA_DIR")
    root = config.data_dir.absolute() if given else Path.cwd() / DEFAULT_DIRECTORY
    config = replace(config, data_dir=root, fleet_max=1)
    notes = _make_fresh(config, root)
    config, moved = _with_free_ports(config)
    return config, notes + moved


def _make_fresh(config: Config, root: Path) -> list[str]:
    notes = []
    if (root / _MARKER).exists():
        if commands.status(config).running:
            raise DemoError(f"a demo runs in {root}; stop it with: TRAINYARD_DATA_DIR={root} trainyard down")
        commands.down(config)  # processes that a killed demo left behind
        shutil.rmtree(root)
        notes.append(f"removed the data of the demo before this one ({root})")
    elif root.exists() and any(root.iterdir()):
        raise DemoError(
            f"{root} is not a demo's data directory and the demo removes what it finds; "
            "set TRAINYARD_DATA_DIR to an empty or new directory"
        )
    Layout(root).prepare()
    (root / _MARKER).write_text(json.dumps({"what": "data of `trainyard demo`; removed by the next one"}))
    return notes


def _with_free_ports(config: Config) -> tuple[Config, list[str]]:
    wanted = {name: getattr(config, name) for name in _PORTS}
    busy = [name for name, port in wanted.items() if port_problem(port)]
    if not busy:
        return config, []
    chosen: dict[str, Any] = dict(zip(busy, _free_ports(len(busy), taken=set(wanted.values())), strict=True))
    notes = [f"port {wanted[name]} is busy, {name.removesuffix('_port')} takes {port}" for name, port in chosen.items()]
    return replace(config, **chosen), notes


def _free_ports(count: int, *, taken: set[int]) -> list[int]:
    """Return distinct ports of the loopback that are free now."""
    found: list[int] = []
    with ExitStack() as held:  # each stays bound until all are known, so that none is given twice
        while len(found) < count:
            probe = held.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            if (port := probe.getsockname()[1]) not in taken:
                found.append(port)
    return found
