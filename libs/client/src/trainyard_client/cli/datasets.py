"""`trainyard dataset …`, `ingest`, `batches`, `rejects`: rows on their way in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainyard_client.cli import files, keeping
from trainyard_client.cli.exits import Exit
from trainyard_client.cli.frame import CommandError, command
from trainyard_client.errors import ApiError

if TYPE_CHECKING:
    from trainyard_client.cli.output import Output
    from trainyard_client.client import Client

    Json = dict[str, Any]

_BATCH = ("id", "source", "source_name", "state", "rows", "rejected", "last_seq", "created_at")


def add_to(root: click.Group) -> None:
    """Add the commands of this module."""
    group = click.Group("dataset", help="Tables of typed rows.")
    root.add_command(group)
    _add_dataset_commands(group)
    keeping.add_to(group)
    _add_row_commands(root)


def _add_dataset_commands(group: click.Group) -> None:
    @click.argument("name")
    @click.option("--like", metavar="FILE", help="File with rows (CSV, NDJSON, JSON) to infer the columns from.")
    @click.option("--schema", metavar="FILE", help='JSON file {"columns": [{"name", "type", "role"?, ...}]}.')
    @click.option("--format", "format_", type=click.Choice(files.FORMATS), help="Format of the --like file.")
    @click.option("--label", metavar="COLUMN", help="What is to be predicted.")
    @click.option("--key", "keys", metavar="COLUMN", multiple=True, help="Identifies a row; may be given again.")
    @click.option("--time", "time_column", metavar="COLUMN", help="When the row happened.")
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
    ) -> None:
        """Create the dataset NAME from a file's columns."""
        if (like is None) == (schema is None):
            raise CommandError("give either --like FILE or --schema FILE", Exit.USAGE)
        columns = _columns_like(client, name, like, format_) if like else _columns_in(str(schema))
        _set_roles(columns, {"label": [label] if label else [], "key": list(keys), "event_time": [time_column or ""]})
        dataset = client.create_dataset(name, columns)
        if not output.data(dataset):
            output.table(dataset["columns"], ("name", "type", "role", "nullable"), empty="no columns")
            output.say(f"dataset {name} is ready; send rows with: trainyard ingest {name} FILE")

    def list_(output: Output, client: Client) -> None:
        """List the datasets."""
        found = list(client.datasets())
        if not output.data(found):
            rows = [{**dataset, "columns": len(dataset["columns"])} for dataset in found]
            output.table(rows, ("name", "rows", "columns", "created_at"), empty="no datasets yet")

    @click.argument("name")
    def show(output: Output, client: Client, name: str) -> None:
        """Show columns and size of the dataset NAME."""
        dataset = client.dataset(name)
        if not output.data(dataset):
            output.fields(dataset, ("name", "rows", "last_seq", "created_at"))
            output.fields(dataset.get("settings", {}), tuple(dataset.get("settings", {})))
            output.table(dataset["columns"], ("name", "type", "role", "nullable"), empty="no columns")

    @click.argument("name")
    def delete(output: Output, client: Client, name: str) -> None:
        """Delete the dataset NAME, if no model reads it."""
        client.delete_dataset(name)
        if not output.data({"deleted": name}):
            output.say(f"dataset {name} is deleted")

    example = "trainyard dataset create flights --like january.csv --label late --key flight_id"
    command(group, "create", example=example)(create)
    command(group, "list", example="trainyard dataset list")(list_)
    command(group, "show", example="trainyard dataset show flights")(show)
    command(group, "delete", example="trainyard dataset delete flights")(delete)


def _add_row_commands(root: click.Group) -> None:
    @click.argument("name")
    @click.argument("sources", metavar="FILE...", nargs=-1, required=True)
    @click.option("--format", "format_", type=click.Choice(files.FORMATS), help="Needed for standard input.")
    def ingest(output: Output, client: Client, name: str, sources: tuple[str, ...], format_: str | None) -> None:
        """Send the rows of each FILE (CSV, NDJSON or JSON; - is standard input) to the dataset NAME."""
        formats = [files.format_of(source, format_) for source in sources]  # before anything is sent
        batches = [_send(output, client, name, source, kind) for source, kind in zip(sources, formats, strict=True)]
        if not output.data(batches):
            rows = [{"file": source, **batch} for source, batch in zip(sources, batches, strict=True)]
            output.table(rows, ("file", "state", "rows", "rejected", "last_seq", "id"), empty="nothing sent")
            if any(batch["rejected"] for batch in batches):
                output.say("see what was wrong with: trainyard rejects BATCH")

    @click.argument("name")
    @click.argument("batch", required=False)
    def batches(output: Output, client: Client, name: str, batch: str | None) -> None:
        """List what arrived in the dataset NAME, in one batch each, or show one BATCH and what it holds."""
        if batch is not None:
            one = client.batch(name, batch)
            if not output.data(one):
                output.fields(one, _BATCH)
                keeping.show_report(output, one)
            return
        found = list(client.batches(name))
        if not output.data(found):
            output.table(found, _BATCH, empty="no batches yet")

    @click.argument("batch")
    @click.option("--dataset", help="Where the batch went; by default it is looked for in all datasets.")
    def rejects(output: Output, client: Client, batch: str, dataset: str | None) -> None:
        """List the rows that the batch with id BATCH lost, and why."""
        found = list(client.rejects(dataset or _dataset_of(client, batch), batch))
        if not output.data(found):
            output.table(found, ("row", "column", "expected", "got"), empty="no row was rejected")

    command(root, "ingest", example="trainyard ingest flights february.csv march.ndjson")(ingest)
    command(root, "batches", example="trainyard batches flights")(batches)
    command(root, "rejects", example="trainyard rejects 0192f7f0-8c1a-7d3e-9d8a-0f4e2c6b1a55")(rejects)


def _columns_like(client: Client, name: str, like: str, format_: str | None) -> list[Json]:
    kind = files.format_of(like, format_)
    return client.infer(name, files.sample(like, kind), files.CONTENT_TYPES[kind])


def _columns_in(schema: str) -> list[Json]:
    document = files.json_file(schema)
    columns = document.get("columns") if isinstance(document, dict) else None
    if not isinstance(columns, list) or not all(isinstance(column, dict) for column in columns):
        raise CommandError(f'{schema} is not an object {{"columns": [...]}}', Exit.USAGE)
    return columns


def _set_roles(columns: list[Json], roles: dict[str, list[str]]) -> None:
    """Give columns their roles in place; keys become non-nullable."""
    by_name = {str(column.get("name")): column for column in columns}
    for role, names in roles.items():
        for name in filter(None, names):
            if name not in by_name:
                raise CommandError(
                    f"there is no column {name!r} for the role {role}",
                    Exit.USAGE,
                    hint=f"columns: {', '.join(by_name)}",
                )
            by_name[name]["role"] = role
            if role == "key":
                by_name[name]["nullable"] = False


def _send(output: Output, client: Client, name: str, source: str, kind: str) -> Json:
    with files.opened(source) as file, output.progress(bytes_=True) as progress:
        if source == "-":
            task = progress.add_task("standard input", total=None)
            stream = files.blocks(file, lambda read: progress.update(task, completed=read))
            return client.upload(name, stream, files.CONTENT_TYPES[kind])
        size = Path(source).stat().st_size
        task = progress.add_task(Path(source).name, total=size)
        counted = files.Counted(file, size, lambda position: progress.update(task, completed=position))
        return client.upload(name, counted, files.CONTENT_TYPES[kind])


def _dataset_of(client: Client, batch: str) -> str:
    for dataset in client.datasets():
        try:
            client.batch(dataset["name"], batch)
        except ApiError as e:
            if e.status != 404:
                raise
        else:
            return str(dataset["name"])
    raise CommandError(f"no dataset has a batch {batch!r}", Exit.NOT_FOUND, hint="list them: trainyard batches NAME")
