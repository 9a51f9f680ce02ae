"""``serve``: what SageMaker runs in a container (``docker run image serve``); plain HTTP anywhere else.

It becomes gunicorn, which handles SIGTERM: SageMaker kills what still runs 30 s after it. Where nobody says otherwise,
it listens on all addresses at port 8080 (``SAGEMAKER_BIND_TO_PORT``) with a worker for each processor
(``SAGEMAKER_MODEL_SERVER_WORKERS``), takes any ``Host``, since only SageMaker knows which one it sends, and answers
``/invocations`` as SageMaker's containers do.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_DEFAULTS = {"TRAINYARD_ALLOWED_HOSTS": "*", "TRAINYARD_SAGEMAKER": "1"}
_THREADS, _CONNECTIONS = 8, 4000
_GRACE_SECONDS = 20
_MEMORY = "/dev/shm"  # noqa: S108 - gunicorn makes files of its own there


def command(environ: Mapping[str, str], cpus: int) -> list[str]:
    """Return the command line of the server; ValueError when SageMaker names no numbers."""
    port = int(environ.get("SAGEMAKER_BIND_TO_PORT") or 8080)
    workers = int(environ.get("SAGEMAKER_MODEL_SERVER_WORKERS") or cpus)
    return [
        sys.executable, "-m", "gunicorn",
        "--worker-class", "trainyard_predictor.web.worker.LoopWorker",
        "--workers", str(workers),
        "--threads", str(_THREADS),
        "--worker-connections", str(_CONNECTIONS),
        "--bind", f"0.0.0.0:{port}",
        "--graceful-timeout", str(_GRACE_SECONDS),
        "--keep-alive", "75",
        "--no-control-socket",
        # a heartbeat on a slow disk can stall a worker, and a read-only root has none
        *(["--worker-tmp-dir", _MEMORY] if Path(_MEMORY).is_dir() else []),
        "trainyard_predictor.web.app:app()",
    ]  # fmt: skip


def main() -> None:
    """Become the server."""
    environ = _DEFAULTS | dict(os.environ)  # noqa: TID251 - an entry module
    line = command(environ, os.cpu_count() or 1)
    os.execve(line[0], line, environ)  # noqa: S606 - no shell: the very point


if __name__ == "__main__":
    main()
