"""`trainyard version report` and `trainyard version card`: what a version's hold-out told."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainyard_client.cli import completing
from trainyard_client.cli.exits import Exit
from trainyard_client.cli.frame import CommandError, command
from trainyard_client.cli.runs import show_gate

if TYPE_CHECKING:
    from trainyard_client.cli.output import Output
    from trainyard_client.client import Client

    Json = dict[str, Any]

_ABOUT = ("model", "version", "label", "task", "registered", "aliases", "test_rows", "fit_rows", "seconds",
          "peak_memory_bytes", "instance_type", "usd_per_hour", "cost_usd", "parity", "parity_of_members")  # fmt: skip
_KINDS = {".html": "html", ".htm": "html", ".md": "markdown", ".markdown": "markdown"}
_SHOWN = 20
_FIGURES = 4


def add_to(group: click.Group) -> None:
    """Add the commands to the group `version`."""

    @click.argument("name", shell_complete=completing.models)
    @click.argument("version", shell_complete=completing.versions, type=int)
    def report(output: Output, client: Client, name: str, version: int) -> None:
        """Show what the hold-out told of VERSION of the model NAME."""
        found = client.version_report(name, version)
        if not output.data(found):
            _show(output, found)

    @click.argument("name", shell_complete=completing.models)
    @click.argument("version", shell_complete=completing.versions, type=int)
    @click.option(
        "-o",
        "--output",
        "file",
        metavar="FILE",
        help="Write to FILE (.html or .md) instead of printing.",
        shell_complete=completing.files,
    )
    def card(output: Output, client: Client, *, name: str, version: int, file: str | None) -> None:
        """Print the model card of VERSION of the model NAME as Markdown, or write it as a file."""
        kind = "markdown" if file is None else _KINDS.get(Path(file).suffix.lower())
        if kind is None:
            raise CommandError(f"{file} is no name for a card; it must end in .html or .md", Exit.USAGE)
        content = b"".join(client.version_card(name, version, kind))
        if file is None:
            if not output.data({"model": name, "version": version, "markdown": content.decode()}):
                sys.stdout.buffer.write(content)
                sys.stdout.buffer.flush()
            return
        try:
            Path(file).write_bytes(content)
        except OSError as e:
            raise CommandError(f"{file} cannot be written: {e.strerror}", Exit.USAGE) from e
        if not output.data({"file": file, "bytes": len(content)}):
            output.say(f"{len(content):,} bytes are in {file}")

    command(group, "report", example="trainyard version report late 3")(report)
    command(group, "card", example="trainyard version card late 3 -o card.html")(card)


def _show(output: Output, found: Json) -> None:
    version, report = found["version"], found["report"]
    run, cost = found["run"] or {}, (report or {}).get("cost", {})
    about = {
        **run,
        **found["model"],
        "model": found["model"]["name"],
        "version": version["version"],
        "registered": version["created_at"],
        "aliases": version["aliases"],
        "test_rows": version["holdout"].get("test_rows"),
        "fit_rows": cost.get("rows"),
        "seconds": cost.get("seconds"),
        "peak_memory_bytes": cost.get("peak_memory_bytes"),
        "parity": _distance(version["metrics"].get("parity")),
        "parity_of_members": _distance((report or {}).get("parity", {}).get("members")),
    }
    output.fields(about, [name for name in _ABOUT if about.get(name) is not None])
    if report is None:
        output.say("this version was registered before there were reports; its gate:")
    else:
        _show_report(output, report)
    left_out = (report or {}).get("left_out") or version["holdout"].get("left_out")
    if left_out:
        _table(output, "columns that were left out:", left_out, ("column", "reason"))
    show_gate(output, version)


def _distance(value: float | None) -> str | None:
    """Return a distance in words: it is far below what a figure shows otherwise."""
    return None if value is None else f"{value:.2g}"


def _show_report(output: Output, report: Json) -> None:
    metrics = [{"metric": name, **of} for name, of in report["metrics"].items()]
    _table(output, f"metrics, with {100 * report['confidence']:g} % intervals:", metrics,
           ("metric", "value", "low", "high"))  # fmt: skip
    if confusion := report.get("confusion"):
        counts = zip(confusion["truths"], confusion["counts"], strict=True)
        lines = [{"true": truth, **dict(zip(confusion["answers"], line, strict=True))} for truth, line in counts]
        _table(output, "what was true, by what was answered:", lines, ("true", *confusion["answers"]))
    if residuals := report.get("residuals"):
        lines = [{"share of rows": share, "residual at most": value} for share, value in residuals["quantiles"]]
        _table(output, "true minus predicted:", lines, ("share of rows", "residual at most"))
    importance = report["importance"]
    _table(output, f"rise of the {importance['loss']} without each column:", importance["features"],
           ("feature", "rise", "spread"))  # fmt: skip
    if importance["cut"]:
        output.say(f"cut short: {importance['cut']}")
    if contributions := report.get("contributions"):
        _table(output, f"mean contribution of each column, in the score's unit ({contributions['unit']}):",
               contributions["features"], ("feature", "mean"))  # fmt: skip
        if contributions["cut"]:
            output.say(f"cut short: {contributions['cut']}")
    if curve := report.get("learning_curve"):
        title = f"{curve['loss']} of the {curve['kind']} alone, by the rows that it has learnt from:"
        columns = {"rows": "rows", "on test rows": "loss", "on those learnt from": "learnt"}
        lines = [{name: one[key] for name, key in columns.items()} for one in curve["points"]]
        _table(output, title, lines, tuple(columns))
        if curve["cut"]:
            output.say(f"cut short: {curve['cut']}")
    slices = report["slices"]
    _table(output, f"slices, the highest loss first ({slices['found']} in all):", slices["items"],
           ("column", "slice", "rows", "loss", "low", "high"))  # fmt: skip


def _table(output: Output, title: str, lines: list[Json], columns: tuple[str, ...]) -> None:
    output.say("")
    output.say(title)
    shown = [{name: _short(value) for name, value in line.items()} for line in lines[:_SHOWN]]
    output.table(shown, columns, empty="none")
    if len(lines) > _SHOWN:
        output.say(f"… and {len(lines) - _SHOWN} more; all of them with --json")


def _short(value: object) -> object:
    """Return a number so that small ones do not become 0."""
    return f"{value:.{_FIGURES}g}" if isinstance(value, float) else value
