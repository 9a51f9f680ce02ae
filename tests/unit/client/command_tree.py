"""Every command of `trainyard` by the words that call it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from trainyard_client.main import make_command

if TYPE_CHECKING:
    from collections.abc import Iterator


def _commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


COMMANDS = dict(_commands(make_command()))
