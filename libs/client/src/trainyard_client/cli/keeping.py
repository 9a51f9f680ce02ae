"""`trainyard dataset erase`: rows that shall go for good."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from trainyard_client.cli import completing
from trainyard_client.cli.exits import Exit
from trainyard_client.cli.frame import CommandError, command

if TYPE_CHECKING:
    from trainyard_client.cli.output import Output
    from trainyard_client.client import Client

    Json = dict[str, Any]


def add_to(group: click.Group) -> None:
    """Add the commands to ``trainyard dataset``."""

    @click.argument("name", shell_complete=completing.datasets)
    @click.option("--key", required=True, help="The key's value; for a key of several columns a JSON object of them.")
    @click.option("--yes", is_flag=True, help="Do not ask.")
    def erase(output: Output, client: Client, *, name: str, key: str, yes: bool) -> None:
        """Erase every row of a key from the dataset NAME, for good."""
        if not (yes or click.confirm(f"Erase every row of {key} from {name}? This cannot be undone", err=True)):
            raise CommandError("nothing was erased", Exit.FAILED)
        erased = client.erase(name, key)
        if output.data(erased):
            return
        output.say(f"{erased['erased_rows']:,} rows are erased (erasure {erased['erasure_id']})")
        if erased["not_reproducible"]:
            output.say("these versions were trained on them and cannot be trained again to the same bytes:")
            output.table(erased["not_reproducible"], ("model", "version"), empty="")

    command(group, "erase", example="trainyard dataset erase flights --key 4711")(erase)
