"""`trainyard dataset erase | profile`, and a batch's report: what a dataset holds, and what of it shall go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from trainyard_client.cli.exits import Exit
from trainyard_client.cli.frame import CommandError, command

if TYPE_CHECKING:
    from trainyard_client.cli.output import Output
    from trainyard_client.client import Client

    Json = dict[str, Any]

_FIGURES = ("name", "type", "nulls", "min", "max", "mean", "std")


def add_to(group: click.Group) -> None:
    """Add the commands to ``trainyard dataset``."""

    @click.argument("name")
    def profile(output: Output, client: Client, name: str) -> None:
        """Show what the columns of the dataset NAME hold, as far as its batches were reported on."""
        found = client.profile(name)
        if not output.data(found):
            output.fields(found, ("name", "rows", "batches", "reported"))
            output.table(found["columns"], (*_FIGURES, "levels"), empty="no columns")

    @click.argument("name")
    @click.option("--key", required=True, help="The key's value; for a key of several columns a JSON object of them.")
    @click.option("--yes", is_flag=True, help="Do not ask.")
    def erase(output: Output, client: Client, *, name: str, key: str, yes: bool) -> None:
        """Erase every row of a key from the dataset NAME, for good."""
        if not (yes or click.confirm(f"Erase every row of {key} from {name}? This cannot be undone", err=True)):
            raise CommandError("nothing was erased", Exit.FAILED)
        erased = client.erase(name, key)
        if output.data(erased):
            return
        output.say(f"{erased['erased_rows']:,} rows are erased (erasure {erased['erasure_id']})")
        if erased["not_reproducible"]:
            output.say("these versions were trained on them and cannot be trained again to the same bytes:")
            output.table(erased["not_reproducible"], ("model", "version"), empty="")

    command(group, "profile", example="trainyard dataset profile flights")(profile)
    command(group, "erase", example="trainyard dataset erase flights --key 4711")(erase)


def show_report(output: Output, batch: Json) -> None:
    """Print a batch's quality report for people."""
    report = batch["report"]
    if report is None:
        output.say(
            "its quality report is not made yet" if batch["state"] == "committed" else "a refused batch has none"
        )
        return
    twice = report["duplicates"]
    if report["sampled"]:
        output.say(f"the figures are of {report['seen']:,} of its rows")
    new = {
        column["name"]: column["new_categories"]["count"]
        for column in report["columns"]
        if column.get("new_categories")
    }
    rows = [{**column, "new categories": new.get(column["name"])} for column in report["columns"]]
    output.table(rows, (*_FIGURES, "distinct", "new categories"), empty="no columns")
    for count, what in (
        (twice["rows"], "rows came twice in this batch"),
        (twice["keys"], "rows repeat a key of this batch"),
        (twice["known_keys"], "keys were known before"),
    ):
        if count:
            output.say(f"{count:,} {what}")
