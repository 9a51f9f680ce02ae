"""`trainyard versions`, `promote`, `rollback`, `alias …`, `history`: who serves, who served, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from trainyard_client.cli import completing, version_report
from trainyard_client.cli.frame import Duration, command
from trainyard_client.cli.runs import show_gate
from trainyard_client.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainyard_client.cli.output import Output
    from trainyard_client.client import Client

    Json = dict[str, Any]

_CHAMPION = "champion"
_ALIAS = ("name", "version", "seq", "weight", "updated_at")


_SERVING = ("environment", "process", "asked", "version", "seq", "refused", "at")
_WEIGHT_HELP = "Percent of the requests to the champion that a challenger answers (0 unless given) or a shadow scores."


def _waiting(function: Callable[..., None]) -> Callable[..., None]:
    wait = click.option("--wait", is_flag=True, help="Stay until every predictor that serves the alias has followed.")
    timeout = click.option(
        "--timeout", type=Duration(), default="60s", show_default=True, help="Longest wait with --wait."
    )
    return wait(timeout(function))


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
    @click.argument("name", shell_complete=completing.models)
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

    @click.argument("name", shell_complete=completing.models)
    @click.argument("version", shell_complete=completing.versions, type=int)
    @click.option("--reason", help="Written into the history.")
    @_waiting
    def promote(
        output: Output, client: Client, *, name: str, version: int, reason: str | None, wait: bool, timeout: float
    ) -> None:
        """Make VERSION champion of the model NAME, whatever its gate said."""
        moved = client.set_alias(name, _CHAMPION, version, expected_seq=_seen(client, name, _CHAMPION), reason=reason)
        words = f"{name}: champion is version {version}"
        _told(output, client, moved, name=name, words=words, seconds=timeout if wait else None)

    @click.argument("name", shell_complete=completing.models)
    @click.option("--reason", help="Written into the history.")
    @_waiting
    def rollback(output: Output, client: Client, *, name: str, reason: str | None, wait: bool, timeout: float) -> None:
        """Make the previous champion of the model NAME champion again."""
        moved = client.rollback(name, reason, expected_seq=_seen(client, name, _CHAMPION))
        words = f"{name}: champion is version {moved['version']} again"
        _told(output, client, moved, name=name, words=words, seconds=timeout if wait else None)

    @click.argument("name", shell_complete=completing.models)
    @click.option("--at", metavar="TIME", help="Only what served at this time, such as 2026-01-31T12:00:00Z.")
    def history(output: Output, client: Client, name: str, at: str | None) -> None:
        """List which version of the model NAME served when, newest first."""
        found = list(client.deployments(name, at))
        if not output.data(found):
            columns = ("at", "alias", "version", "previous_version", "actor", "reason")
            output.table(found, columns, empty="nothing was deployed" + (" then" if at else " yet"))
            serving = [] if at else client.serving(name)
            if serving:
                output.say("what serves now:")
                output.table(serving, _SERVING, empty="")

    command(root, "versions", example="trainyard versions late --gate")(versions)
    command(root, "promote", example='trainyard promote late 3 --reason "seen on the test set"')(promote)
    command(root, "rollback", example="trainyard rollback late")(rollback)
    command(root, "history", example="trainyard history late --at 2026-01-31T12:00:00Z")(history)


def _add_decision(group: click.Group) -> None:
    @click.argument("name", shell_complete=completing.models)
    @click.argument("version", shell_complete=completing.versions, type=int)
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
    @click.argument("name", shell_complete=completing.models)
    @click.argument("alias", shell_complete=completing.aliases)
    @click.argument("version", shell_complete=completing.versions, type=int)
    @click.option("--weight", type=click.FloatRange(0, 100), metavar="PERCENT", help=_WEIGHT_HELP)
    @click.option("--reason", help="Written into the history.")
    @_waiting
    def set_(
        output: Output, client: Client, *, name: str, alias: str, version: int, weight: float | None,
        reason: str | None, wait: bool, timeout: float,
    ) -> None:  # fmt: skip
        """Point ALIAS of the model NAME to VERSION."""
        share = None if weight is None else weight / 100
        seen = _seen(client, name, alias)
        moved = client.set_alias(name, alias, version, weight=share, expected_seq=seen, reason=reason)
        _told(output, client, moved, name=name, words=_words(name, moved), seconds=timeout if wait else None)

    @click.argument("name", shell_complete=completing.models)
    def list_(output: Output, client: Client, name: str) -> None:
        """List the aliases of the model NAME."""
        found = client.aliases(name)
        if not output.data(found):
            output.table(found, _ALIAS, empty="no aliases yet")

    command(group, "set", example="trainyard alias set late challenger 4 --weight 10")(set_)
    command(group, "list", example="trainyard alias list late")(list_)


def _words(name: str, alias: Json) -> str:
    shares = {"challenger": "answers", "shadow": "scores"}
    if alias["name"] not in shares:
        return f"{name}: {alias['name']} is version {alias['version']}"
    share = f"{shares[alias['name']]} {100 * alias['weight']:g} % of the requests to the champion"
    return f"{name}: {alias['name']} is version {alias['version']} and {share}"


def _told(output: Output, client: Client, moved: Json, *, name: str, words: str, seconds: float | None) -> None:
    """Say where an alias stands now, after ``seconds`` at most in which all that serve it are to follow."""
    if seconds is None:
        if not output.data(moved):
            output.say(words)
        return
    found = client.wait_served(name, moved, seconds=seconds)
    if not output.data({**moved, "serving": found}):
        output.say(f"{words}; {len(found)} process(es) answer with it")


def _seen(client: Client, name: str, alias: str) -> int | None:
    """Return the alias's ``seq``, None when there is no such alias."""
    try:
        return int(client.alias(name, alias)["seq"])
    except ApiError as e:
        if e.code != "unknown_alias":
            raise
        return None
