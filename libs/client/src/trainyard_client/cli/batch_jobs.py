"""`trainyard predict --batch` and `trainyard batch …`: files that are scored as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainyard_client.cli import completing, files
from trainyard_client.cli.exits import Exit
from trainyard_client.cli.frame import CommandError, command

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trainyard_client.cli.output import Output
    from trainyard_client.client import Client

    Json = dict[str, Any]

_COLUMNS = ("id", "model", "version", "state", "rows", "bad", "rows_per_second", "eta_seconds", "created_at", "input")
_FIELDS = (
    "id", "model", "version", "state", "input", "format", "input_bytes", "bytes_done", "rows", "good", "bad",
    "rows_per_second", "eta_seconds", "log_share", "created_at", "started_at", "finished_at", "output", "rejects",
)  # fmt: skip
_DAY_SECONDS = 86_400.0


def add_to(root: click.Group) -> None:
    """Add the commands of this module."""
    jobs = click.Group("batch", help="Files that are scored as a whole (start one with trainyard predict --batch).")
    root.add_command(jobs)

    @click.option("--model", help="Only jobs of this model.", shell_complete=completing.models)
    @click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="At most so many.")
    def list_(output: Output, client: Client, *, model: str | None, limit: int) -> None:
        """List batch jobs, newest first: those of the key, or all of them if it may read."""
        found = [job for job, _ in zip(client.batch_jobs(model), range(limit), strict=False)]
        if not output.data(found):
            output.table(found, _COLUMNS, empty="no batch jobs")

    @click.argument("id_", shell_complete=completing.nothing, metavar="ID")
    @click.option(
        "-o",
        "--output",
        "target",
        metavar="OUT",
        help="Write the scored rows to this file.",
        shell_complete=completing.files,
    )
    @click.option(
        "--rejects", metavar="OUT", help="Write the bad lines to this file, as NDJSON.", shell_complete=completing.files
    )
    def show(output: Output, client: Client, *, id_: str, target: str | None, rejects: str | None) -> None:
        """Show the batch job ID: how far it is, what it made, why it failed."""
        job = client.batch_job(id_)
        if target is not None:
            _write(target, client.batch_output(job), job)
        if rejects is not None:
            _write(rejects, client.batch_rejects(job), job)
        if not output.data(job):
            output.fields(job, _FIELDS)
            if job["error"] is not None:
                output.say(f"{job['error']['code']}: {job['error']['message']}")

    @click.argument("id_", shell_complete=completing.nothing, metavar="ID")
    def cancel(output: Output, client: Client, *, id_: str) -> None:
        """End the batch job ID; what it has made so far goes."""
        job = client.cancel_batch_job(id_)
        if not output.data(job):
            output.say(f"batch job {id_} is {job['state']} after {job['rows']} rows")

    command(jobs, "list", example="trainyard batch list --model late")(list_)
    command(jobs, "show", example="trainyard batch show bj_0e6ab4f5c1d2a91b3c4d5 -o scored.csv")(show)
    command(jobs, "cancel", example="trainyard batch cancel bj_0e6ab4f5c1d2a91b3c4d5")(cancel)


def predict_batch(
    output: Output, client: Client, name: str, source: str, *, target: str | None, version: str | None,
    format_: str | None,
) -> Exit:  # fmt: skip
    """Send a file, wait until it is scored, and fetch the output if there is a ``target``.

    Raises:
        CommandError: the file cannot be read, or the job failed.
    """
    job = _sent(output, client, name, source, version=version, format_=format_)
    if target is None:
        if not output.data(job):
            output.say(f"batch job {job['id']} is {job['state']}; see it with: trainyard batch show {job['id']}")
        return Exit.OK
    job = _waited(output, client, job)
    if job["state"] != "done":
        said = f": {job['error']['message']}" if job["error"] else ""
        raise CommandError(f"batch job {job['id']} {job['state']}{said}", Exit.FAILED)
    _write(target, client.batch_output(job), job)
    if not output.data(job):
        output.say(f"{job['good']} rows are scored in {target}")
        if job["bad"]:
            output.say(f"{job['bad']} lines are not; see why: trainyard batch show {job['id']} --rejects bad.ndjson")
    return Exit.OK


def _sent(output: Output, client: Client, name: str, source: str, *, version: str | None, format_: str | None) -> Json:
    with output.progress(bytes_=True) as bars:
        task = bars.add_task("sending", total=None, said="")

        def show(sent: int, total: int | None) -> None:
            bars.update(task, completed=sent, total=total)

        if source == "-":
            with files.opened(source) as stream:
                return client.score_batch(name, stream, version=version, format=format_, progress=show)
        try:
            return client.score_batch(name, source, version=version, format=format_, progress=show)
        except OSError as e:
            raise CommandError(f"{source} cannot be read: {e.strerror or e}", Exit.USAGE) from e


def _waited(output: Output, client: Client, job: Json) -> Json:
    with output.progress(bytes_=True) as bars:
        task = bars.add_task("scoring", total=job["input_bytes"], said="")

        def show(now: Json) -> None:
            bars.update(task, completed=now["bytes_done"], said=f"{now['rows']:,} rows")

        return client.wait_batch_job(job["id"], seconds=_DAY_SECONDS, on_progress=show)


def _write(target: str, blocks: Iterable[bytes], job: Json) -> None:
    if job["state"] != "done":
        raise CommandError(f"batch job {job['id']} is {job['state']}: it has no output", Exit.FAILED)
    try:
        with Path(target).open("wb") as file:
            for block in blocks:
                file.write(block)
    except OSError as e:
        raise CommandError(f"{target} cannot be written: {e.strerror or e}", Exit.USAGE) from e
