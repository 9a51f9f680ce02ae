"""``python -m trainyard_embedded up|down|status``: the stack without the `trainyard` command."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from trainyard import config as settings
from trainyard.errors import ConfigError
from trainyard_embedded import commands
from trainyard_embedded.errors import EXIT_USAGE, StackError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainyard.config import Config
    from trainyard_embedded.commands import Status
    from trainyard_embedded.stack import Ready


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Do what the arguments say; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m trainyard_embedded", description=__doc__)
    parser.add_argument("command", choices=("up", "down", "status"))
    parser.add_argument("--detach", action="store_true", help="up: return when ready and leave the stack running")
    parser.add_argument("--json", action="store_true", help="status: print everything as JSON")
    parser.add_argument("--data-dir", type=Path, help="instead of TRAINYARD_DATA_DIR")
    asked = parser.parse_args(arguments)
    try:
        config = settings.load(environ)
        if asked.data_dir is not None:
            config = replace(config, data_dir=asked.data_dir)
        if asked.command == "up":
            return commands.up(config, environ, detach=asked.detach, on_ready=_show)
        if asked.command == "down":
            return commands.down(config)
        found = commands.status(config)
    except ConfigError as e:
        return _complain(str(e), EXIT_USAGE)
    except StackError as e:
        return _complain(str(e), e.exit_code)
    sys.stdout.write((json.dumps(found.shown(), indent=2) if asked.json else _describe(found, config)) + "\n")
    return found.exit_code


def _describe(found: Status, config: Config) -> str:
    if not found.running:
        return f"nothing runs in {config.data_dir}"
    where = f"ready at {found.ready.url}" if found.ready else "not ready"
    processes = [f"  {name:<18} pid {pid}" for name, pid in found.processes.items()]
    return "\n".join([f"the stack in {config.data_dir} (pid {found.pid}) is {where}", *processes])


def _show(ready: Ready) -> None:
    sys.stdout.write(f"Trainyard is ready at {ready.url} (admin key: {ready.admin_key_file})\n")
    sys.stdout.flush()


def _complain(sentence: str, exit_code: int) -> int:
    sys.stderr.write(f"trainyard: {sentence}\n")
    return exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))  # noqa: TID251 - the entry reads the environment
