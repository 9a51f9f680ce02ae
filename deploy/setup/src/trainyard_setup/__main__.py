"""``python -m trainyard_setup secrets FOLDER``, or ``stack``: both may run any number of times.

``stack`` brings the database to the newest revision and makes what is missing in AWS. Exit codes are those of
``trainyard-migrate``.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from trainyard import config
from trainyard.adapters.aws.clients import AwsClients
from trainyard.adapters.aws.ensure import AwsSetup
from trainyard.adapters.postgres import migrate
from trainyard.errors import ConfigError
from trainyard.loops import patiently
from trainyard_setup import secret_files

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Do what the arguments say; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m trainyard_setup", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("secrets", help="make the secrets that are missing").add_argument("folder", type=Path)
    commands.add_parser("stack", help="bring database and AWS up to date")
    asked = parser.parse_args(arguments)
    if asked.command == "secrets":
        secret_files.ensure(asked.folder)
        return migrate.EXIT_OK
    return _set_up(environ)


def _set_up(environ: Mapping[str, str]) -> int:
    code = migrate.main()
    if code == migrate.EXIT_OK:
        try:
            settings = config.load(environ)
            patiently(AwsSetup(AwsClients(settings), settings).ensure, "AWS", threading.Event())
        except ConfigError as e:
            sys.stderr.write(f"trainyard-setup: {e}\n")
            return migrate.EXIT_CONFIG
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))  # noqa: TID251 - the entry reads the environment
