"""`trainyard env …`: the environments that commands can be about, and the one that they are about unless told else."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from trainyard.errors import TrainyardError
from trainyard_client import reaching
from trainyard_client.cli import completing
from trainyard_client.cli.exits import Exit
from trainyard_client.cli.frame import CommandError, Settings, command
from trainyard_client.environments import LOCAL, Environment, Environments
from trainyard_client.errors import ClientError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainyard_client.cli.output import Output

_COLUMNS = ("in_use", "name", "services", "key", "predictions")


def add_to(root: click.Group) -> None:
    """Add the group and its commands."""
    group = click.Group("env", help="The environments that commands can be about (docs/environments.md).")
    root.add_command(group)
    _add_add(group)

    def list_(output: Output, settings: Settings) -> None:
        """List the environments, and say which one commands are about when they are not told."""
        kept = Environments(settings.config.config_dir)
        current, known = kept.current or LOCAL, kept.all()
        found = [{"in_use": name == current, **one.shown()} for name, one in sorted(known.items())]
        if not output.data([{"in_use": current == LOCAL, "name": LOCAL}, *found]):
            rows = [_row(one, in_use=name == current) for name, one in sorted(known.items())]
            here = {"in_use": _mark(current == LOCAL), "name": LOCAL, "services": "this machine", "key": "its own"}
            output.table([here, *rows], _COLUMNS, empty="")
            if settings.config.url:
                output.note(f"TRAINYARD_URL is set: commands without --env go to {settings.config.url}")

    @click.argument("name", shell_complete=completing.environments)
    def use(output: Output, settings: Settings, *, name: str) -> None:
        """Have commands without --env go to the environment NAME; `local` is the stack on this machine."""
        Environments(settings.config.config_dir).use(name)
        if not output.data({"in_use": name}):
            output.say(f"commands are about {name} now")
            if settings.config.url:
                output.note("TRAINYARD_URL is set and comes before it; unset it")

    @click.argument("name", shell_complete=completing.environments)
    def remove(output: Output, settings: Settings, *, name: str) -> None:
        """Forget the environment NAME; nothing happens to itself."""
        Environments(settings.config.config_dir).remove(name)
        if not output.data({"removed": name}):
            output.say(f"{name} is forgotten; what runs there goes on")

    command(group, "list", example="trainyard env list", api=False)(list_)
    command(group, "use", example="trainyard env use prod", api=False)(use)
    command(group, "remove", example="trainyard env remove prod", api=False)(remove)


def _add_add(group: click.Group) -> None:
    @click.argument("name", shell_complete=completing.nothing)
    @click.option("--url", help="Address of the services.")
    @click.option("--deployed", is_flag=True, help="Ask AWS for everything: `trainyard deploy` has made it.")
    @click.option("--region", help="AWS region; else your own default.")
    @click.option(
        "--key-file", metavar="FILE", shell_complete=completing.files, help="File with the API key; - reads the key."
    )
    @click.option("--key-parameter", metavar="NAME", help="Parameter of AWS Systems Manager with the API key.")
    @click.option("--predictor-url", help="Lambda function that answers predictions in the services' stead.")
    @click.option("--function", "functions", metavar="MODEL=URL", multiple=True, help="The same for one model.")
    @click.option("--unsigned", is_flag=True, help="The functions know the API key; else requests are signed for IAM.")
    @click.option("--use", "used", is_flag=True, help="Have commands without --env go to it from now on.")
    def add(output: Output, settings: Settings, *, name: str, used: bool, **given: Any) -> None:
        """Keep where the environment NAME is and what knows its key; one of that name is replaced.

        With --deployed the services are reached through AWS Systems Manager, as `trainyard deploy tunnel` does, for as
        long as each command lasts, unless they have a domain.
        """
        kept = Environments(settings.config.config_dir)
        environment = _described(settings, name, given)
        kept.put(environment)
        if used:
            kept.use(name)
        if not output.data(environment.shown()):
            output.fields(_row(environment, in_use=kept.current == name), _COLUMNS[1:])
            output.say(f"try it with: trainyard --env {name} model list")

    example = "trainyard env add prod --url https://trainyard.example.com --key-file ~/prod.key --use"
    command(group, "add", example=example, api=False)(add)


def _described(settings: Settings, name: str, given: Mapping[str, Any]) -> Environment:
    """Return the environment that the options describe.

    Raises:
        CommandError: they contradict each other, or AWS knows no such environment.
    """
    if given["deployed"] == (given["url"] is not None):
        raise CommandError("give either --url URL or --deployed", Exit.USAGE)
    if given["key_file"] and given["key_parameter"]:
        raise CommandError("give --key-file or --key-parameter, not both", Exit.USAGE)
    found = Environment(name, url=given["url"], region=given["region"])
    if given["deployed"]:
        try:
            known = reaching.through_aws().described(
                name, region=given["region"], endpoint=settings.config.aws_endpoint_url
            )
        except ClientError:
            raise
        except TrainyardError as e:
            raise CommandError(str(e), Exit.FAILED) from e
        found = Environment(name, **known)
    if given["key_file"] == "-":
        found = replace(found, key=sys.stdin.readline().strip() or None, key_parameter=None)
    elif given["key_file"]:
        found = replace(found, key_file=given["key_file"], key_parameter=None)
    elif given["key_parameter"]:
        found = replace(found, key_parameter=given["key_parameter"])
    if not all("=" in one for one in given["functions"]):
        raise CommandError("a function is MODEL=URL", Exit.USAGE)
    functions = {model: url for model, _, url in (one.partition("=") for one in given["functions"])}
    return replace(
        found,
        predictor=given["predictor_url"] or found.predictor,
        functions={**found.functions, **functions},
        signed=found.signed and not given["unsigned"],
    )


def _row(one: Environment, *, in_use: bool) -> dict[str, str | None]:
    key = "kept here" if one.key else one.key_file or one.key_parameter
    predictions = [one.predictor] if one.predictor else []
    predictions += [f"{model}: {url}" for model, url in sorted(one.functions.items())]
    return {
        "in_use": _mark(in_use),
        "name": one.name,
        "services": one.url or "through AWS Systems Manager",
        "key": key,
        "predictions": ", ".join(predictions) + (" (signed)" if one.signed else "") if predictions else "services",
    }


def _mark(in_use: bool) -> str:
    return "*" if in_use else ""
