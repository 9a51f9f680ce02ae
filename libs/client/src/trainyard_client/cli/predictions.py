"""`trainyard predict`, `predictions`, `feedback`, `quality`: answers on their way out, the truth on its way back."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import click

from trainyard_client.areas.calls import PAGE
from trainyard_client.cli import completing, files
from trainyard_client.cli.answers import reasons, writer
from trainyard_client.cli.batch_jobs import predict_batch
from trainyard_client.cli.exits import Exit
from trainyard_client.cli.frame import CommandError, command
from trainyard_client.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from trainyard_client.cli.output import Output
    from trainyard_client.client import Client

    Json = dict[str, Any]

_MOST_LABELS = 5_000
_SHOWN = 20
_FEATURES_SHOWN = 10


_SHADOWS = ("version", "shadow_version", "rows", "mean_difference", "mean_absolute_difference", "changed", "last_at")


def add_to(root: click.Group) -> None:
    """Add the commands of this module."""

    @click.argument("name", shell_complete=completing.models)
    @click.argument("source", shell_complete=completing.files, metavar="FILE")
    @click.option(
        "-o",
        "--output",
        "target",
        metavar="OUT",
        help="Write all answers to this CSV or NDJSON file.",
        shell_complete=completing.files,
    )
    @click.option("--version", help="Version number or alias.  [default: champion]")
    @click.option("--explain", is_flag=True, help="Also say what each column contributes (docs/explanations.md).")
    @click.option("--batch", is_flag=True, help="Have the file scored as a whole, in the background (docs/batch.md).")
    @click.option("--format", "format_", type=click.Choice(files.FORMATS), help="Needed for standard input.")
    def predict(
        output: Output, client: Client, *, name: str, source: str, target: str | None, version: str | None,
        explain: bool, batch: bool, format_: str | None,
    ) -> Exit | None:  # fmt: skip
        """Ask the model NAME for a prediction for each row of FILE (- is standard input)."""
        if batch:
            if explain:
                raise CommandError("--explain is not for --batch", Exit.USAGE, hint="leave one of them out")
            return predict_batch(output, client, name, source, target=target, version=version, format_=format_)
        rows = _features(output, client, name, source, files.format_of(source, format_))
        found = _answers(output, client, name, rows, version=version, explain=explain)
        if target is None:
            answers = list(found)
            if not output.data({"model": name, "rows": answers}):
                _show_answers(output, answers, explain=explain)
            return None
        with writer(target) as write:
            count = sum(write(answer) for answer in found)
        if not output.data({"model": name, "rows": count, "output": target}):
            output.say(f"{count} predictions are in {target}")
        return None

    @click.argument("name", shell_complete=completing.models)
    @click.argument("source", shell_complete=completing.files, metavar="FILE")
    @click.option("--format", "format_", type=click.Choice(files.FORMATS), help="Needed for standard input.")
    def feedback(output: Output, client: Client, name: str, source: str, format_: str | None) -> None:
        """Send the true labels in FILE for predictions of the model NAME.

        Each row has `label` (or a column named as the model's label) and either `prediction_id` or the dataset's key
        columns.
        """
        items = _labels(client, name, source, files.format_of(source, format_))
        total = {"accepted": 0, "parked": 0}
        by_key = 0
        with output.progress() as progress:
            task = progress.add_task("labels sent", total=None)
            for batch in _batches(items):
                answer = client.feedback(batch)
                by_key += sum("key" in item for item in batch)
                total = {word: count + answer[word] for word, count in total.items()}
                progress.advance(task, len(batch))
        if not output.data(total):
            output.say(f"{total['accepted']} labels accepted, {total['parked']} wait for their prediction")
        if by_key:
            output.note(
                f"{by_key} by key: they are kept, but not joined to predictions yet; quality counts prediction_id"
            )

    @click.argument("name", shell_complete=completing.models)
    def quality(output: Output, client: Client, name: str) -> None:
        """Show live metrics, drift and alarms of the model NAME, from its predictions and their feedback."""
        found = client.watched(name)
        if not output.data(found):
            _show_quality(output, found)

    @click.argument("name", shell_complete=completing.models)
    @click.option("--version", type=click.IntRange(1), help="Only those of this version.")
    @click.option("--most", type=click.IntRange(1), default=_SHOWN, show_default=True, help="How many to show.")
    def predictions(output: Output, client: Client, *, name: str, version: int | None, most: int) -> None:
        """Show what the model NAME has answered, the newest first, with the true label where it is known."""
        found = list(itertools.islice(client.predictions(name, version, newest=True, at_once=min(most, PAGE)), most))
        if not output.data(found):
            rows = [{**one, "prediction": one["output"]["prediction"]} for one in found]
            columns = ("predicted_at", "version", "prediction", "label", "inputs", "id")
            output.table(rows, columns, empty="no predictions are in the log")

    command(root, "predict", example="trainyard predict late tomorrow.csv -o answers.csv")(predict)
    command(root, "predictions", example="trainyard predictions late --most 5")(predictions)
    command(root, "feedback", example="trainyard feedback late arrived.csv")(feedback)
    command(root, "quality", example="trainyard quality late")(quality)


def _show_quality(output: Output, found: Json) -> None:
    """Print the open windows with their metrics, the newest closed ones, alarms, and what is missing to see more."""
    windows = found["windows"]
    rows = [{**window, **_with_intervals(window)} for window in windows]
    metrics = dict.fromkeys(metric for window in windows for metric in window["metrics"])
    columns = ("version", "predictions", "labels", "from", "upto", *metrics)
    output.table(rows, columns, empty="no predictions outside of closed windows")
    for detector, title in (("drift", "drift"), ("live", "live quality")):
        if found.get(detector):
            output.say("")
            output.say(f"{title}, newest window first")
            judged = ("metric", "value") if detector == "live" else ()
            output.table(
                found[detector], ("version", "number", "rows", "upto", "outcome", *judged, "summary"), empty=""
            )
    newest = next((one for one in found.get("drift", ()) if one.get("features")), None)
    if newest is not None:
        output.say("")
        output.say(f"features in the newest window of version {newest['version']}, the strongest effects first")
        columns = ("feature", "strength", "psi", "distance", "missing_change", "new_levels")
        output.table(newest["features"][:_FEATURES_SHOWN], columns, empty="")
    if found.get("shadows"):
        output.say("")
        output.say("shadows: what they would have answered, less what was answered")
        output.table(found["shadows"], _SHADOWS, empty="")
    if found.get("alarms"):
        output.say("")
        output.say("alarms, newest first")
        alarms = [{**alarm, "outcome": alarm["outcome"] or _open(alarm)} for alarm in found["alarms"]]
        output.table(alarms, ("raised_at", "detector", "reason", "outcome", "request_id"), empty="")
    for sentence in found.get("missing", ()):
        output.say(sentence)


def _open(alarm: Json) -> str:
    waits_for = alarm.get("waits_for")
    return f"open: {waits_for}" if waits_for else "open"


def _with_intervals(window: Json) -> Json:
    """Return the window's metrics as text: the value, and the ends of its interval where there is one."""
    intervals = window.get("intervals", {})
    return {
        name: f"{value:.4g}" + (f" ({one['low']:.4g} to {one['high']:.4g})" if (one := intervals.get(name)) else "")
        for name, value in window["metrics"].items()
    }


def _features(output: Output, client: Client, name: str, source: str, format_: str) -> Iterator[Json]:
    """Yield the file's rows with the types of the dataset; columns that are known but no features are left out."""
    columns: list[Json] = []
    try:
        columns = client.dataset(client.model(name)["dataset"])["columns"]
    except ApiError as e:
        # A key that may only predict cannot read the schema; JSON carries its own types, CSV does not.
        if e.code != "wrong_scope" or format_ == "csv":
            raise
    label = client.model(name)["label"] if columns else None
    no_features = {c["name"] for c in columns if c["role"] != "feature"} | ({label} if label else set())
    dropped: set[str] = set()
    for row in files.rows(source, format_, files.readers_of(columns)):
        dropped |= no_features & row.keys()
        yield {column: value for column, value in row.items() if column not in no_features}
    if dropped:
        output.note(f"not sent, as they are no features: {', '.join(sorted(dropped))}")


def _show_answers(output: Output, answers: list[Json], *, explain: bool) -> None:
    shown = answers[:_SHOWN]
    columns: tuple[str, ...] = ("row", "prediction", "probabilities", "version", "prediction_id")
    if explain:
        shown = [reasons(answer) for answer in shown]
        columns = ("row", "prediction", "score", "base", "because", "version", "prediction_id")
    output.table(shown, columns, empty="the file has no rows")
    if len(answers) > _SHOWN:
        output.say(f"… and {len(answers) - _SHOWN} more; write all with -o FILE")


def _answers(
    output: Output, client: Client, name: str, rows: Iterable[Json], *, version: str | None, explain: bool
) -> Iterator[Json]:
    """Yield one answer per row, in order, under a progress bar."""
    with output.progress() as progress:
        task = progress.add_task("rows answered", total=None)
        for answer in client.predict_each(name, rows, version=version, explain=explain):
            progress.advance(task)
            yield answer


def _labels(client: Client, name: str, source: str, format_: str) -> Iterator[Json]:
    model = client.model(name)
    columns = client.dataset(model["dataset"])["columns"]
    readers = files.readers_of(columns)
    readers["label"] = readers.get(model["label"], str)
    keys = [column["name"] for column in columns if column["role"] == "key"]
    for number, row in enumerate(files.rows(source, format_, readers), start=1):
        column = "label" if "label" in row else model["label"]
        if column not in row:
            raise CommandError(f"row {number} of {source} has no label", Exit.USAGE, hint=f"add the column {column!r}")
        if row.get("prediction_id"):
            yield {"prediction_id": row["prediction_id"], "label": row[column]}
        elif keys and all(key in row for key in keys):
            yield {"model": name, "key": {key: row[key] for key in keys}, "label": row[column]}
        else:
            wanted = " or ".join(["prediction_id", *([", ".join(keys)] if keys else [])])
            raise CommandError(f"row {number} of {source} names no prediction", Exit.USAGE, hint=f"add {wanted}")


def _batches(items: Iterable[Json]) -> Iterator[list[Json]]:
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, _MOST_LABELS)):
        yield batch
