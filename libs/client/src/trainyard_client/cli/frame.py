"""What every command has in common: its options, its client, its errors and its exit code."""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from trainyard.durations import seconds_of
from trainyard.errors import ConfigError
from trainyard.policy import KINDS
from trainyard_client import reaching
from trainyard_client.cli import exits
from trainyard_client.cli.exits import Exit
from trainyard_client.cli.output import Output
from trainyard_client.client import Client
from trainyard_client.environments import LOCAL
from trainyard_client.errors import ApiError, ClientError, MisuseError, UnreachableError, WaitTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trainyard.config import Config
    from trainyard_client.functions import Functions

_SEND_AGAIN = "correct what is named and send it again; docs/formats.md says what can be read"
_LIMITS = "docs/formats.md and docs/api.md have the limits; send less at once"
_ADDRESS = "check the address in --url, TRAINYARD_URL or trainyard env list; it may be that of another release"
_LATER = "repeat in a moment"
#: The next step by error code (docs/errors.md); ``{name}`` is the NAME that the command was given.
HINTS = {
    "no_key": "give --api-key, set TRAINYARD_API_KEY, or run the command where the local stack's data directory is",
    "bad_key": "make a new key with: trainyard key create NAME",
    "wrong_scope": "make a key with the scope with: trainyard key create NAME --scope SCOPE",
    "unknown_dataset": "list the datasets with: trainyard dataset list",
    "unknown_model": "list the models with: trainyard model list",
    "unknown_version": "list the versions with: trainyard versions {name}",
    "unknown_run": "list the runs with: trainyard runs",
    "unknown_request": "list the training requests with: trainyard requests",
    "unknown_alias": "list the aliases with: trainyard alias list {name}",
    "unknown_batch_job": "list your batch jobs with: trainyard batch list",
    "unknown_queue": "list the queues with: trainyard queue show",
    "unknown_trace": "what was just sent may be on its way for some seconds; ids are in: trainyard batches NAME,"
    " trainyard requests, trainyard runs, trainyard versions NAME (as NAME@3), and the header X-Request-Id of answers",
    "unknown_key": "list the keys with: trainyard key list",
    "no_model": "a first version is in work, if trainyard runs {name} shows one; else: trainyard train {name} --wait",
    "conflict": "look at what is there now and repeat",
    "in_use": "delete what uses it first",
    "unavailable": "repeat in a moment; see what is wrong with: trainyard status",
    "not_json": _ADDRESS,
    "not_found": _ADDRESS,
    "method_not_allowed": _ADDRESS,
    "bad_host": _ADDRESS,
    "unsupported_media": _ADDRESS,
    "bad_request": "correct what is named; --help says what each option takes",
    "uri_too_long": "give shorter names or values",
    "headers_too_large": "give a shorter key or names",
    "empty_body": "the file or standard input is empty; look at what was sent",
    "bad_json": _SEND_AGAIN,
    "bad_csv": _SEND_AGAIN,
    "bad_parquet": _SEND_AGAIN,
    "bad_gzip": _SEND_AGAIN,
    "invalid_rows": _SEND_AGAIN,
    "too_large": _LIMITS,
    "csv_limit": _LIMITS,
    "json_limit": _LIMITS,
    "parquet_limit": _LIMITS,
    "bomb": _LIMITS,
    "url_refused": "docs/sources.md says what may be pulled from",
    "source_refused": "correct what is named with: trainyard source add (docs/sources.md)",
    "unknown_batch": "list what arrived with: trainyard batches NAME",
    "unknown_source": "list the sources with: trainyard source list DATASET",
    "unknown_prediction": "a prediction is in the log some seconds after its answer; repeat in a moment",
    "invalid_schema": "correct the columns that are named (docs/datasets.md)",
    "narrowing": "docs/datasets.md says what a column can become; for anything else make another dataset",
    "invalid_model": "correct what is named; docs/policies.md has every key of a policy",
    "invalid_artifact": "docs/import.md says what can be imported",
    "cannot_explain": "leave --explain out, or train the model again",
    "key_reused": "leave --key out, or give another one",
    "in_progress": _LATER,
    "request_timeout": _LATER,
    "too_many_requests": _LATER,
    "not_logged": _LATER,
    "deadline_exceeded": "send fewer rows at once, or repeat",
}


class Duration(click.ParamType[float]):
    """Seconds, written as ``90``, ``90s``, ``1.5m``, ``2h`` or ``7d``."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds."""
        seconds = seconds_of(value)
        if seconds is None or seconds < 0:
            self.fail(f"{value!r} is not a duration such as 90s, 5m, 1h or 7d", param, ctx)
        return seconds


class Names(click.ParamType[list[str]]):
    """Names with commas between them."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        """Return them."""
        names = [name.strip() for name in str(value).split(",")]
        if not all(names):
            self.fail(f"{value!r} is not a list of names such as linear,tree_ensemble", param, ctx)
        return names


#: Of the options that say how long is searched, and for what, for a model and for one training.
TRIALS_HELP = "End after N trials, whatever time they take: such a search can be repeated."
WORKERS_HELP = "Workers that one search may have, where idle ones are to be had."
KINDS_HELP = f"Kinds of estimators to try, with commas between them: some of {', '.join(KINDS)}."


@dataclass(frozen=True)
class Settings:
    """What the entry module read from the environment; click hands it to every command."""

    config: Config
    environ: Mapping[str, str]


class CommandError(click.ClickException):
    """A command cannot do its work: one sentence, the next step and how to end."""

    def __init__(self, message: str, code: Exit, *, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint


def command(
    group: click.Group, name: str, *, example: str, api: bool = True, local: bool = False
) -> Callable[..., click.Command]:
    """Add a function to ``group`` as a command with ``--json`` and, with ``api``, ``--url`` and ``--api-key``.

    The function is called with an :class:`Output`, then a :class:`Client` (with ``api``) or the :class:`Settings`, then
    its own arguments by name. It returns None or an :class:`Exit`. ``--help`` ends with the ``example``. ``local``: it
    is about this machine, so that no environment can be named.
    """

    def decorate(function: Callable[..., Exit | None]) -> click.Command:
        call = functools.partial(_with_client, function) if api else function

        @click.pass_obj
        @functools.wraps(function)
        def run(settings: Settings, /, *, as_json: bool, **arguments: Any) -> None:
            output = Output(as_json=as_json, stdout=sys.stdout, stderr=sys.stderr)
            try:
                if local:
                    _refuse_env(name)
                code = call(output, settings, **arguments) or Exit.OK
            except (ClientError, ConfigError, CommandError) as e:
                code = _report(output, e, name=arguments.get("name") or "NAME")
            if code:
                raise click.exceptions.Exit(int(code))

        made = group.command(name, epilog=f"Example: {example}")(run)
        made.params += [
            click.Option(["--json", "as_json"], is_flag=True, help="Print one JSON document."),
            *((_url_option(), _key_option()) if api else ()),
        ]
        return made

    return decorate


def _url_option() -> click.Option:
    return click.Option(["--url"], help="Address of the services.  [env var: TRAINYARD_URL]")


def _key_option() -> click.Option:
    return click.Option(["--api-key"], help="API key.  [env var: TRAINYARD_API_KEY]")


def _with_client(
    function: Callable[..., Exit | None],
    output: Output,
    settings: Settings,
    *,
    url: str | None,
    api_key: str | None,
    **arguments: Any,
) -> Exit | None:
    wanted = reaching.Wanted(url, api_key, named_env())
    with (
        reaching.reached(settings.config, settings.environ, wanted) as found,
        client_of(found.url, found.key, found.functions) as client,
    ):
        return function(output, client, **arguments)


def named_env() -> str | None:
    """Return the environment that stands in front of the command, ``trainyard --env NAME …``; None without one."""
    name: str | None = click.get_current_context().find_root().params.get("env")
    return name


def _refuse_env(command_name: str) -> None:
    if named_env() not in {None, LOCAL}:
        what = f"{command_name} is about this machine, not about the environment {named_env()}"
        raise CommandError(what, Exit.USAGE, hint="leave --env out")


def client_of(url: str, key: str | None, functions: Functions | None = None) -> Client:
    """Return a client of the services at an address, to be closed."""
    return Client(url, key, functions=functions)


def _report(output: Output, error: Exception, *, name: str) -> Exit:
    """Print what went wrong with the next step, and return how the command ends."""
    match error:
        case CommandError():
            output.error(error.message, code=error.code.name.lower(), hint=error.hint)
            return error.code
        case ConfigError() | MisuseError():
            output.error(str(error), code="usage")
            return Exit.USAGE
        case ApiError():
            hint = error.hint or HINTS.get(error.code, "").replace("{name}", name)
            if error.status >= 500 and error.request_id:
                log = f"the service's log has more under request id {error.request_id}"
                hint = f"{hint}; {log}" if hint else log
            output.error(error.message, code=error.code, details=error.details, hint=hint)
        case UnreachableError():
            hint = "start a local stack with `trainyard up`, or name another: --env (trainyard env list), or --url"
            output.error(str(error), code="unreachable", hint=hint)
        case WaitTimeoutError():
            output.error(str(error), code="timeout", hint=f"it goes on by itself; look again with: {error.look}")
        case _:
            output.error(str(error), code="failed")
    return exits.of_error(error)
