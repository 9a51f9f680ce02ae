"""Entry of the `trainyard` command: reads the environment once, runs a command, ends with a named exit code."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from trainyard import config
from trainyard.errors import ConfigError
from trainyard_client.cli import (
    backup,
    batch_jobs,
    batches,
    completing,
    completion,
    datasets,
    deploy,
    doctor,
    environment,
    fleet,
    models,
    operations,
    predictions,
    queues,
    rows,
    runs,
    sources,
    stack,
    trace,
    versions,
)
from trainyard_client.cli.exits import Exit
from trainyard_client.cli.frame import Settings
from trainyard_client.cli.output import Output

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ABOUT = """Trainyard: rows in, models trained, tested and promoted, predictions out.

Start with `trainyard up` (or `trainyard demo`), then `trainyard dataset create --help`. Every command takes --json.
Exit codes: 0 done, 1 failed, 2 wrong use, 3 unreachable, 4 refused, 5 not found, 6 timed out, 7 denied; all of them
are in docs/cli.md.
"""


def make_command() -> click.Group:
    """Return the whole command; docs/cli.md is generated from it."""
    root = click.Group("trainyard", help=_ABOUT, context_settings={"help_option_names": ["-h", "--help"]})
    root.params.append(
        click.Option(
            ["--env"],
            metavar="NAME",
            shell_complete=completing.environments,
            help="The environment that the command is about (see trainyard env); local is the stack on this machine.",
        )
    )
    for module in (
        stack,
        backup,
        datasets,
        rows,
        batches,
        sources,
        models,
        runs,
        versions,
        predictions,
        batch_jobs,
        queues,
        fleet,
        operations,
        doctor,
        trace,
        environment,
        deploy,
        completion,
    ):
        module.add_to(root)
    return root


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run one command line and return its exit code."""
    output = Output(as_json="--json" in arguments, stdout=sys.stdout, stderr=sys.stderr)
    try:
        settings = Settings(config.load(environ), environ)
        code = make_command().main(args=list(arguments), prog_name="trainyard", standalone_mode=False, obj=settings)
    except ConfigError as e:
        output.error(str(e), code="usage", hint="docs/settings.md has every variable and what it takes")
        return Exit.USAGE
    except click.exceptions.NoArgsIsHelpError as e:
        e.show()
        return e.exit_code
    except click.ClickException as e:
        context = getattr(e, "ctx", None)
        hint = f"how it is called: {context.command_path} --help" if context else ""
        output.error(e.format_message(), code="usage", hint=hint)
        return e.exit_code
    except click.Abort:
        output.error("interrupted", code="interrupted")
        return Exit.INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe had seen enough
        sys.stdout = None  # nothing may be flushed there at exit
        return Exit.OK
    return code if isinstance(code, int) else Exit.OK


def main() -> None:
    """Run the command line of this process."""
    sys.exit(int(run(sys.argv[1:], os.environ)))  # noqa: TID251 - the entry reads the environment


if __name__ == "__main__":
    main()
