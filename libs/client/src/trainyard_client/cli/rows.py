"""`trainyard ingest`: rows on their way in, with a bar on a terminal and a table at the end."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from trainyard_client import formats
from trainyard_client.cli import completing, files
from trainyard_client.cli.columns import shown_name
from trainyard_client.cli.exits import Exit
from trainyard_client.cli.frame import CommandError, command
from trainyard_client.errors import ApiError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainyard_client.areas.rows import Ingested
    from trainyard_client.cli.output import Output
    from trainyard_client.client import Client
    from trainyard_client.watching import Progress

    Json = dict[str, Any]

_SUMMARY = ("file", "state", "rows", "rejected", "batch", "seconds", "rows_per_s")
_STAGES = {
    "sending": "",
    "waiting": "waiting for another batch",
    "loading": "loading",
    "committing": "committing",
}
_SENT_ONCE = "standard input cannot be sent again from here: repeat the command; rows that are in are not doubled"
_PROBLEMS = ("row", "column", "expected", "got")
_MOST_PROBLEMS = 20


def add_to(root: click.Group) -> None:
    """Add the command of this module."""

    @click.argument("name", shell_complete=completing.datasets)
    @click.argument("sources", shell_complete=completing.files, metavar="FILE...", nargs=-1, required=True)
    @click.option("--format", "format_", type=click.Choice(formats.FORMATS), help="Needed for standard input.")
    @click.option("--key", metavar="TEXT", help="Idempotency key, for rows that are meant to arrive twice; one FILE.")
    def ingest(
        output: Output, client: Client, *, name: str, sources: tuple[str, ...], format_: str | None, key: str | None
    ) -> None:
        """Send the rows of each FILE to the dataset NAME, each file as one batch.

        CSV, NDJSON, JSON and Parquet by the ending of the name, the first three also with .gz behind; - is standard
        input. The same rows again are the same batch, so a command that broke off may be repeated. A file that was
        refused stops the command; those before it are in.
        """
        kinds = [_kind(source, format_) for source in sources]  # before anything is sent
        if key is not None and len(sources) > 1:
            raise CommandError("--key is for one FILE: two files cannot have one key", Exit.USAGE)
        done: list[tuple[str, Ingested]] = []
        try:
            for source, kind in zip(sources, kinds, strict=True):
                done.append((source, _send(output, partial(client.ingest, name, format=kind, key=key), source)))
                if done[-1][1].known:
                    output.note(f"{shown_name(source)} is already ingested as batch {done[-1][1].id}")
        except ApiError as e:
            _summarise(output, done, partly=True)
            _explain(output, e, name)
            raise
        except BaseException:
            _summarise(output, done, partly=True)
            raise
        _summarise(output, done, partly=False)

    command(root, "ingest", example="trainyard ingest flights february.csv march.ndjson.gz april.parquet")(ingest)


def _kind(source: str, wanted: str | None) -> str:
    told, gzipped = formats.of_name(source)
    kind = wanted or told
    if kind is None:
        hint = f"give --format {'|'.join(formats.FORMATS)}"
        raise CommandError(f"the format of {source!r} is not clear from its name", Exit.USAGE, hint=hint)
    if gzipped and kind not in formats.GZIPPED:
        raise CommandError(f"{source}: {kind} is compressed inside; send it without .gz around it", Exit.USAGE)
    return kind


def _send(output: Output, send: Callable[..., Ingested], source: str) -> Ingested:
    with output.progress(bytes_=True) as bars:
        task = bars.add_task(shown_name(source), total=None, said="")

        def show(progress: Progress) -> None:
            rows = "" if progress.rows is None else f"{progress.rows:,} rows"
            said = " · ".join(filter(None, (_STAGES[progress.stage], rows)))
            bars.update(task, completed=progress.bytes_sent, total=progress.bytes_total, said=said)

        if source == "-":
            with files.opened(source) as stream:
                return _once(partial(send, stream, progress=show))
        try:
            return send(source, progress=show)
        except OSError as e:
            raise CommandError(f"{source} cannot be read: {e.strerror or e}", Exit.USAGE) from e


def _once(send: Callable[[], Ingested]) -> Ingested:
    """Send standard input, which cannot be sent a second time from here."""
    try:
        return send()
    except UnreachableError as e:
        raise CommandError(str(e), Exit.UNREACHABLE, hint=_SENT_ONCE) from e
    except ApiError as e:
        if e.status in {502, 503, 504}:
            e.hint = _SENT_ONCE
        raise


def _summarise(output: Output, done: list[tuple[str, Ingested]], *, partly: bool) -> None:
    """Print what is in; of a command that failed only if something is."""
    if (partly and not done) or output.data([one.batch for _, one in done]):
        return
    rows = [_line(source, one) for source, one in done]
    output.table(rows, _SUMMARY, empty="nothing sent")
    for _, one in done:
        if one.rejected and not one.known:
            output.say(f"see the rows that batch {one.id} lost, and why, with: trainyard rejects {one.id}")


def _line(source: str, one: Ingested) -> Json:
    rate = None if one.known or one.seconds <= 0 else round(one.rows / one.seconds)
    return {
        "file": shown_name(source),
        "state": "already there" if one.known else one.batch["state"],
        "rows": one.rows,
        "rejected": one.rejected,
        "batch": one.id,
        "seconds": round(one.seconds, 2),
        "rows_per_s": rate,
    }


def _explain(output: Output, error: ApiError, name: str) -> None:
    """Show the first problems of a refusal as a table, and leave the sentence and the next step to the error itself."""
    if error.code != "invalid_rows" or not error.details:
        return
    if not output.as_json:
        output.beside(error.details[:_MOST_PROBLEMS], _PROBLEMS)
        left = len(error.details) - _MOST_PROBLEMS
        if left > 0:
            output.note(f"… and {left} more")
        error.details = []
    error.hint = f"correct the rows and send the file again; trainyard dataset show {name} has the columns"
