"""Prometheus metrics by hand, right for several worker processes behind one port.

A scrape reaches one worker, chosen by the kernel. Each worker therefore saves its numbers about once a second to a file
of its own in a directory that the workers of one master process share, and whoever is scraped adds the files up. The
file of a worker that died stays, so that counters never fall while the master lives; a worker that is killed loses at
most its last second. Everything here is a counter or a histogram and can be added; gauges are given at the scrape.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING

import msgpack

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
#: family -> (type, help); nothing else can be counted
FAMILIES = {
    "trainyard_http_requests_total": ("counter", "Requests answered."),
    "trainyard_http_request_seconds": ("histogram", "Time to answer, in seconds."),
    "trainyard_predictions_total": ("counter", "Rows predicted."),
    "trainyard_predictions_not_logged_total": ("counter", "Rows answered without a record in the prediction log."),
    "trainyard_challenger_declined_total": (
        "counter",
        "Rows of the challenger's share that the champion answered, because the challenger could not.",
    ),
    "trainyard_shadow_rows_total": (
        "counter",
        "Answered rows that the shadow was to score as well: scored, dropped for lack of room or queue, or failed.",
    ),
    "trainyard_prediction_log_sent_total": ("counter", "Records that the queue has accepted."),
    "trainyard_prediction_log_failures_total": ("counter", "Attempts to send records that the queue did not take."),
    "trainyard_prediction_log_waiting_bytes": ("gauge", "Bytes of records on local disk that the queue has not taken."),
    "trainyard_model_errors_total": (
        "counter",
        "Checks that left the last good version serving, by what failed: pointer, artifact or store.",
    ),
    "trainyard_model_refused": (
        "gauge",
        "1 while the scraped worker refuses what an alias points at and answers with the last good version.",
    ),
    "trainyard_model_version": ("gauge", "Version that the scraped worker answers with, by model and alias."),
}
Labels = tuple[tuple[str, str], ...]


class Metrics:
    """The numbers of one worker; safe for threads. Without a directory it speaks for itself alone."""

    def __init__(self, directory: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, Labels]] = Counter()
        self._file: Path | None = None
        if directory is not None:
            _forget_dead_masters(directory)
            self._file = directory / str(os.getppid()) / f"{os.getpid()}.msgpack"

    def count(self, family: str, number: float = 1, **labels: str) -> None:
        """Add to a counter."""
        with self._lock:
            self._counts[family, tuple(labels.items())] += number  # type: ignore[assignment]  # floats add as well

    def set_total(self, family: str, total: float, **labels: str) -> None:
        """Take over the total of a counter that is kept elsewhere in this process."""
        with self._lock:
            self._counts[family, tuple(labels.items())] = total  # type: ignore[assignment]

    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request and its time."""
        bucket = bisect_left(BUCKETS, seconds)
        le = str(BUCKETS[bucket]) if bucket < len(BUCKETS) else "+Inf"
        requests = (("service", "predictor"), ("method", method), ("route", route), ("status", str(status)))
        times = (("service", "predictor"), ("route", route))
        counts = self._counts
        with self._lock:
            counts["trainyard_http_requests_total", requests] += 1
            counts["trainyard_http_request_seconds_bucket", (*times, ("le", le))] += 1
            counts["trainyard_http_request_seconds_sum", times] += seconds  # type: ignore[assignment]

    def save(self) -> None:
        """Write the numbers where the other workers find them; raises OSError."""
        if self._file is None:
            return
        with self._lock:
            packed = msgpack.packb(list(self._counts.items()))
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = self._file.with_suffix(".new")
        fresh.write_bytes(packed)
        fresh.replace(self._file)

    def render(self, gauges: Iterable[tuple[str, Mapping[str, str], float]] = ()) -> bytes:
        """Return all workers' numbers in Prometheus' text format."""
        with self._lock:
            total = Counter(self._counts)
        for path in self._file.parent.glob("*.msgpack") if self._file else ():
            if path != self._file:
                total.update(_read(path))
        lines = []
        for family, (kind, text) in FAMILIES.items():
            if kind == "gauge":
                samples = [(family, tuple(labels.items()), value) for name, labels, value in gauges if name == family]
            elif kind == "histogram":
                samples = list(_histogram(family, total))
            else:
                samples = [(name, labels, value) for (name, labels), value in sorted(total.items()) if name == family]
            lines += [f"# HELP {family} {text}", f"# TYPE {family} {kind}"]
            lines += [_line(*sample) for sample in samples]
        return ("\n".join(lines) + "\n").encode()


def _histogram(family: str, total: Counter[tuple[str, Labels]]) -> Iterable[tuple[str, Labels, float]]:
    """Yield the samples of one histogram, with the buckets cumulated as Prometheus wants them."""
    for (name, labels), seconds in sorted(total.items()):
        if name != f"{family}_sum":
            continue
        running = 0
        for le in (*map(str, BUCKETS), "+Inf"):
            running += total[f"{family}_bucket", (*labels, ("le", le))]
            yield f"{family}_bucket", (*labels, ("le", le)), running
        yield f"{family}_sum", labels, seconds
        yield f"{family}_count", labels, running


def _line(name: str, labels: Labels, value: float) -> str:
    inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
    return f"{name}{{{inside}}} {value}" if inside else f"{name} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _read(path: Path) -> dict[tuple[str, Labels], float]:
    try:
        saved = msgpack.unpackb(path.read_bytes(), use_list=False)
    except FileNotFoundError:
        return {}
    return {(name, labels): value for (name, labels), value in saved}


def _forget_dead_masters(directory: Path) -> None:
    for child in directory.glob("[0-9]*"):
        try:
            os.kill(int(child.name), 0)
        except ProcessLookupError:
            import shutil  # noqa: PLC0415 - its import costs a cold start 3 ms

            shutil.rmtree(child, ignore_errors=True)
        except PermissionError:
            continue  # alive, and somebody else's
