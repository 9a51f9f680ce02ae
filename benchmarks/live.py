"""How soon home's live picture shows an event: rows committed -> the page that tells of them is in the browser's hands.

A signed-in client does what an open page does: it follows the stream of events, and asks for the page again when that
says so. The time is from the batch's own (the database's, when its transaction began, so it is over-estimated) until
the HTML with the new number of rows is there.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from tests.e2e.conftest import COLUMNS, Shoppers
from tests.e2e.stack import Stack

from trainyard.config import load
from trainyard_embedded import commands

ROUNDS = 20
LIMIT_SECONDS = 1.0


def run() -> list[dict[str, Any]]:
    """Measure, print the table and return its rows."""
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder) / "data")
        stack.start()
        try:
            stack.call("PUT", "/v1/datasets/shop", json={"columns": COLUMNS})
            waits = _waits(stack)
        finally:
            stack.stop()
    row = {
        "what": "rows committed -> on an open page", "median": statistics.median(waits), "worst": max(waits),
        "limit": LIMIT_SECONDS, "ratio": max(waits) / LIMIT_SECONDS, "rounds": ROUNDS,
    }  # fmt: skip
    print(f"   {'':<44}{'median s':>9}{'worst s':>9}{'limit s':>9}{'worst / limit':>15}")
    print(f"   {row['what']:<44}{row['median']:>9.2f}{row['worst']:>9.2f}{row['limit']:>9.0f}{row['ratio']:>15.2f}")
    return [row]


def _waits(stack: Stack) -> list[float]:
    """Return the seconds that each batch took until it was on the page."""
    ready = commands.status(load({"TRAINYARD_DATA_DIR": str(stack.data_dir)})).ready
    if ready is None:
        raise RuntimeError("the stack is not ready")
    link = commands.console_link(ready)
    origin = urlsplit(link)._replace(path="", query="").geturl()
    shoppers, waits = Shoppers(1), []
    with requests.Session() as browser:
        browser.get(link, timeout=30).raise_for_status()
        with browser.get(f"{origin}/live", stream=True, timeout=60) as stream:
            lines = stream.iter_lines(chunk_size=1)
            next(lines)
            for number in range(1, ROUNDS + 1):
                rows = shoppers.rows(10)
                upload = threading.Thread(target=lambda rows=rows: _upload(stack, rows))
                upload.start()
                seen = _followed(browser, origin, lines, f">{10 * number}<span")
                upload.join()
                newest = stack.call("GET", "/v1/datasets/shop/batches?limit=1")["items"][0]
                waits.append(seen - datetime.fromisoformat(newest["created_at"]).timestamp())
                time.sleep(1)
    return waits


def _upload(stack: Stack, rows: list[dict[str, Any]]) -> None:
    stack.call("POST", "/v1/datasets/shop/rows", json={"rows": rows})


def _followed(browser: requests.Session, origin: str, lines: Any, wanted: str) -> float:
    """Ask for home at each change until it says what is ``wanted``; return when that was."""
    for line in lines:
        if line == b"event: change" and wanted in browser.get(f"{origin}/", timeout=30).text:
            return time.time()
    raise RuntimeError("the stream of events has ended")
