"""gunicorn around what is measured."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from trainyard.testing.processes import answers, end, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@contextmanager
def serving(line: Sequence[str], environment: dict[str, str], *, workers: int = 2) -> Iterator[int]:
    """Serve by gunicorn's options and an application until /readyz answers, and give the port."""
    port = free_port()
    command = [sys.executable, "-m", *line, "--workers", str(workers), "--bind", f"127.0.0.1:{port}"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/readyz"), line[-1])
        yield port
    finally:
        end(process)
