"""Write what the code already holds: errors, settings, metrics and cli in docs/, the README's services, nginx.conf.

``python docs/generate.py`` writes them, ``--check`` exits 1 when one of them is not current.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainyard.config import SETTINGS, load
from trainyard.errors import CODES
from trainyard.telemetry import catalogue, log_fields, numbers, readings
from trainyard_client.cli.exits import MEANINGS
from trainyard_client.main import make_command
from trainyard_embedded.router import nginx, routes

if TYPE_CHECKING:
    from collections.abc import Iterator

_DOCS = Path(__file__).parent
_ROUTER = _DOCS.parent / "deploy" / "router"
_README = _DOCS.parent / "README.md"
_ROUTES = _ROUTER / "routes.toml"
#: Between these lines of the README stands what is generated.
_FROM, _UPTO = "<!-- services: written by make docs -->\n", "<!-- end of services -->\n"
_SERVICES = {
    "router": "the one address for everything",
    "ingest": "datasets, rows by HTTP, S3 or pull, batch ledger and reports, erasure, feedback, prediction log",
    "scheduler": "policies, requests, drift and live quality, versions, aliases, keys, fleet, costs, queues, traces",
    "trainer": "claims the most urgent request that suits its instance, searches, tests, gates, publishes",
    "predictor": "answers from S3 with numpy, in [four protocols](docs/protocols.md)",
    "console": "[pages for people](docs/console.md): the loop live, and everything in it",
    "EC2 host": "starts a trainer for each instance of the emulator, and is its instance metadata",
    "Postgres": "the warehouse and the records: the truth",
    "AWS emulator": "S3, SQS and EC2 where there is no AWS",
}
_PORTS = {"EC2 host": "imds", "Postgres": "postgres", "AWS emulator": "aws"}


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


def metrics() -> str:
    """Return docs/metrics.md."""
    fields = {**log_fields.ALWAYS, **log_fields.FIELDS}
    lines = [
        "# Metrics and log fields",
        "",
        "Generated from `trainyard.telemetry` by `make docs`.",
        "",
        "Each of these services answers on `/metrics` (behind the one address: `/-/{service}/metrics`) in Prometheus'",
        "text format, for all of its worker processes where they share `TRAINYARD_METRICS_DIR`. Numbers that stand",
        f"in the database or at a queue are read at the scrape, and are up to {readings.SECONDS:.0f} s old. A metric",
        f"has at most {numbers.MOST_SERIES:,} series; further ones count as `{numbers.OTHER}`. What to scrape and what",
        "to be woken for: [observing.md](observing.md).",
        "",
        "| metric | type | unit | labels | service | meaning |",
        "|---|---|---|---|---|---|",
        *(
            f"| `{m.name}` | {m.kind} | {m.unit} | {_names(m.labels)} | {', '.join(m.services)} | {m.meaning} |"
            for m in catalogue.METRICS
        ),
        "",
        f"Buckets of a histogram, in seconds: {', '.join(f'{bound:g}' for bound in catalogue.BUCKETS)}.",
        "",
        "## Log fields",
        "",
        "Each process writes one JSON object per line. What serves a request over HTTP has `trace`; what a run does",
        "has `trace`, `request_id`, `run_id` and `model`.",
        "",
        "| field | type | meaning |",
        "|---|---|---|",
        *(f"| `{name}` | {kind} | {text} |" for name, (kind, text) in fields.items()),
    ]
    return "\n".join(lines) + "\n"


def _names(words: tuple[str, ...]) -> str:
    return ", ".join(f"`{word}`" for word in words) or "–"


def readme() -> str:
    """Return the README with its table of services, ports and paths as the code has them."""
    before, rest = _README.read_text(encoding="utf-8").split(_FROM)
    _, after = rest.split(_UPTO)
    table = tomllib.loads(_ROUTES.read_text(encoding="utf-8"))
    named = {s.field: s for s in SETTINGS}
    lines = ["| service | what it does | port | variable | at the one address |", "|---|---|---|---|---|"]
    for service, meaning in _SERVICES.items():
        port = named.get(f"{_PORTS.get(service, service)}_port")
        at = [f"`{path}`" for path in table["paths"].get(service, ())] or ["`/`"] * (service == table["default"])
        cells = [service, meaning, port.default if port else "–", f"`{port.variable}`" if port else "–"]
        lines.append(f"| {' | '.join(str(cell) for cell in cells)} | {' '.join(at) or '–'} |")
    lines += ["", f"All {len(SETTINGS)} environment variables, with defaults: [docs/settings.md](docs/settings.md)."]
    return "\n".join([before + _FROM, *lines, _UPTO + after])


def cli() -> str:
    """Return docs/cli.md."""
    root = make_command()
    lines = [
        "# Command line",
        "",
        "Generated from `trainyard_client` by `make docs`. Every command takes `--json`: one JSON document on standard",
        'output, and on standard error a JSON object in each line, `{"error": …}` or `{"note": …}`. Which services a',
        "command asks, and with which key: [environments.md](environments.md), with completion in a shell.",
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
    parsed = routes.parse(_ROUTES.read_text(encoding="utf-8"))
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
        _DOCS / "metrics.md": metrics(),
        _DOCS / "cli.md": cli(),
        _README: readme(),
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
