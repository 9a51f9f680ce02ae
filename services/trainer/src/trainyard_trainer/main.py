"""``python -m trainyard_trainer.main``: the trainer as a process."""

from __future__ import annotations

import os
import sys

from trainyard import config, crashpoints, logs
from trainyard.errors import ConfigError
from trainyard_trainer import bootstrap


def main() -> int:
    """Read the environment and run; exit code 0 after an orderly end, 2 on a bad setting."""
    environ = dict(os.environ)  # noqa: TID251 - an entry module
    try:
        settings = config.load(environ)
        logs.configure("trainer", level=settings.log_level)
        crashpoints.arm(environ)
        return bootstrap.run(settings)
    except ConfigError as e:
        sys.stderr.write(f"trainyard-trainer: {e}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
