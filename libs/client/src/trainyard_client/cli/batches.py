"""`trainyard batches` and `rejects`: what came into a dataset, what is on its way, and what was wrong with it."""

from __future__ import annotations

import itertools
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainyard.clock import SystemClock
from trainyard_client.areas.datasets import REJECT_FORMATS
from trainyard_client.cli import completing
from trainyard_client.cli.exits import Exit
from trainyard_client.cli.frame import CommandError, command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from trainyard_client.cli.output import Output
    from trainyard_client.client import Client

    Json = dict[str, Any]

_LIST = ("id", "state", "rows", "rejected", "source", "source_name", "age")
_ONE = ("id", "dataset", "state", "source", "source_name", "rows", "rejected", "first_seq", "last_seq", "reason")
_ONE_ENDS = ("created_at", "age")
_WATCH_SECONDS = 1.0
_SHORT_SECONDS, _MINUTE, _HOUR, _DAY = 90, 60, 3_600, 86_400


def add_to(root: click.Group) -> None:
    """Add the commands of this module."""
    _add_batches(root)
    _add_rejects(root)


def _add_batches(root: click.Group) -> None:
    @click.argument("name", shell_complete=completing.datasets)
    @click.argument("batch", shell_complete=completing.nothing, required=False)
    @click.option("--state", type=click.Choice(["committed", "refused", "loading"]), help="Only those.")
    @click.option("--watch", is_flag=True, help="Follow what is on its way in until nothing is.")
    def batches(
        output: Output, client: Client, *, name: str, batch: str | None, state: str | None, watch: bool
    ) -> None:
        """List what arrived in the dataset NAME and what is on its way, or show one BATCH with its quality report."""
        if watch:
            _follow(output, client, name, batch)
        if batch is not None:
            found = client.batch(name, batch)
            if not output.data(found):
                _show(output, found)
            return
        listed = list(client.batches(name, state=state))
        if state is None:
            listed = [*client.batches(name, state="loading"), *listed]
        if not output.data(listed):
            output.table([_line(one) for one in listed], _LIST, empty="no batches yet")

    command(root, "batches", example="trainyard batches flights --watch")(batches)


def _add_rejects(root: click.Group) -> None:
    @click.argument("batch", shell_complete=completing.nothing)
    @click.option(
        "--dataset",
        metavar="NAME",
        help="Where the batch went; the service knows it too.",
        shell_complete=completing.datasets,
    )
    @click.option(
        "-o",
        "--output",
        "file",
        metavar="FILE",
        help="Write the whole list to FILE (CSV, or .ndjson).",
        shell_complete=completing.files,
    )
    @click.option("--format", "format_", type=click.Choice(["table", *REJECT_FORMATS]), help="By default a table.")
    def rejects(
        output: Output, client: Client, *, batch: str, dataset: str | None, file: str | None, format_: str | None
    ) -> None:
        """List the rows that the batch with id BATCH lost, and why."""
        where = dataset or str(client.find_batch(batch)["dataset"])
        kind = format_ or ("table" if file is None else "ndjson" if file.endswith((".ndjson", ".jsonl")) else "csv")
        if kind == "table":
            if file is not None:
                raise CommandError("a table is not for files; give --format csv or ndjson", Exit.USAGE)
            found = list(client.rejects(where, batch))
            if not output.data(found):
                output.table(found, ("row", "column", "expected", "got"), empty="no row was rejected")
            return
        if output.as_json and file is None:
            raise CommandError("--json prints a document of its own; give -o FILE, or no --format", Exit.USAGE)
        blocks = client.download_rejects(where, batch, kind)
        first = next(blocks, b"")  # what the service refuses leaves no file
        written = 0
        with _written(file) as target:
            for block in itertools.chain([first], blocks):
                written += target.write(block)
        if file is not None and not output.data({"file": file, "bytes": written}):
            output.say(f"{written:,} bytes are in {file}")

    command(root, "rejects", example="trainyard rejects 0192f7f0-8c1a-7d3e-9d8a-0f4e2c6b1a55 -o rejects.csv")(rejects)


@contextmanager
def _written(file: str | None) -> Iterator[BinaryIO]:
    if file is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        with Path(file).open("wb") as target:
            yield target
    except OSError as e:
        raise CommandError(f"{file} cannot be written: {e.strerror}", Exit.USAGE) from e


def _follow(output: Output, client: Client, name: str, batch: str | None) -> None:
    """Show a bar for each batch that is on its way, until none is."""
    clock = SystemClock()
    with output.progress(bytes_=True) as bars:
        tasks: dict[str, Any] = {}
        while True:
            loading = [one for one in client.batches(name, state="loading") if batch in {None, one["id"]}]
            for gone in tasks.keys() - {one["id"] for one in loading}:
                bars.remove_task(tasks.pop(gone))
            for one in loading:
                progress = one["progress"]
                if one["id"] not in tasks:
                    tasks[one["id"]] = bars.add_task(str(one["source_name"])[-40:], total=None, said="")
                said = f"{progress['stage']} · {progress['rows_done']:,} rows"
                done, total = progress["bytes_done"], progress["bytes_total"]
                bars.update(tasks[one["id"]], completed=done, total=total, said=said)
            if not loading:
                return
            clock.sleep(_WATCH_SECONDS)


def _line(batch: Json) -> Json:
    progress = batch.get("progress") or {}
    state = f"{batch['state']}: {_share(progress)}" if progress else batch["state"]
    return {**batch, "state": state, "rows": progress.get("rows_done", batch["rows"]), "age": _age(batch)}


def _share(progress: Json) -> str:
    total = progress.get("bytes_total")
    share = f" {min(100, 100 * progress['bytes_done'] // total)} %" if total else ""
    return f"{progress['stage']}{share}"


def _show(output: Output, batch: Json) -> None:
    progress = batch.get("progress") or {}
    output.fields({**batch, **progress, "age": _age(batch)}, [*_ONE, *progress, *_ONE_ENDS])
    if batch.get("report"):
        output.report(batch["report"])
    elif batch["state"] == "committed" and "report" in batch:
        output.say("the quality report is not there yet; look again in a moment")
    if batch.get("rejected") or batch["state"] == "refused":
        output.say(f"see what was wrong with: trainyard rejects {batch['id']}")


def _age(batch: Json) -> str | None:
    """Return how long ago a batch came, in the two largest units."""
    try:
        seconds = (SystemClock().now() - datetime.fromisoformat(batch["created_at"]).astimezone(UTC)).total_seconds()
    except (KeyError, TypeError, ValueError):
        return None
    if seconds < _SHORT_SECONDS:
        return f"{max(0, seconds):.0f} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE:.0f} min"
    if seconds < 2 * _DAY:
        return f"{seconds // _HOUR:.0f} h {seconds % _HOUR // _MINUTE:.0f} min"
    return f"{seconds // _DAY:.0f} d"
