"""The console as it runs, with two workers behind one port: a scrape tells what both of them did."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING

from trainyard.testing.processes import GUNICORN, answers, end, free_port, wait_until

if TYPE_CHECKING:
    from pathlib import Path

ASKED = 40


def test_both_workers_are_counted(tmp_path: Path) -> None:
    """Each request has a connection of its own, so that the kernel spreads them; whoever is scraped knows all."""
    port = free_port()
    environment = {**os.environ, "TRAINYARD_METRICS_DIR": str(tmp_path)}
    service = subprocess.Popen(
        [sys.executable, "-m", *GUNICORN, "--workers", "2", "--bind", f"127.0.0.1:{port}", "--log-level", "warning",
         "trainyard_console.wsgi:app()"],
        env=environment,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"

    def counted() -> int:
        with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:  # noqa: S310 - an address of the test's own
            found = re.search(r'requests_total\{.*route="/openapi.json".*\} (\d+)', answer.read().decode())
        return int(found[1]) if found else 0

    try:
        wait_until(lambda: answers(f"{url}/healthz"), "the console", seconds=60)
        for _ in range(ASKED):
            assert answers(f"{url}/openapi.json")
        wait_until(lambda: counted() == ASKED, f"{ASKED} requests in the metrics")
    finally:
        end(service)
    (master,) = (tmp_path / "console").iterdir()
    assert len(list(master.glob("*.msgpack"))) == 2
