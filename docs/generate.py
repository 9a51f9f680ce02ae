"""Write what the code already holds: docs/errors.md, docs/settings.md, docs/cli.md and the containers' router.

``python docs/generate.py`` writes them, ``--check`` exits 1 when one of them is not current.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainyard.config import SETTINGS, load
from trainyard.errors import CODES
from trainyard_client.cli.exits import MEANINGS
from trainyard_client.main import make_command
from trainyard_embedded.router import nginx, routes

if TYPE_CHECKING:
    from collections.abc import Iterator

_DOCS = Path(__file__).parent
_ROUTER = _DOCS.parent / "deploy" / "router"


def errors() -> str:
    """Return docs/errors.md."""
    lines = [
        "# Error codes",
        "",
        "Generated from `trainyard.errors` by `make docs`.",
        "",
        "| code | HTTP | what it means and what to do |",
        "|---|---|---|",
    ]
    return "\n".join([*lines, *(f"| `{code}` | {status} | {text} |" for code, (status, text) in CODES.items())]) + "\n"


def settings() -> str:
    """Return docs/settings.md."""
    lines = [
        "# Settings",
        "",
        "Environment variables, read once by each entry point. Generated from `trainyard.config` by `make docs`.",
        "",
        "| variable | default | meaning |",
        "|---|---|---|",
    ]
    rows = [f"| `{s.variable}` | {f'`{s.default}`' if s.default else '–'} | {s.meaning} |" for s in SETTINGS]
    return "\n".join([*lines, *rows]) + "\n"


def cli() -> str:
    """Return docs/cli.md."""
    root = make_command()
    lines = [
        "# Command line",
        "",
        "Generated from `trainyard_client` by `make docs`. Every command takes `--json` (one JSON document on standard",
        "output, errors as JSON on standard error). Address and key come from `--url` and `--api-key`, else from",
        "`TRAINYARD_URL` and `TRAINYARD_API_KEY`, else from the stack that runs in `TRAINYARD_DATA_DIR`.",
        "",
        "## Exit codes",
        "",
        "| code | name | meaning |",
        "|---|---|---|",
        *(f"| {int(code)} | `{code.name}` | {text} |" for code, text in MEANINGS.items()),
    ]
    for path, command in _commands(root, ("trainyard",)):
        context = click.Context(
            command, info_name=" ".join(path), terminal_width=100, help_option_names=["-h", "--help"]
        )
        lines += ["", f"## {' '.join(path)}", "", "```text", command.get_help(context).rstrip(), "```"]
    return "\n".join(lines) + "\n"


def router() -> str:
    """Return deploy/router/nginx.conf: the services under their names, on their ports by default."""
    parsed = routes.parse((_ROUTER / "routes.toml").read_text(encoding="utf-8"))
    defaults = load({})
    return nginx.render(parsed, {name: f"{name}:{getattr(defaults, name + '_port')}" for name in parsed.services})


def _commands(group: click.Group, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from _commands(command, (*path, name))
        else:
            yield (*path, name), command


def pages() -> dict[Path, str]:
    """Return every generated page."""
    return {
        _DOCS / "errors.md": errors(),
        _DOCS / "settings.md": settings(),
        _DOCS / "cli.md": cli(),
        _ROUTER / "nginx.conf": router(),
    }


def main(arguments: list[str]) -> int:
    """Write or check the pages."""
    stale = [path for path, text in pages().items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if "--check" in arguments:
        for path in stale:
            sys.stderr.write(f"{path.name} is not current; run: make docs\n")
        return 1 if stale else 0
    for path in stale:
        path.write_text(pages()[path], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
