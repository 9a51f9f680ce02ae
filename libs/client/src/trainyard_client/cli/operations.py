"""`trainyard key …`: who may do what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from trainyard.auth import SCOPES
from trainyard_client.cli import completing
from trainyard_client.cli.frame import command

if TYPE_CHECKING:
    from trainyard_client.cli.output import Output
    from trainyard_client.client import Client


def add_to(root: click.Group) -> None:
    """Add the commands of this module."""
    keys = click.Group("key", help="API keys.")
    root.add_command(keys)
    _add_key_commands(keys)


def _add_key_commands(keys: click.Group) -> None:
    @click.argument("name", shell_complete=completing.nothing)
    @click.option("--scope", "scopes", type=click.Choice(SCOPES), multiple=True, default=("read",), show_default=True)
    @click.option("--expires-in-days", type=int, help="By default a key lives until it is revoked.")
    def create(output: Output, client: Client, name: str, scopes: tuple[str, ...], expires_in_days: int | None) -> None:
        """Make an API key called NAME and show it, this once."""
        made = client.create_key(name, scopes, expires_in_days)
        if not output.data(made):
            output.say(made["key"])
            output.note("it is not shown again; it works everywhere within 2 seconds")

    def list_(output: Output, client: Client) -> None:
        """List the API keys, without their secrets."""
        found = list(client.keys())
        if not output.data(found):
            columns = ("id", "name", "scopes", "created_at", "expires_at", "revoked_at")
            output.table(found, columns, empty="no keys")

    @click.argument("key_id", shell_complete=completing.nothing, metavar="ID")
    def revoke(output: Output, client: Client, key_id: str) -> None:
        """Revoke the API key ID."""
        client.revoke_key(key_id)
        if not output.data({"revoked": key_id}):
            output.say(f"key {key_id} is revoked; it is refused everywhere within 10 seconds")

    command(keys, "create", example="trainyard key create console --scope read")(create)
    command(keys, "list", example="trainyard key list")(list_)
    command(keys, "revoke", example="trainyard key revoke 4f0c2b9d8e7a6151")(revoke)
