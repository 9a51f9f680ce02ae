"""``python -m trainyard_ec2host``: the EC2 host as a process.

Exit code 0 after a stop that was asked for, 2 for a setting that cannot be used.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from trainyard import config as settings
from trainyard import logs
from trainyard.errors import ConfigError
from trainyard_ec2host import bootstrap

if TYPE_CHECKING:
    from collections.abc import Mapping

EXIT_CONFIG = 2


def main(environ: Mapping[str, str]) -> int:
    """Run the host; return the exit code."""
    try:
        config = settings.load(environ)
        logs.configure("ec2host", level=config.log_level)
        return bootstrap.run(config, environ)
    except ConfigError as e:
        sys.stderr.write(f"trainyard-ec2host: {e}\n")
        return EXIT_CONFIG


if __name__ == "__main__":
    sys.exit(main(dict(os.environ)))  # noqa: TID251 - the entry reads the environment
