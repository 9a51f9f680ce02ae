"""`trainyard deploy`: Trainyard in an AWS account of your own.

The commands need the package trainyard-deploy, which is imported when one of them runs, not before.
"""

from __future__ import annotations

import importlib
import subprocess
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainyard.errors import TrainyardError
from trainyard.money import dollars
from trainyard_client.cli.exits import Exit
from trainyard_client.cli.frame import CommandError, Settings, command, named_env

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trainyard_client.cli.output import Output


def add_to(root: click.Group) -> None:
    """Add the group and its commands."""

    @root.group("deploy", help="Trainyard in an AWS account of your own (docs/deploy.md).")
    def deploy() -> None:
        pass

    @_where
    @click.option("--prices", type=_file(), help="Table of prices instead of the one in the package.")
    @click.option("--loads", type=_file(), help="Loads to price instead of the ones in the package.")
    @click.option("--costs-only", is_flag=True, help="Ask AWS nothing: tell the costs alone.")
    def plan(
        output: Output,
        settings: Settings,
        *,
        prices: Path | None,
        loads: Path | None,
        costs_only: bool,
        **where: Any,
    ) -> None:
        """Show what `apply` would change, and what the environment costs in a month, idle and under load."""
        package = _package()
        with _deploy_errors():
            choices = package.choices.read(where["choices"])
            table = package.tables.prices(prices)
            bills = {
                name: (load, package.costs.bill(choices, load, table))
                for name, load in package.tables.loads(loads).items()
            }
            changes = [] if costs_only else package.commands.preview(_target(package, settings, choices, where))
        shown: dict[str, Any] = {
            "prices": {"region": table.region, "date": table.date},
            "changes": [asdict(change) for change in changes],
            "costs": {name: _bill(load, lines) for name, (load, lines) in bills.items()},
        }
        if not output.data(shown):
            if not costs_only:
                output.table(
                    shown["changes"], ("stack", "action", "resource", "kind", "replaces"), empty="no stack would change"
                )
            _show_costs(output, shown)

    @_where
    @click.option("--list-steps", is_flag=True, help="Print the steps and do nothing.")
    def apply(output: Output, settings: Settings, *, list_steps: bool, **where: Any) -> None:
        """Bring the environment to what this checkout and the choices say; go on where a killed `apply` was."""
        package = _package()
        with _deploy_errors():
            choices = package.choices.read(where["choices"])
            if list_steps:
                steps = [{"step": one.name, "about": one.about} for one in package.commands.list_steps(choices)]
                if not output.data(steps):
                    output.table(steps, ("step", "about"), empty="")
                return
            package.commands.apply(_target(package, settings, choices, where), _report(package, output))
        if not output.data({"applied": where["env"]}):
            output.say(
                f"{where['env']} is what it should be; open it with: trainyard deploy tunnel --env {where['env']}"
            )

    command(deploy, "plan", example="trainyard deploy plan --env prod", api=False)(plan)
    command(deploy, "apply", example="trainyard deploy apply --env prod", api=False)(apply)
    _add_more(deploy)


def _add_more(deploy: click.Group) -> None:
    """Add what is done with an environment that is there."""

    @_where
    @click.option("--data-too", is_flag=True, help="Delete the stack of the bucket as well; the bucket itself stays.")
    @click.option("--yes", is_flag=True, help="Do not ask.")
    def destroy(output: Output, settings: Settings, *, data_too: bool, yes: bool, **where: Any) -> None:
        """Delete the environment. The bucket and a snapshot of Postgres stay."""
        package = _package()
        if not yes:
            typed = click.prompt(f"Type the name of the environment to delete it ({where['env']})", err=True)
            if typed != where["env"]:
                raise CommandError("nothing was deleted", Exit.REFUSED)
        with _deploy_errors():
            target = _target(package, settings, package.choices.read(where["choices"]), where)
            package.commands.destroy(target, _report(package, output), data_too=data_too)
        if not output.data({"destroyed": where["env"]}):
            output.say(f"{where['env']} is gone; its bucket and a snapshot of Postgres are kept")

    @_where
    @click.option("--port", default=8080, show_default=True, help="Port of this machine.")
    def tunnel(output: Output, settings: Settings, *, port: int, **where: Any) -> Exit:
        """Lead a port of this machine to the services and stay in front of it, until Ctrl-C."""
        package = _package()
        with _deploy_errors():
            target = _target(package, settings, package.choices.read(where["choices"]), where)
            program = package.tunnel.command(target.instance, target.place.region, port)
        output.data({"url": f"http://127.0.0.1:{port}", "instance": target.instance})
        output.note(f"the services are at http://127.0.0.1:{port}; Ctrl-C ends it")
        spoken = subprocess.DEVNULL if output.as_json else None  # the AWS CLI greets on standard output
        return Exit.OK if subprocess.run(program, check=False, stdout=spoken).returncode == 0 else Exit.FAILED

    command(deploy, "destroy", example="trainyard deploy destroy --env prod", api=False)(destroy)
    command(deploy, "tunnel", example="trainyard deploy tunnel --env prod", api=False)(tunnel)


def _file() -> click.Path:
    return click.Path(path_type=Path, exists=True, dir_okay=False)


def _where(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say which environment is meant, and what it is made of."""
    for option in (
        click.option("--build-role", help="ARN of the role that CloudFormation works with; else your own rights."),
        click.option("--region", help="AWS region; else your own default."),
        click.option(
            "--source",
            type=click.Path(path_type=Path, file_okay=False),
            default=".",
            help="Checkout that images are built from.",
        ),
        click.option("--choices", type=_file(), help="File of choices (docs/deploy.md); else the defaults."),
        click.option(
            "--env",
            callback=lambda _context, _option, name: name or named_env() or "prod",
            help="Name of the environment.  [default: the one before the command, else prod]",
        ),
    ):
        function = option(function)
    return function


def _package() -> Any:
    try:
        for module in ("choices", "commands", "costs", "tables", "tunnel"):
            importlib.import_module(f"trainyard_deploy.{module}")
    except ModuleNotFoundError as e:
        raise CommandError(
            f"this command needs the package trainyard-deploy, which is not installed ({e.name} is missing)",
            Exit.DEPENDENCY,
            hint="install it with: pip install 'trainyard-client[deploy]'",
        ) from e
    return importlib.import_module("trainyard_deploy")


@contextmanager
def _deploy_errors() -> Iterator[None]:
    try:
        yield
    except TrainyardError as e:
        taken = type(e).__name__ == "TakenError"
        raise CommandError(str(e), Exit.IN_USE if taken else Exit.FAILED) from e


def _target(package: Any, settings: Settings, choices: Any, where: dict[str, Any]) -> Any:
    return package.commands.Target(
        where["env"],
        choices,
        where["source"],
        region=where["region"],
        endpoint=settings.config.aws_endpoint_url,
        build_role=where["build_role"],
    )


def _report(package: Any, output: Output) -> Any:
    return package.engine.Report(
        began=lambda step: output.note(f"{step.name}: {step.about}"),
        skipped=lambda step: output.note(f"{step.name}: done before"),
        rolled_back=lambda step, error: output.note(f"{step.name} failed ({error}); what was live before comes back"),
    )


def _bill(load: Any, lines: list[Any]) -> dict[str, Any]:
    return {
        "about": load.about,
        "usd": round(sum(line.due for line in lines), 2),
        "usd_without_allowances": round(sum(line.usd for line in lines), 2),
        "lines": [
            {"what": line.what, "quantity": line.quantity, "usd": round(line.due, 2), "list": round(line.usd, 2)}
            for line in lines
        ],
    }


def _show_costs(output: Output, shown: dict[str, Any]) -> None:
    prices = shown["prices"]
    for name, bill in shown["costs"].items():
        output.say("")
        output.say(f"{name}: {dollars(bill['usd'])} a month ({bill['about']})")
        output.table(bill["lines"], ("what", "quantity", "usd", "list"), empty="")
        output.say(f"without AWS's standing allowances {dollars(bill['usd_without_allowances'])}")
    output.say("")
    output.say(f"prices of {prices['region']}, {prices['date']}, without tax; `list` is before allowances")
