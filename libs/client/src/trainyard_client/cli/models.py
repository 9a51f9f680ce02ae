"""`trainyard model …` and `decisions`: what is to be predicted, when it trains by itself, and why it did or did not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from trainyard_client.cli import completing, files, imports
from trainyard_client.cli.exits import Exit
from trainyard_client.cli.frame import KINDS_HELP, TRIALS_HELP, WORKERS_HELP, CommandError, Duration, Names, command

if TYPE_CHECKING:
    from trainyard_client.cli.output import Output
    from trainyard_client.client import Client

    Json = dict[str, Any]


def add_to(root: click.Group) -> None:
    """Add the commands of this module."""
    group = click.Group("model", help="What is to be predicted from which dataset, and by which policy.")
    root.add_command(group)
    _add_create_command(group)
    _add_model_commands(group)
    imports.add_to(group)
    _add_decisions_command(root)


#: Options of `model create` that are keys of the policy under another name.
_POLICY_KEYS = {"budget": "budget_seconds"}


def _add_create_command(group: click.Group) -> None:
    @click.argument("name", shell_complete=completing.models)
    @click.option("--dataset", required=True, help="Where the rows are.", shell_complete=completing.datasets)
    @click.option("--label", required=True, metavar="COLUMN", help="The column to be predicted.")
    @click.option("--task", default="auto", show_default=True, help="binary, multiclass, regression or auto.")
    @click.option(
        "--metric",
        help="What a better version is better in, such as roc_auc, f1 or mae; by default the loss.",
    )
    @click.option("--min-new-rows", type=int, help="Train when so many new rows have arrived.")
    @click.option("--min-new-labels", type=int, help="Train when so many predictions got their label.")
    @click.option("--min-fraction-new", type=float, help="Train when new rows are this part of those last trained on.")
    @click.option("--max-age", type=Duration(), help="Train when the last training is this old, such as 24h.")
    @click.option("--min-interval", type=Duration(), help="Do not train by itself again within this time.")
    @click.option("--cron", metavar="FIELDS", help='Train at these times (UTC), such as "0 2 * * *".')
    @click.option("--on-drift/--no-on-drift", default=None, help="Train when the inputs have drifted.")
    @click.option("--on-quality-drop/--no-on-quality-drop", default=None, help="Train when live quality has dropped.")
    @click.option("--priority", type=int, help="Of its training requests, -100 to 100; the higher is taken first.")
    @click.option("--instance-type", "instance_types", multiple=True, help="Where to train, best first; repeatable.")
    @click.option("--spot/--no-spot", default=None, help="Whether spot capacity may train it.")
    @click.option("--budget", type=Duration(), help="Time for one search, such as 60s.")
    @click.option("--budget-trials", type=click.IntRange(1), metavar="N", help=TRIALS_HELP)
    @click.option("--search-workers", type=click.IntRange(1), metavar="N", help=WORKERS_HELP)
    @click.option("--kind", "kinds", type=Names(), help=KINDS_HELP)
    @click.option("--seed", type=int, help="Seed of the search.")
    @click.option("--leakage", help="Columns that seem to give the label away: leave_out (default) or keep.")
    @click.option("--exclude", multiple=True, metavar="COLUMN", help="Never learn from this column; repeatable.")
    @click.option("--include", multiple=True, metavar="COLUMN", help="Learn from it in any case; repeatable.")
    @click.option(
        "--own-function/--no-own-function", default=None, help="Whether it is to be deployed as a predictor of its own."
    )
    @click.option(
        "--policy",
        "policy_file",
        metavar="FILE",
        help="JSON file with a policy; the options above win.",
        shell_complete=completing.files,
    )
    def create(
        output: Output, client: Client, *, name: str, dataset: str, label: str, task: str, policy_file: str | None,
        instance_types: tuple[str, ...], exclude: tuple[str, ...], include: tuple[str, ...],
        **options: Any,
    ) -> None:  # fmt: skip
        """Create the model NAME, or change its policy."""
        policy = files.json_file(policy_file) if policy_file else {}
        if not isinstance(policy, dict):
            raise CommandError(f"{policy_file} is not a JSON object", Exit.USAGE)
        given = {_POLICY_KEYS.get(key, key): value for key, value in options.items() if value is not None}
        if instance_types:
            given["instance_types"] = list(instance_types)
        columns = {key: list(names) for key, names in (("exclude", exclude), ("include", include)) if names}
        if columns:
            given["columns"] = {**policy.get("columns", {}), **columns}
        model = client.create_model(name, dataset, label, task=task, policy={**policy, **given})
        if not output.data(model):
            _show_model(output, model)

    example = "trainyard model create late --dataset flights --label late --min-new-rows 5000 --budget 60s"
    command(group, "create", example=example)(create)


def _add_model_commands(group: click.Group) -> None:
    def list_(output: Output, client: Client) -> None:
        """List the models."""
        found = list(client.models())
        if not output.data(found):
            output.table(found, ("name", "dataset", "label", "task", "champion", "created_at"), empty="no models yet")

    @click.argument("name", shell_complete=completing.models)
    def show(output: Output, client: Client, name: str) -> None:
        """Show the model NAME and its policy."""
        model = client.model(name)
        if not output.data(model):
            _show_model(output, model)

    @click.argument("name", shell_complete=completing.models)
    def delete(output: Output, client: Client, name: str) -> None:
        """Delete the model NAME; its artifacts stay."""
        client.delete_model(name)
        if not output.data({"deleted": name}):
            output.say(f"model {name} is deleted")

    command(group, "list", example="trainyard model list")(list_)
    command(group, "show", example="trainyard model show late")(show)
    command(group, "delete", example="trainyard model delete late")(delete)


def _show_model(output: Output, model: Json) -> None:
    output.fields(
        {**model, **{f"policy {k}": v for k, v in model["policy"].items()}},
        ("name", "dataset", "label", "task", "champion", "created_at", *(f"policy {k}" for k in model["policy"])),
    )


def _add_decisions_command(root: click.Group) -> None:
    @click.argument("name", shell_complete=completing.models)
    def decisions(output: Output, client: Client, name: str) -> None:
        """Show why the model NAME trained by itself, or did not, newest first."""
        found = list(client.decisions(name))
        if not output.data(found):
            output.table(found, ("at", "last_at", "times", "fired", "trigger", "reason"), empty="no decisions yet")

    command(root, "decisions", example="trainyard decisions late")(decisions)
