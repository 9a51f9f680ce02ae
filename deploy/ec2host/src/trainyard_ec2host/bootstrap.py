"""Puts the host together and runs it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from trainyard import logs
from trainyard.adapters.aws.clients import AwsClients
from trainyard.clock import SystemClock
from trainyard.loops import on_stop_signals
from trainyard_ec2host.edges import STOP_SECONDS, Ec2Cloud, TrainerProcesses
from trainyard_ec2host.use_cases import Host
from trainyard_ec2host.web import MetadataServer, MetadataStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trainyard.config import Config

_log = logs.get(__name__)

TRAINER = (sys.executable, "-m", "trainyard_trainer.main")
_LOOK_SECONDS = 0.3


def run(config: Config, environ: Mapping[str, str], *, command: Sequence[str] = TRAINER) -> int:
    """Run the host until SIGTERM or SIGINT, then stop its trainers. Call from the main thread: trainers end with it.

    ``environ`` is what the trainers inherit.
    """
    stops: list[str] = []
    on_stop_signals(stops.append, insist=False)
    clock = SystemClock()
    store = MetadataStore(clock)
    server = MetadataServer(config.imds_port, store)
    server.start()
    trainers = TrainerProcesses(
        command,
        trainer_environment(config, environ),
        pids=config.data_dir / "run" / "trainers",
        logs_dir=config.data_dir / "logs",
        work=config.work_dir,
        clock=clock,
    )
    host = Host(Ec2Cloud(AwsClients(config).ec2, config.env), trainers, store, clock)
    _log.info("host.ready", imds_port=config.imds_port)
    while not stops:
        host.step()
        clock.sleep(_LOOK_SECONDS)
    # The metadata service goes last: a trainer that hands back its work may still ask it.
    host.stop(STOP_SECONDS + 5)
    server.shutdown()
    server.server_close()
    return 0


def trainer_environment(config: Config, environ: Mapping[str, str]) -> Callable[[str], dict[str, str]]:
    """Return the function that gives an instance's trainer its environment; to the trainer it is a machine alone."""

    def of(instance_id: str) -> dict[str, str]:
        return {
            **environ,
            "TRAINYARD_INSTANCE_ID": instance_id,
            "TRAINYARD_WORK_DIR": str(config.work_dir / instance_id),
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://127.0.0.1:{config.imds_port}/{instance_id}",
        }

    return of
