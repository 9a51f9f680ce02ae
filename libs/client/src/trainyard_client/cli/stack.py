"""`trainyard up`, `down`, `status`, `console`, `demo`: the whole stack on this machine.

They need the package trainyard-embedded (and trainyard-demo), which a client of a remote stack does without: both are
imported when one of these commands runs, not before.
"""

from __future__ import annotations

import importlib
import shlex
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from trainyard_client.cli import exits, frame
from trainyard_client.cli.exits import Exit
from trainyard_client.cli.frame import CommandError, Settings, command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trainyard_client.cli.output import Output

_SERVING = ("environment", "process", "model", "asked", "version", "refused", "at")
_MOST_SAID = 3


def add_to(root: click.Group) -> None:
    """Add the commands of this module."""

    @click.option("--detach", is_flag=True, help="Return when the stack is ready and leave it running.")
    def up(output: Output, settings: Settings, *, detach: bool) -> Exit:
        """Start the whole stack on this machine and stay in front of it until Ctrl-C.

        Everything is kept in TRAINYARD_DATA_DIR; a second `up` carries on where the first ended.
        """
        embedded = local_stack()
        output.note(f"starting the stack in {settings.config.data_dir}")
        with stack_errors(embedded):
            code = embedded.commands.up(
                settings.config,
                settings.environ,
                detach=detach,
                on_ready=lambda ready: _show_ready(output, ready, embedded.commands.console_link(ready), detach=detach),
            )
        return exits.of_stack(code)

    def down(output: Output, settings: Settings) -> Exit:
        """Stop the stack of this data directory; nothing to stop is no error."""
        embedded = local_stack()
        with stack_errors(embedded):
            code = embedded.commands.down(settings.config)
        if not output.data({"stopped": str(settings.config.data_dir)}):
            output.say(f"nothing runs in {settings.config.data_dir} any more")
        return exits.of_stack(code)

    def status(output: Output, settings: Settings) -> Exit:
        """Show what runs in this data directory and which versions answer.

        Exit 0 only when the stack is ready and no predictor refuses a version that it should serve.
        """
        embedded = local_stack()
        found = embedded.commands.status(settings.config)
        serving = [] if found.ready is None else _serving(found.ready)
        refusing = [one for one in serving if one["refused"]]
        if not output.data({**found.shown(), "serving": serving}):
            _show_status(output, settings, found, serving)
        if refusing:
            raise _refused(refusing)
        return exits.of_stack(found.exit_code)

    def console(output: Output, settings: Settings) -> Exit:
        """Print an address that signs a browser in to the console of this data directory's stack.

        It can be followed once, within an hour, and gives the rights of the admin key: it is a password.
        """
        embedded = local_stack()
        found = embedded.commands.status(settings.config)
        if found.ready is None:
            raise CommandError(
                f"no stack is ready in {settings.config.data_dir}",
                exits.of_stack(found.exit_code),
                hint="start it with: trainyard up",
            )
        link = embedded.commands.console_link(found.ready)
        if not output.data({"url": link}):
            output.say(link)
        return Exit.OK

    @click.option("--once", is_flag=True, help="End with exit code 0 after the story instead of staying up.")
    @click.option("--at", metavar="URL", help="Play on the fresh stack that runs there, with TRAINYARD_API_KEY.")
    def demo(output: Output, settings: Settings, *, once: bool, at: str | None) -> Exit:
        """Tell the whole story of the loop on a year of real flights."""
        story = imported("trainyard_demo.main", "trainyard-demo")
        return Exit(story.run(settings.config, settings.environ, once=once, as_json=output.as_json, at=at))

    command(root, "up", example="trainyard up --detach", api=False, local=True)(up)
    command(root, "down", example="trainyard down", api=False, local=True)(down)
    command(root, "status", example="trainyard status --json", api=False, local=True)(status)
    command(root, "console", example="trainyard console", api=False, local=True)(console)
    command(root, "demo", example="trainyard demo --once", api=False, local=True)(demo)


def _show_status(output: Output, settings: Settings, found: Any, serving: Sequence[Mapping[str, Any]]) -> None:
    if found.ready is not None:
        output.say(f"ready at {found.ready.url} (pid {found.pid})")
        _show_addresses(output, found.ready)
    elif found.running:
        output.say(f"running but not ready (pid {found.pid}); see {settings.config.data_dir / 'logs'}")
    else:
        output.say(f"nothing runs in {settings.config.data_dir}; start it with: trainyard up")
    rows = [{"process": name, "pid": pid} for name, pid in found.processes.items()]
    if rows:
        output.table(rows, ("process", "pid"), empty="")
    if found.ready is not None:
        output.say("what serves now:")
        output.table(serving, _SERVING, empty="no predictor has been asked for a model yet")


def _serving(ready: Any) -> list[dict[str, Any]]:
    """Return what predictors serve and refuse.

    Raises:
        ClientError: the stack does not answer, though it says that it is ready.
    """
    key = Path(ready.admin_key_file).read_text(encoding="utf-8").strip()
    with frame.client_of(ready.url, key) as client:
        return client.serving()


def _refused(refusing: Sequence[Mapping[str, Any]]) -> CommandError:
    """Return the error about versions that are not served though an alias points at them."""
    said = [
        f"{one['environment']}/{one['process']} refuses what {one['model']}@{one['asked']} points at and"
        + (f" goes on with version {one['version']}" if one["version"] else " has no version to answer with")
        + f": {one['refused']}"
        for one in refusing
    ]
    model = refusing[0]["model"]
    return CommandError(
        "; ".join(said[:_MOST_SAID]),
        Exit.FAILED,
        hint=f"put a sound version there: trainyard rollback {model}, or trainyard promote {model} VERSION",
    )


def local_stack() -> Any:
    imported("trainyard_embedded.errors", "trainyard-embedded")
    imported("trainyard_embedded.commands", "trainyard-embedded")
    return importlib.import_module("trainyard_embedded")


def imported(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as e:
        raise CommandError(
            f"this command needs the package {package}, which is not installed ({e.name} is missing)",
            Exit.DEPENDENCY,
            hint="install it with: pip install 'trainyard-client[embedded]'",
        ) from e


@contextmanager
def stack_errors(embedded: Any) -> Iterator[None]:
    try:
        yield
    except embedded.errors.StackError as e:
        raise CommandError(str(e), exits.of_stack(e.exit_code)) from e


def _show_ready(output: Output, ready: Any, console: str, *, detach: bool) -> None:
    key = Path(ready.admin_key_file).read_text(encoding="utf-8").strip()
    if output.data({**ready.shown(), "key": key, "console": console}):
        return
    output.say(f"Trainyard is ready at {ready.url}")
    output.say(f"  console   {console}")
    output.say(f"  API key   {key}")
    _show_addresses(output, ready)
    output.say("stop it with: trainyard down" if detach else "stop it with Ctrl-C")


def _show_addresses(output: Output, ready: Any) -> None:
    """Say how to reach what stands around the services; the database by a line for a shell, without the password."""
    database = urlsplit(ready.database_url)
    password = shlex.quote(str(Path(ready.data_dir) / "keys" / "postgres.password"))
    where = f"postgresql://{database.username}@{database.hostname}:{database.port}{database.path}"
    output.say(f"  database  PGPASSWORD=$(cat {password}) psql {where}")
    output.say(f"  AWS API   {ready.aws_endpoint_url}, bucket {ready.bucket}")
    output.say(f"  logs      {ready.logs_dir}")
