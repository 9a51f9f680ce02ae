"""The process table of the embedded stack: every child, in the order of start, as data."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from trainyard.processes import bound
from trainyard_embedded import emulator
from trainyard_embedded.child import Child
from trainyard_embedded.environment import for_child
from trainyard_embedded.postgres import DATABASE, USER
from trainyard_embedded.probes import http_ready, postgres_ready

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainyard.config import Config
    from trainyard_embedded.layout import Layout
    from trainyard_embedded.postgres import Cluster

_BOTH = ("migrate", "aws")
#: Trainers beside their watcher tell how far they are more often than a third of a lease, where nobody says otherwise.
_BEAT_SECONDS = 5.0
#: How gunicorn serves: a thread for each request, or an event loop.
_BY_THREADS = ("--worker-class", "trainyard.adapters.gunicorn_worker.JsonWorker")
_BY_LOOPS = ("--worker-class", "trainyard_predictor.web.worker.LoopWorker", "--worker-connections", "4000")
#: stages of the stop, the highest first: nobody asks any more, then nobody works, then the state is closed
_STATE, _AWS, _WORK, _EDGE = range(4)


def children(config: Config, environ: Mapping[str, str], layout: Layout, cluster: Cluster) -> tuple[Child, ...]:
    """Return the table. ``config`` must already name the database, the AWS endpoint and the key files."""
    both = for_child(environ, config, database=True, aws=True)
    aws_only = for_child(environ, config, database=False, aws=True)
    plain = for_child(environ, config, database=False, aws=False)
    table = (  # behind Postgres, which is bound to this process in another way
        Child(
            "aws",
            emulator.command(),
            emulator.environment(environ, config, layout),
            stage=_AWS,
            prepare=emulator.QueueSnapshot(layout).prepare,
            probe=http_ready(config.aws_port, "/_ministack/health"),
        ),
        Child("migrate", _module("trainyard.adapters.postgres.migrate"), both, needs=("postgres",), once=True),
        _web("ingest", config.ingest_port, both),
        _web("scheduler", config.scheduler_port, both),
        _web(
            "predictor", config.predictor_port, aws_only, needs=("aws",), workers=2, module="web.app", serving=_BY_LOOPS
        ),
        Child("predictor-poll", _module("trainyard_predictor.poll"), aws_only, needs=("aws",), stage=_WORK),
        # Each open page holds a thread with its stream of events.
        _web("console", config.console_port, plain, needs=(), threads=32),
        Child("ingest-worker", _module("trainyard_ingest.main"), both, needs=_BOTH, stage=_WORK),
        Child("scheduler-worker", _module("trainyard_scheduler.main"), both, needs=_BOTH, stage=_WORK),
        # Its trainers have 30 s to hand back their work, so it has a little more.
        Child(
            "ec2host",
            _module("trainyard_ec2host"),
            both | {"TRAINYARD_BEAT_SECONDS": str(config.beat_seconds or min(_BEAT_SECONDS, config.lease_seconds / 3))},
            needs=_BOTH,
            stage=_WORK,
            probe=http_ready(config.imds_port, "/healthz"),
            stop_seconds=40,
        ),
        Child(
            "router",
            _module("trainyard_embedded.router"),
            plain,
            stage=_EDGE,
            probe=http_ready(config.router_port, "/healthz", "/readyz"),
        ),
    )
    bind = os.getpid()
    return (_postgres(cluster), *(replace(child, command=bound(child.command, parent=bind)) for child in table))


def ports(config: Config) -> dict[str, int]:
    """Return each port that the stack listens on, by the variable that changes it."""
    return {
        "TRAINYARD_ROUTER_PORT": config.router_port,
        "TRAINYARD_INGEST_PORT": config.ingest_port,
        "TRAINYARD_SCHEDULER_PORT": config.scheduler_port,
        "TRAINYARD_PREDICTOR_PORT": config.predictor_port,
        "TRAINYARD_CONSOLE_PORT": config.console_port,
        "TRAINYARD_AWS_PORT": config.aws_port,
        "TRAINYARD_POSTGRES_PORT": config.postgres_port,
        "TRAINYARD_IMDS_PORT": config.imds_port,
    }


def _postgres(cluster: Cluster) -> Child:
    # SIGINT is Postgres' fast shutdown, SIGQUIT its immediate one.
    return Child(
        "postgres",
        bound(cluster.command(), parent=os.getpid(), number=signal.SIGINT, options=cluster.run_as.options),
        {"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/bin:/bin"},
        stage=_STATE,
        probe=postgres_ready(cluster.port, DATABASE, USER, cluster.password),
        prepare=cluster.prepare,
        stop_signal=signal.SIGINT,
        kill_signal=signal.SIGQUIT,
        stop_seconds=30,
        # After a crash of the machine it replays its log first.
        ready_seconds=300,
    )


def _module(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", name)


def _web(
    service: str,
    port: int,
    env: Mapping[str, str],
    *,
    needs: tuple[str, ...] = _BOTH,
    workers: int = 1,
    threads: int = 8,
    module: str = "wsgi",
    serving: tuple[str, ...] = _BY_THREADS,
) -> Child:
    command = (
        *_module("gunicorn"),
        *serving,
        "--threads", str(threads),
        "--workers", str(workers),
        "--bind", f"127.0.0.1:{port}",
        # Longer than the router keeps an idle connection, so that it never sends into one that is being closed.
        "--keep-alive", "75",
        # Event streams never end by themselves; 3 s are for answers that do.
        "--graceful-timeout", "3",
        "--no-control-socket",
        f"trainyard_{service}.{module}:app()",
    )  # fmt: skip
    probe = http_ready(port, "/healthz", "/readyz")
    return Child(service, command, env, needs=needs, stage=_WORK, probe=probe)
