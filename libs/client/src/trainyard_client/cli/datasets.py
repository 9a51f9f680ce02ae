"""`trainyard dataset …`: tables of typed rows, made, looked at, changed, removed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from trainyard_client import formats
from trainyard_client.cli import columns as columns_of
from trainyard_client.cli import completing, keeping
from trainyard_client.cli.exits import Exit
from trainyard_client.cli.frame import CommandError, command

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainyard_client.cli.output import Output
    from trainyard_client.client import Client

    Json = dict[str, Any]

_COLUMNS = ("name", "type", "role", "nullable")
_FACTS = ("name", "rows", "last_seq", "revision", "created_at")
_MOST_DAYS = 36_500


def add_to(root: click.Group) -> None:
    """Add the commands of this module."""
    group = click.Group("dataset", help="Tables of typed rows.")
    root.add_command(group)
    _add_making(group)
    _add_looking(group)
    _add_delete(group)
    keeping.add_to(group)


def _setting_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that become the dataset's settings."""
    share = click.option(
        "--max-rejected-share",
        type=click.FloatRange(0, 1),
        help="A batch that loses a greater share of its rows is refused whole.",
    )
    new = click.option(
        "--new-columns", type=click.Choice(["add", "refuse"]), help="What becomes of columns that are not known yet."
    )
    days = click.option(
        "--retention-days", type=click.IntRange(1, _MOST_DAYS), help="Rows are removed when they are so old."
    )
    return share(new(days(function)))


def _settings(given: Json, **options: Any) -> Json:
    return {**given, **{name: value for name, value in options.items() if value is not None}}


def _add_making(group: click.Group) -> None:
    @click.argument("name", shell_complete=completing.datasets)
    @click.option(
        "--like",
        metavar="FILE",
        help="File with rows (CSV, NDJSON, JSON, Parquet) to infer columns from.",
        shell_complete=completing.files,
    )
    @click.option(
        "--schema",
        metavar="FILE",
        help='JSON file {"columns": [{"name", "type", "role"?, ...}]}.',
        shell_complete=completing.files,
    )
    @click.option("--format", "format_", type=click.Choice(formats.FORMATS), help="Format of the --like file.")
    @click.option("--label", metavar="COLUMN", help="What is to be predicted.")
    @click.option("--key", "keys", metavar="COLUMN", multiple=True, help="Identifies a row; may be given again.")
    @click.option("--time", "time_column", metavar="COLUMN", help="When the row happened.")
    @click.option("--group", "group_column", metavar="COLUMN", help="Rows that belong together.")
    @click.option("--ignore", metavar="COLUMN", multiple=True, help="Kept, but not learnt from; may be given again.")
    @_setting_options
    def create(
        output: Output,
        client: Client,
        *,
        name: str,
        like: str | None,
        schema: str | None,
        format_: str | None,
        label: str | None,
        keys: tuple[str, ...],
        time_column: str | None,
        group_column: str | None,
        ignore: tuple[str, ...],
        **options: Any,
    ) -> None:
        """Create the dataset NAME from a file's columns."""
        if (like is None) == (schema is None):
            raise CommandError("give either --like FILE or --schema FILE", Exit.USAGE)
        found, settings = (
            (columns_of.like(client, name, like, format_), {}) if like else columns_of.in_file(str(schema))
        )
        roles = {"label": [label], "key": keys, "event_time": [time_column], "group": [group_column], "ignore": ignore}
        columns_of.set_roles(found, roles)
        dataset = client.create_dataset(name, found, _settings(settings, **options))
        if not output.data(dataset):
            output.table(dataset["columns"], _COLUMNS, empty="no columns")
            output.say(f"dataset {name} is ready; send rows with: trainyard ingest {name} FILE")

    @click.argument("name", shell_complete=completing.datasets)
    @click.option(
        "--schema",
        metavar="FILE",
        help='JSON file {"columns": [...]} as they shall be, all of them.',
        shell_complete=completing.files,
    )
    @_setting_options
    def update(output: Output, client: Client, *, name: str, schema: str | None, **options: Any) -> None:
        """Change the dataset NAME: columns are added and widened, never narrowed; settings are set."""
        found, settings = columns_of.in_file(schema) if schema else (client.dataset(name)["columns"], {})
        settings = _settings(settings, **options)
        if schema is None and not settings:
            raise CommandError("give --schema FILE or a setting", Exit.USAGE)
        dataset = client.alter_dataset(name, found, settings)
        if not output.data(dataset):
            _print(output, dataset)

    example = "trainyard dataset create flights --like january.csv --label late --key flight_id"
    command(group, "create", example=example)(create)
    command(group, "update", example="trainyard dataset update flights --max-rejected-share 0.01")(update)


def _add_looking(group: click.Group) -> None:
    def list_(output: Output, client: Client) -> None:
        """List the datasets."""
        found = list(client.datasets())
        if not output.data(found):
            rows = [{**dataset, "columns": len(dataset["columns"])} for dataset in found]
            output.table(rows, ("name", "rows", "columns", "created_at"), empty="no datasets yet")

    @click.argument("name", shell_complete=completing.datasets)
    def show(output: Output, client: Client, name: str) -> None:
        """Show columns, size and settings of the dataset NAME."""
        dataset = client.dataset(name)
        if not output.data(dataset):
            _print(output, dataset)

    @click.argument("name", shell_complete=completing.datasets)
    def profile(output: Output, client: Client, name: str) -> None:
        """Show what the rows of the dataset NAME look like, column by column."""
        found = client.profile(name)
        if not output.data(found):
            output.report(found)

    command(group, "list", example="trainyard dataset list")(list_)
    command(group, "show", example="trainyard dataset show flights")(show)
    command(group, "profile", example="trainyard dataset profile flights")(profile)


def _add_delete(group: click.Group) -> None:
    @click.argument("name", shell_complete=completing.datasets)
    @click.option("--yes", is_flag=True, help="Do not ask.")
    def delete(output: Output, client: Client, name: str, *, yes: bool) -> None:
        """Delete the dataset NAME and its rows, if no model reads it; a terminal is asked first."""
        if not yes and sys.stdin.isatty():
            rows = client.dataset(name)["rows"]
            click.confirm(f"delete the dataset {name} with its {rows:,} rows?", abort=True, err=True)
        client.delete_dataset(name)
        if not output.data({"deleted": name}):
            output.say(f"dataset {name} is deleted")

    command(group, "delete", example="trainyard dataset delete flights --yes")(delete)


def _print(output: Output, dataset: Json) -> None:
    settings = dataset.get("settings") or {}
    output.fields({**dataset, **settings}, [n for n in _FACTS if n in dataset] + list(settings))
    output.table(dataset["columns"], _COLUMNS, empty="no columns")
