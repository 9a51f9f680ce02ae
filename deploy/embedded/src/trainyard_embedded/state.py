"""The state of the embedded stack without its services: Postgres and the bucket, for backup and restore."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from trainyard.adapters.backup import opened
from trainyard_embedded import commands, table
from trainyard_embedded.environment import ACCESS_KEY, SECRET_KEY
from trainyard_embedded.errors import EXIT_DATA_DIRECTORY, EXIT_IN_USE, StackError
from trainyard_embedded.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from trainyard.adapters.backup import Stack
    from trainyard.config import Config
    from trainyard_embedded.child import Child
    from trainyard_embedded.stack import Ready

_STATE = ("postgres", "aws")


class _DoneError(Exception):
    """Leaves the stack's `up` in order."""


def read(config: Config, environ: Mapping[str, str], work: Callable[[Stack], None]) -> None:
    """Call ``work`` with the database and the bucket of the data directory; call from the main thread.

    A stack that runs is used as it is; else Postgres and the AWS emulator are started for the time that the work takes.

    Raises:
        StackError: there is none, it is starting or stopping, or does not start.
    """
    ready = commands.status(config).ready
    if ready is not None:
        _work_on(config, ready, work)
        return
    if not Layout(config.data_dir).postgres.is_dir():
        raise StackError(EXIT_DATA_DIRECTORY, f"there is no stack in {config.data_dir}; set TRAINYARD_DATA_DIR")
    change(config, environ, work)


def change(config: Config, environ: Mapping[str, str], work: Callable[[Stack], None]) -> None:
    """Call ``work`` as above, with a stack that is made if there is none, and whose services must not run.

    Raises:
        StackError: it runs, or does not start.
    """
    found = commands.status(config)
    if found.running:
        raise StackError(
            EXIT_IN_USE, f"the stack in {config.data_dir} runs (pid {found.pid}); stop it first with: trainyard down"
        )
    done = False

    def on_ready(ready: Ready) -> None:
        nonlocal done
        _work_on(config, ready, work)
        done = True
        raise _DoneError

    with suppress(_DoneError):
        commands.up(config, environ, on_ready=on_ready, make_table=_state_only)
    if not done:
        raise KeyboardInterrupt


def _state_only(*given: Any) -> Sequence[Child]:
    return [child for child in table.children(*given) if child.name in _STATE]


def _work_on(config: Config, ready: Ready, work: Callable[[Stack], None]) -> None:
    there = replace(
        config,
        database_url=ready.database_url,
        aws_endpoint_url=ready.aws_endpoint_url,
        aws_region=ready.aws_region,
        bucket=ready.bucket,
        admin_key_file=Path(ready.admin_key_file),
    )
    with opened(there, access_key=ACCESS_KEY, secret_key=SECRET_KEY) as stack:
        work(stack)
