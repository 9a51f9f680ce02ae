"""`trainyard versions`, `promote`, `rollback`, `alias …`, `history`: who serves, who served, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from trainyard_client.cli import version_report
from trainyard_client.cli.frame import command
from trainyard_client.cli.runs import show_gate
from trainyard_client.errors import ApiError

if TYPE_CHECKING:
    from trainyard_client.cli.output import Output
    from trainyard_client.client import Client

    Json = dict[str, Any]

_CHAMPION = "champion"
_ALIAS = ("name", "version", "seq", "weight", "updated_at")


def add_to(root: click.Group) -> None:
    """Add the commands of this module."""
    _add_version_commands(root)
    one = click.Group("version", help="One version of a model: decide on it, its report, its card.")
    root.add_command(one)
    _add_decision(one)
    version_report.add_to(one)
    group = click.Group("alias", help="Names that point to versions.")
    root.add_command(group)
    _add_alias_commands(group)


def _add_version_commands(root: click.Group) -> None:
    @click.argument("name")
    @click.option("--gate", is_flag=True, help="Show each version's gate report.")
    def versions(output: Output, client: Client, name: str, gate: bool) -> None:
        """List the versions of the model NAME."""
        found = list(client.versions(name))
        if output.data(found):
            return
        columns = ("version", "aliases", "passed", "state", "metrics", "snapshot_rows", "size_bytes", "created_at")
        output.table(found, columns, empty="no versions yet")
        for version in found if gate else ():
            output.say(f"gate of version {version['version']}:")
            show_gate(output, version)

    @click.argument("name")
    @click.argument("version", type=int)
    @click.option("--reason", help="Written into the history.")
    def promote(output: Output, client: Client, name: str, version: int, reason: str | None) -> None:
        """Make VERSION champion of the model NAME, whatever its gate said."""
        _move(output, client, name, _CHAMPION, version=version, reason=reason)

    @click.argument("name")
    @click.option("--reason", help="Written into the history.")
    def rollback(output: Output, client: Client, name: str, reason: str | None) -> None:
        """Make the previous champion of the model NAME champion again."""
        alias = client.rollback(name, reason, expected_seq=_seen(client, name, _CHAMPION))
        if not output.data(alias):
            output.say(f"{name}: champion is version {alias['version']} again")

    @click.argument("name")
    @click.option("--at", metavar="TIME", help="Only what served at this time, such as 2026-01-31T12:00:00Z.")
    def history(output: Output, client: Client, name: str, at: str | None) -> None:
        """List which version of the model NAME served when, newest first."""
        found = list(client.deployments(name, at))
        if not output.data(found):
            columns = ("at", "alias", "version", "previous_version", "actor", "reason")
            output.table(found, columns, empty="nothing was deployed" + (" then" if at else " yet"))

    command(root, "versions", example="trainyard versions late --gate")(versions)
    command(root, "promote", example='trainyard promote late 3 --reason "seen on the test set"')(promote)
    command(root, "rollback", example="trainyard rollback late")(rollback)
    command(root, "history", example="trainyard history late --at 2026-01-31T12:00:00Z")(history)


def _add_decision(group: click.Group) -> None:
    @click.argument("name")
    @click.argument("version", type=int)
    @click.option("--reject", is_flag=True, help="Reject it instead: it will not become champion.")
    @click.option("--reason", help="Written into history and audit log.")
    def approve(output: Output, client: Client, *, name: str, version: int, reject: bool, reason: str | None) -> None:
        """Make VERSION of the model NAME, which waits for approval, champion."""
        decided = client.approve(name, version, approve=not reject, reason=reason)
        if not output.data(decided):
            outcome = "rejected" if reject else "approved and champion"
            output.say(f"{name}: version {decided['version']} is {outcome}")

    command(group, "approve", example='trainyard version approve late 4 --reason "slices looked at"')(approve)


def _add_alias_commands(group: click.Group) -> None:
    @click.argument("name")
    @click.argument("alias")
    @click.argument("version", type=int)
    @click.option("--reason", help="Written into the history.")
    def set_(output: Output, client: Client, *, name: str, alias: str, version: int, reason: str | None) -> None:
        """Point ALIAS of the model NAME to VERSION."""
        _move(output, client, name, alias, version=version, reason=reason)

    @click.argument("name")
    def list_(output: Output, client: Client, name: str) -> None:
        """List the aliases of the model NAME."""
        found = client.aliases(name)
        if not output.data(found):
            output.table(found, _ALIAS, empty="no aliases yet")

    command(group, "set", example="trainyard alias set late shadow 4")(set_)
    command(group, "list", example="trainyard alias list late")(list_)


def _move(output: Output, client: Client, name: str, alias: str, *, version: int, reason: str | None) -> None:
    """Move an alias from where it was seen; if somebody moves it meanwhile, the service refuses."""
    moved = client.set_alias(name, alias, version, expected_seq=_seen(client, name, alias), reason=reason)
    if not output.data(moved):
        output.say(f"{name}: {alias} is version {moved['version']}")


def _seen(client: Client, name: str, alias: str) -> int | None:
    """Return the alias's ``seq``, None when there is no such alias."""
    try:
        return int(client.alias(name, alias)["seq"])
    except ApiError as e:
        if e.code != "unknown_alias":
            raise
        return None
