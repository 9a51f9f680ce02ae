"""``python -m trainyard_ec2host``: the EC2 host as a process."""

from __future__ import annotations

import os
import sys

from trainyard import config as settings
from trainyard import logs
from trainyard_ec2host import bootstrap

if __name__ == "__main__":
    environ = dict(os.environ)  # noqa: TID251 - the entry reads the environment
    config = settings.load(environ)
    logs.configure("ec2host", level=config.log_level)
    sys.exit(bootstrap.run(config, environ))
