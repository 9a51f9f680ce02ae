"""The scheduler's processes as a supervisor sees them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.integration.scheduler.loops import decisions_of, make_model, take_ids

from trainyard.testing.processes import end

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.scheduler.warehouse import Warehouse

    from trainyard.adapters.aws.clients import AwsClients
    from trainyard.adapters.postgres.scheduling import PostgresStore
    from trainyard.config import Config

COMMAND = [sys.executable, "-m", "trainyard_scheduler.main"]


@contextmanager
def started(environment: dict[str, str], directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start the loops; end them whatever happens."""
    with (directory / "log").open("ab") as log:
        process = subprocess.Popen(COMMAND, env=environment, stdout=log, stderr=log)
        try:
            yield process
        finally:
            end(process)


def test_stop_and_kill(
    environment: dict[str, str],
    settings: Config,
    store: PostgresStore,
    warehouse: Warehouse,
    aws_clients: AwsClients,
    tmp_path: Path,
) -> None:
    """SIGTERM ends the process with 0; one that dies between send and COMMIT leaves its work to the next."""
    make_model(store, 10)
    base = {**os.environ, **environment}
    once = tmp_path / "fired"
    deadly = {**base, "TRAINYARD_ENV": "test", "CHAOS": f"K14:kill9:once={once}"}
    with started(deadly, tmp_path) as process:
        warehouse.add(10)
        assert process.wait(30) == -signal.SIGKILL
    with started(base, tmp_path) as process:
        assert len(take_ids(aws_clients, settings.queue_training, wait_seconds=15)) == 1
        assert [reason.startswith("fired") for reason in decisions_of(store)].count(True) == 1
        process.terminate()
        assert process.wait(20) == 0


def test_bad_setting(environment: dict[str, str], tmp_path: Path) -> None:
    """A setting that cannot be used ends the process with 2 and one sentence that names it."""
    for change, said in [
        ({"TRAINYARD_DATABASE_URL": ""}, "TRAINYARD_DATABASE_URL is not set"),
        ({"TRAINYARD_FLEET_MAX": "many"}, "TRAINYARD_FLEET_MAX='many' cannot be read"),
        ({"TRAINYARD_ADMIN_KEY_FILE": str(tmp_path / "nosuch")}, "cannot be read"),
    ]:
        ended = subprocess.run(
            COMMAND,
            env={**os.environ, **environment, **change},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == 2
        assert said in ended.stderr.splitlines()[-1]
