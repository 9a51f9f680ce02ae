"""`trainyard model …`, `train`, `runs`, `run …`: from a dataset to a version."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from trainyard_client.cli import files
from trainyard_client.cli.exits import Exit
from trainyard_client.cli.frame import CommandError, command
from trainyard_client.errors import ApiError

if TYPE_CHECKING:
    from trainyard_client.cli.output import Output
    from trainyard_client.client import Client

    Json = dict[str, Any]

_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}
_DURATION = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)([smh]?)", re.ASCII)


class Duration(click.ParamType[float]):
    """Seconds, written as ``90``, ``90s``, ``1.5m`` or ``2h``."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds."""
        match = _DURATION.fullmatch(str(value))
        if match is None:
            self.fail(f"{value!r} is not a duration such as 90s, 5m or 1h", param, ctx)
        return float(match[1]) * _SECONDS[match[2]]


def add_to(root: click.Group) -> None:
    """Add the commands of this module."""
    group = click.Group("model", help="What is to be predicted from which dataset, and by which policy.")
    runs = click.Group("run", help="One attempt to train a version.")
    root.add_command(group)
    root.add_command(runs)
    _add_model_commands(group)
    _add_train_command(root)
    _add_run_commands(root, runs)


def _add_model_commands(group: click.Group) -> None:
    @click.argument("name")
    @click.option("--dataset", required=True, help="Where the rows are.")
    @click.option("--label", required=True, metavar="COLUMN", help="The column to be predicted.")
    @click.option("--task", default="auto", show_default=True, help="binary, multiclass, regression or auto.")
    @click.option("--metric", help="What a better version is better in; by default log_loss or rmse.")
    @click.option("--min-new-rows", type=int, help="Train by itself when so many new rows have arrived.")
    @click.option("--budget", type=Duration(), help="Time for one search, such as 60s.")
    @click.option("--families", help="Kinds of estimators to try, such as linear,trees.")
    @click.option("--seed", type=int, help="Seed of the search.")
    @click.option("--policy", "policy_file", metavar="FILE", help="JSON file with a policy; the options above win.")
    def create(
        output: Output, client: Client, *, name: str, dataset: str, label: str, task: str, policy_file: str | None,
        families: str | None, **options: Any,
    ) -> None:  # fmt: skip
        """Create the model NAME, or change its policy."""
        policy = files.json_file(policy_file) if policy_file else {}
        if not isinstance(policy, dict):
            raise CommandError(f"{policy_file} is not a JSON object", Exit.USAGE)
        given = {"budget_seconds" if k == "budget" else k: v for k, v in options.items() if v is not None}
        if families:
            given["families"] = [family.strip() for family in families.split(",")]
        model = client.create_model(name, dataset, label, task=task, policy={**policy, **given})
        if not output.data(model):
            _show_model(output, model)

    def list_(output: Output, client: Client) -> None:
        """List the models."""
        found = list(client.models())
        if not output.data(found):
            output.table(found, ("name", "dataset", "label", "task", "champion", "created_at"), empty="no models yet")

    @click.argument("name")
    def show(output: Output, client: Client, name: str) -> None:
        """Show the model NAME and its policy."""
        model = client.model(name)
        if not output.data(model):
            _show_model(output, model)

    @click.argument("name")
    def delete(output: Output, client: Client, name: str) -> None:
        """Delete the model NAME; its artifacts stay."""
        client.delete_model(name)
        if not output.data({"deleted": name}):
            output.say(f"model {name} is deleted")

    example = "trainyard model create late --dataset flights --label late --min-new-rows 5000 --budget 60s"
    command(group, "create", example=example)(create)
    command(group, "list", example="trainyard model list")(list_)
    command(group, "show", example="trainyard model show late")(show)
    command(group, "delete", example="trainyard model delete late")(delete)


def _show_model(output: Output, model: Json) -> None:
    output.fields(
        {**model, **{f"policy {k}": v for k, v in model["policy"].items()}},
        ("name", "dataset", "label", "task", "champion", "created_at", *(f"policy {k}" for k in model["policy"])),
    )


def _add_train_command(root: click.Group) -> None:
    @click.argument("name")
    @click.option("--wait", is_flag=True, help="Stay until it has ended and say what came out.")
    @click.option("--timeout", type=Duration(), default="30m", show_default=True, help="Longest wait with --wait.")
    def train(output: Output, client: Client, name: str, wait: bool, timeout: float) -> Exit | None:
        """Train a version of the model NAME now, whatever its policy says."""
        request = client.train(name)
        if not wait:
            if not output.data(request):
                output.say(f"request {request['id']} is {request['state']}; look at it with: trainyard runs {name}")
            return None
        request = wait_with_progress(output, client, request["id"], timeout)
        version = next((v for v in client.versions(name) if v["request_id"] == request["id"]), None)
        if not output.data({"request": request, "version": version}):
            _show_outcome(output, request, version)
        return Exit.OK if request["state"] == "done" else Exit.FAILED

    command(root, "train", example="trainyard train late --wait")(train)


def wait_with_progress(output: Output, client: Client, request_id: str, seconds: float) -> Json:
    """Wait for a training request's end under a progress bar that shows its run; return the request."""
    with output.progress() as progress:
        task = progress.add_task("queued", total=None)

        def show(request: Json, run: Json | None) -> None:
            at = (run or {}).get("progress") or {}
            said = at.get("message") or at.get("stage") or request["state"]
            progress.update(task, description=str(said)[:60], completed=at.get("done") or 0, total=at.get("total"))

        return client.wait(request_id, seconds=seconds, on_progress=show)


def _show_outcome(output: Output, request: Json, version: Json | None) -> None:
    if version is None:
        output.say(f"request {request['id']} is {request['state']}: {request.get('error') or 'no version came of it'}")
        return
    verdict = "passed the gate" if version["passed"] else "did not pass the gate"
    output.say(f"version {version['version']} of {version['model']} {verdict}")
    show_gate(output, version)


def show_gate(output: Output, version: Json) -> None:
    """Print the checks of a version's gate report, value beside threshold."""
    columns = ("name", "value", "threshold", "passed", "words")
    output.table(version["gate"].get("checks", []), columns, empty="no gate report")


def _add_run_commands(root: click.Group, group: click.Group) -> None:
    @click.argument("name", required=False)
    def runs(output: Output, client: Client, name: str | None) -> None:
        """List the runs, of all models or of the model NAME, newest first."""
        found = list(client.runs(name))
        if not output.data(found):
            columns = ("id", "model", "attempt", "state", "version", "started_at", "ended_at", "error")
            output.table(found, columns, empty="no runs yet")

    @click.argument("run_id", metavar="ID")
    def show(output: Output, client: Client, run_id: str) -> None:
        """Show the run ID with its trials."""
        run = client.run(run_id)
        if not output.data(run):
            names = ("id", "model", "request_id", "attempt", "state", "version", "worker", "instance_id", "progress",
                     "started_at", "ended_at", "error")  # fmt: skip
            output.fields(run, names)
            output.table(
                run["trials"], ("number", "family", "params", "metrics", "seconds", "chosen"), empty="no trials yet"
            )

    @click.argument("run_id", metavar="ID")
    def cancel(output: Output, client: Client, run_id: str) -> None:
        """Cancel the training that the run (or training request) ID belongs to."""
        request = client.cancel(_request_of(client, run_id))
        if not output.data(request):
            output.say(f"request {request['id']} is {request['state']}; a running trainer stops within seconds")

    command(root, "runs", example="trainyard runs late")(runs)
    command(group, "show", example="trainyard run show 0192f7f0-8c1a-7d3e-9d8a-0f4e2c6b1a55")(show)
    command(group, "cancel", example="trainyard run cancel 0192f7f0-8c1a-7d3e-9d8a-0f4e2c6b1a55")(cancel)


def _request_of(client: Client, ident: str) -> str:
    try:
        return str(client.run(ident)["request_id"])
    except ApiError as e:
        if e.status != 404:
            raise
        return ident  # not a run: a request that no trainer has taken yet
