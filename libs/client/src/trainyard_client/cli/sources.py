"""`trainyard source …`: what is pulled into a dataset again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from trainyard_client.cli import completing
from trainyard_client.cli.exits import Exit
from trainyard_client.cli.frame import CommandError, Duration, command

if TYPE_CHECKING:
    from trainyard_client.cli.output import Output
    from trainyard_client.client import Client

    Json = dict[str, Any]

_FORMATS = ("csv", "ndjson", "json", "parquet")
_TLS = ("verify-full", "require", "off")
_LISTED = ("name", "kind", "state", "last_rows", "last_pull", "next_pull", "error")
_SHOWN = ("name", "dataset", "kind", "from", "table", "schedule", "state", "cursor", "last_pull", "last_rows",
          "next_pull", "error")  # fmt: skip


def add_to(root: click.Group) -> None:
    """Add the commands of this module."""
    group = click.Group("source", help="Tables and files that are pulled into a dataset.")
    root.add_command(group)
    _add_add_command(group)
    _add_look_commands(group)
    _add_pull_command(group)


def _add_add_command(group: click.Group) -> None:
    @click.argument("dataset", shell_complete=completing.datasets)
    @click.argument("name", shell_complete=completing.nothing)
    @click.option("--from", "from_", metavar="URL", help="File to fetch, such as https://example.com/late.csv.")
    @click.option("--format", "format_", type=click.Choice(_FORMATS), help="Of the file, where its name does not say.")
    @click.option("--sql", metavar="ADDRESS", help="Database, without password: postgresql://user@host/name.")
    @click.option("--table", help="Table or view to read.")
    @click.option("--cursor", help="Column that only grows: a number that counts, or when the row was changed.")
    @click.option("--tie-breaker", "tie_breakers", multiple=True, help="Unique together with the cursor; repeatable.")
    @click.option("--schema", help="Where the table is, unless it is found by its name alone.")
    @click.option("--column", "columns", metavar="THEIRS=OURS", multiple=True, help="Read only these; repeatable.")
    @click.option("--secret", help="Name of the password in the file TRAINYARD_PULL_SECRETS.")
    @click.option("--zone", help="Time zone of times that have none, such as UTC.")
    @click.option("--page-rows", type=int, help="Rows of a batch at most; by default 10000.")
    @click.option("--lag", help="How far to stay behind now, such as 30s; by default 10s.")
    @click.option("--tls", type=click.Choice(_TLS), help="By default verify-full.")
    @click.option("--every", help="Pull so often, such as 15m.")
    @click.option("--cron", help='Pull at these times in UTC, such as "0 2 * * *".')
    def add(output: Output, client: Client, *, dataset: str, name: str, **given: Any) -> None:
        """Make or change the source NAME of DATASET: a file by --from, or a table by --sql."""
        source = client.put_source(dataset, name, _description(given))
        if not output.data(source):
            output.say(f"source {name} is ready; pull now with: trainyard source pull {dataset} {name} --wait")

    example = (
        "trainyard source add shop orders --sql postgresql://reader@db.example.com/shop --table orders --cursor id"
    )
    command(group, "add", example=example)(add)


def _add_look_commands(group: click.Group) -> None:
    @click.argument("dataset", shell_complete=completing.datasets)
    def list_(output: Output, client: Client, dataset: str) -> None:
        """List the sources of DATASET."""
        found = list(client.sources(dataset))
        if not output.data(found):
            output.table([_row(source) for source in found], _LISTED, empty="no sources yet")

    @click.argument("dataset", shell_complete=completing.datasets)
    @click.argument("name", shell_complete=completing.nothing)
    def show(output: Output, client: Client, dataset: str, name: str) -> None:
        """Show the source NAME of DATASET and how its last pull ended."""
        source = client.source(dataset, name)
        if not output.data(source):
            output.fields(_row(source), _SHOWN)

    @click.argument("dataset", shell_complete=completing.datasets)
    @click.argument("name", shell_complete=completing.nothing)
    def delete(output: Output, client: Client, dataset: str, name: str) -> None:
        """Remove the source NAME of DATASET; the rows that came from it stay."""
        client.delete_source(dataset, name)
        if not output.data({"deleted": name}):
            output.say(f"source {name} is removed; what it brought stays in {dataset}")

    command(group, "list", example="trainyard source list shop")(list_)
    command(group, "show", example="trainyard source show shop orders")(show)
    command(group, "delete", example="trainyard source delete shop orders")(delete)


def _add_pull_command(group: click.Group) -> None:
    @click.argument("dataset", shell_complete=completing.datasets)
    @click.argument("name", shell_complete=completing.nothing)
    @click.option("--wait", is_flag=True, help="Stay until it is done and say what came.")
    @click.option("--timeout", type=Duration(), default="30m", show_default=True, help="Longest wait with --wait.")
    def pull(output: Output, client: Client, *, dataset: str, name: str, wait: bool, timeout: float) -> Exit | None:
        """Pull from the source NAME of DATASET now."""
        source = client.pull_source(dataset, name)
        if not wait:
            if not output.data(source):
                output.say(f"source {name} is pulled now; look with: trainyard source show {dataset} {name}")
            return None
        with output.progress() as progress:
            task = progress.add_task("asked", total=None)

            def told(now: Json) -> None:
                progress.update(task, description=f"{now['state']}, rows", completed=now["pulling_rows"] or 0)

            source = client.wait_for_pull(source, seconds=timeout, on_progress=told)
        last = source["last_pull"]
        if not output.data(source):
            output.say(f"{last['rows']} rows came from {name}" + (f", then: {last['error']}" if last["error"] else ""))
        return Exit.FAILED if last["error"] else Exit.OK

    command(group, "pull", example="trainyard source pull shop orders --wait")(pull)


def _description(given: Json) -> Json:
    """Return the body that the options mean."""
    if (given["from_"] is None) == (given["sql"] is None):
        raise CommandError("give either --from URL or --sql ADDRESS", Exit.USAGE)
    if given["every"] is not None and given["cron"] is not None:
        raise CommandError("give --every or --cron, not both", Exit.USAGE)
    schedule = {key: given[key] for key in ("every", "cron") if given[key] is not None} or None
    if given["from_"] is not None:
        wanted = {"kind": "url", "url": given["from_"], "format": given["format_"]}
    else:
        if given["table"] is None or given["cursor"] is None:
            raise CommandError("--sql needs --table and --cursor", Exit.USAGE)
        names = ("table", "cursor", "schema", "secret", "zone", "page_rows", "lag", "tls")
        wanted = {"kind": "sql", "database": given["sql"], **{name: given[name] for name in names}}
        wanted["tie_breakers"] = list(given["tie_breakers"]) or None
        wanted["columns"] = _mapping(given["columns"])
    return {key: value for key, value in {**wanted, "schedule": schedule}.items() if value is not None}


def _mapping(columns: tuple[str, ...]) -> Json | None:
    if not all("=" in column for column in columns):
        raise CommandError("a column is THEIRS=OURS", Exit.USAGE)
    return {theirs: ours for theirs, _, ours in (column.partition("=") for column in columns)} or None


def _row(source: Json) -> Json:
    """Return a source for people."""
    last, schedule = source["last_pull"] or {}, source["schedule"]
    told = None
    if schedule:
        told = f"every {schedule['every']:g} s" if "every" in schedule else schedule["cron"]
    return {
        **source,
        "from": source.get("url") or source.get("database"),
        "schedule": told,
        "last_pull": last.get("at"),
        "last_rows": last.get("rows"),
        "error": last.get("error"),
    }
