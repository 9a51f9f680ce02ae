"""Steady load while champions change: no request may fail, no answer may come from a version out of date.

``python -m benchmarks.promotions [--minutes 10] [--write docs/evidence]``; without options 30 s. A predictor under
gunicorn with two workers reads the emulator's S3; clients ask at a steady rate over connections that stay open, while
the champion moves 25 times: 20 promotions and 5 rollbacks. An answer is stale when its version had not been champion
for more than :data:`MOST_SECONDS` when it was asked for. Ends with 1 when a request failed or an answer was stale.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.chaos.report import commit, machine

from benchmarks.bucket import bucket
from benchmarks.gunicorn import serving
from trainyard.testing.models import sample_model, sample_rows
from trainyard.testing.processes import PREDICTOR
from trainyard.testing.publishing import point_alias, publish_key, publish_version

if TYPE_CHECKING:
    from collections.abc import Sequence

PROMOTIONS, ROLLBACKS = 20, 5
MOST_SECONDS = 5.0
RATE, CONNECTIONS = 40.0, 4
CI_SECONDS = 30.0


@dataclass(frozen=True)
class Asked:
    """One request: when it was sent and answered (monotonic seconds), and what came; ``version`` 0: no good answer."""

    sent: float
    answered: float
    version: int
    said: str = ""


@dataclass(frozen=True)
class Move:
    """The champion is ``version`` from the monotonic second ``at`` on."""

    at: float
    version: int


def judge(asked: Sequence[Asked], moves: Sequence[Move]) -> dict[str, Any]:
    """Return the figures of one run.

    ``stale`` counts answers by a version that had ceased to be champion more than :data:`MOST_SECONDS` before they
    were asked for, or that was not champion yet when they came. ``slowest_move_seconds``: from a move to the last
    answer by another version that was asked for after it, over moves that were followed before the next.
    """
    good = [one for one in asked if one.version]
    lags = []
    for index, move in enumerate(moves[1:], start=1):
        until = moves[index + 1].at if index + 1 < len(moves) else float("inf")
        late = [one.sent - move.at for one in good if move.at <= one.sent < until and one.version != move.version]
        lags.append(max(late, default=0.0))
    seconds = sorted(one.answered - one.sent for one in good)
    return {
        "requests": len(asked),
        "failed": len(asked) - len(good),
        "stale": sum(not _current(one, moves) for one in good),
        "promotions_and_rollbacks": len(moves) - 1,
        "versions_seen": len({one.version for one in good}),
        "slowest_move_seconds": round(max(lags, default=0.0), 2),
        "median_move_seconds": round(statistics.median(lags), 2) if lags else 0.0,
        "p50_ms": round(1e3 * seconds[len(seconds) // 2], 2) if seconds else None,
        "p99_ms": round(1e3 * seconds[int(0.99 * len(seconds))], 2) if seconds else None,
        "failures": sorted({one.said for one in asked if not one.version})[:5],
    }


def _current(one: Asked, moves: Sequence[Move]) -> bool:
    """Tell whether the version was champion at some time between 5 s before the request and its answer."""
    for index, move in enumerate(moves):
        ended = moves[index + 1].at if index + 1 < len(moves) else float("inf")
        if move.version == one.version and move.at <= one.answered and ended >= one.sent - MOST_SECONDS:
            return True
    return False


def plan() -> list[int]:
    """Return the versions to move to, in order, from 1: after every fourth promotion comes a rollback."""
    versions = []
    for version in range(2, PROMOTIONS + 2):
        versions.append(version)
        if (version - 1) % (PROMOTIONS // ROLLBACKS) == 0:
            versions.append(version - 1)
    return versions


class Load:
    """Clients that ask at a steady rate, each over a connection of its own, until they are stopped."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._body = json.dumps({"rows": sample_rows(1)})
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._stop = threading.Event()
        self._asked: list[list[Asked]] = [[] for _ in range(CONNECTIONS)]
        self._threads = [threading.Thread(target=self._ask_all, args=(own,)) for own in self._asked]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> list[Asked]:
        """End, and return what was asked."""
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
        return sorted((one for own in self._asked for one in own), key=lambda one: one.sent)

    def _ask_all(self, own: list[Asked]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due += CONNECTIONS / RATE
            own.append(self._ask(connection))
        connection.close()

    def _ask(self, connection: http.client.HTTPConnection) -> Asked:
        sent = time.monotonic()
        try:
            connection.request("POST", "/v1/predict/flights", self._body, self._headers)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as e:
            connection.close()
            return Asked(sent, time.monotonic(), 0, repr(e))
        if response.status != 200:
            return Asked(sent, time.monotonic(), 0, f"{response.status} {body[:200]!r}")
        return Asked(sent, time.monotonic(), int(json.loads(body)["version"]))


def soak(seconds: float) -> dict[str, Any]:
    """Move the champion through :func:`plan` in about so many seconds under load, and return the figures."""
    versions = plan()
    with tempfile.TemporaryDirectory() as name, bucket(Path(name)) as (blobs, environment):
        key = publish_key(blobs, "predict")
        pointers = {v: publish_version(blobs, sample_model(seed=v), v) for v in range(1, PROMOTIONS + 2)}
        point_alias(blobs, pointers[1], seq=1)
        with serving(PREDICTOR, environment) as port:
            moves = [Move(time.monotonic(), 1)]
            running = Load(port, key)
            running.start()
            pause = seconds / (len(versions) + 1)
            try:
                for number, version in enumerate(versions, start=2):
                    time.sleep(pause)
                    point_alias(blobs, pointers[version], seq=number)
                    moves.append(Move(time.monotonic(), version))
                time.sleep(max(pause, 2.0))
            finally:
                asked = running.stop()
    return {"seconds": seconds, "requests_per_second": RATE, **judge(asked, moves)}


def page(figures: dict[str, Any]) -> str:
    """Return docs/evidence/promotions.md."""
    lines = [
        "# Promotions and rollbacks under load",
        "",
        f"`make promotions FULL=1`, commit `{commit()[:8]}`, on {machine()}. How: benchmarks/promotions.py.",
        "",
        "| figure | value |",
        "|---|---:|",
        *(f"| {name.replace('_', ' ')} | {value} |" for name, value in figures.items() if name != "failures"),
    ]
    return "\n".join([*lines, ""])


def main(arguments: Sequence[str]) -> int:
    """Run, print the figures, and return 0 when nothing failed and nothing was stale."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.promotions", description=__doc__)
    parser.add_argument("--minutes", type=float, default=CI_SECONDS / 60, help="how long (default: half a minute)")
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="also write promotions.md there")
    given = parser.parse_args(arguments)
    figures = soak(60 * given.minutes)
    print(json.dumps(figures, indent=2))
    if given.write:
        (given.write / "promotions.md").write_text(page(figures))
    return int(bool(figures["failed"] or figures["stale"] or figures["promotions_and_rollbacks"] != len(plan())))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
