"""`trainyard trace ID`: what led to what, from a request over HTTP to the predictions of the version it made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from trainyard_client.cli import completing
from trainyard_client.cli.frame import command
from trainyard_client.text import printable

if TYPE_CHECKING:
    from trainyard_client.cli.output import Output
    from trainyard_client.client import Client

#: What a line tells of each kind, of the facts that it has.
_SAID = {
    "batch": ("dataset", "state", "rows", "rejected"),
    "message": ("queue", "type", "sent_at"),
    "request": ("model", "reason", "state", "error"),
    "run": ("state", "worker", "error"),
    "version": ("passed", "aliases"),
    "predictions": ("rows", "among", "newest"),
    "prediction": ("prediction", "latency_us"),
    "feedback": ("label",),
}


def add_to(root: click.Group) -> None:
    """Add the command."""

    @click.argument("ident", shell_complete=completing.nothing, metavar="ID")
    def trace(output: Output, client: Client, ident: str) -> None:
        """Show the chain that ID is part of: HTTP, batch, message, request, run, version, predictions.

        ID is a trace id (what a caller sent as X-Request-Id or traceparent, or was answered), or the id of a batch, a
        training request, a run or a prediction, or a version as MODEL@3. The asked one is marked with *.
        """
        found = client.trace(ident)
        if not output.data(found):
            for line in lines(found["nodes"]):
                output.say(line)

    command(root, "trace", example="trainyard trace late@3")(trace)


def lines(nodes: list[dict[str, Any]]) -> list[str]:
    """Return the chain as a tree: each node stands below the first that it came after, and names the others."""
    below: dict[str | None, list[dict[str, Any]]] = {}
    for node in nodes:
        below.setdefault(node["after"][0] if node["after"] else None, []).append(node)
    roots = [root for root in below.get(None, []) if root["kind"] != "http" or root["node"] in below]
    return [line for root in roots for line in _branch(root, below, "", "")]


def _branch(node: dict[str, Any], below: dict[str | None, list[dict[str, Any]]], first: str, rest: str) -> list[str]:
    found = [f"{first}{_told(node)}"]
    children = below.get(node["node"], [])
    for child in children:
        last = child is children[-1]
        found += _branch(child, below, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "))
    return found


def _told(node: dict[str, Any]) -> str:
    facts = [
        f"{name.replace('_', ' ')} {printable(node['facts'][name])}"
        for name in _SAID.get(node["kind"], ())
        if node["facts"].get(name) not in (None, [])
    ]
    facts += [f"after {other}" for other in node["after"][1:]]
    told = f"{node['kind']} {node['id']}{' *' if node['asked'] else ''}"
    at = [node["at"][:19].replace("T", " ")] if node["at"] else []
    return "  ".join([told, *at, *facts])
