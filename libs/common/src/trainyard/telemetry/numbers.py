"""A service's numbers, in Prometheus' text format, right for several worker processes behind one port.

A scrape reaches one worker, chosen by the kernel. Each worker therefore saves its numbers about once a second to a file
of its own in a directory that the workers of one master process share, and whoever is scraped adds the files up. The
file of a worker that died stays, so that counters never fall while the master lives; a worker that is killed loses at
most its last second. What is saved are counters and histograms and can be added; whatever stands elsewhere (gauges,
and counters whose truth is in the database) is given at the scrape. Why no library: docs/adr/0033.
"""

from __future__ import annotations

import atexit
import os
import threading
from bisect import bisect_left
from collections import Counter

import msgpack

from trainyard import logs
from trainyard.clock import SystemClock
from trainyard.telemetry.catalogue import BUCKETS, COUNTER, GAUGE, HISTOGRAM, of_service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

#: More series of one metric than this become one, with OTHER in each label: what callers name must not fill the memory.
MOST_SERIES = 1_000
#: How old the numbers of another worker may be.
SAVE_SECONDS = 0.5
OTHER = "other"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_REQUESTS, _TIMES = "trainyard_http_requests_total", "trainyard_http_request_seconds"
_BOUNDS = (*map(str, BUCKETS), "+Inf")
_log = logs.get(__name__)

Labels = tuple[tuple[str, str], ...]
#: A number as it is at the scrape: name, labels, value.
Sample = tuple[str, "Mapping[str, str]", float]


class _Observed:
    """Requests of one kind since their numbers were added to the others: how many took how long, by bucket."""

    def __init__(self, requests: Labels, times: Labels) -> None:
        self._requests, self._sum = (_REQUESTS, requests), (f"{_TIMES}_sum", times)
        self._buckets = [(f"{_TIMES}_bucket", (*times, ("le", bound))) for bound in _BOUNDS]
        self.numbers = [0] * len(_BOUNDS)
        self.seconds = 0.0

    def add_to(self, counts: Counter[tuple[str, Labels]]) -> None:
        """Add the numbers to the others, and begin anew."""
        if not any(self.numbers):
            return
        counts[self._requests] += sum(self.numbers)
        for bucket, number in zip(self._buckets, self.numbers, strict=True):
            if number:
                counts[bucket] += number
        counts[self._sum] += self.seconds  # type: ignore[assignment]  # floats add as well
        self.numbers, self.seconds = [0] * len(_BOUNDS), 0.0


class _Counter:
    """One counter's number since it was added to the others."""

    def __init__(self, key: tuple[str, Labels], lock: threading.Lock) -> None:
        self._key = key
        self._lock = lock
        self._number: float = 0

    def __call__(self, number: float = 1) -> None:
        with self._lock:
            self._number += number

    def add_to(self, counts: Counter[tuple[str, Labels]]) -> None:
        """Add the number to the others, and begin anew; whoever asks holds the lock."""
        counts[self._key] += self._number  # type: ignore[assignment]  # floats add as well
        self._number = 0


class Metrics:
    """The numbers of one worker; safe for threads. Without a directory it speaks for itself alone.

    Args:
        service: whose metrics of the catalogue these are.
        directory: where the workers of the service save their numbers.
    """

    def __init__(self, service: str, directory: Path | None = None) -> None:
        self._service = service
        self._declared = of_service(service)
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, Labels]] = Counter()
        self._series: Counter[str] = Counter()
        self._observed: dict[tuple[str, str, int], _Observed] = {}
        self._counters: dict[tuple[str, Labels], _Counter] = {}
        self._file: Path | None = None
        self._saving = threading.Lock()
        self._saved = True
        for name, metric in self._declared.items():
            if metric.kind == COUNTER and metric.counted and not metric.labels:
                self._counts[name, ()] = 0  # nothing has happened yet is an answer, too
        if directory is not None:
            _forget_dead_masters(directory)
            self._file = directory / _master() / f"{os.getpid()}.msgpack"

    def count(self, name: str, number: float = 1, **labels: str) -> None:
        """Add to a counter of the catalogue; raises ValueError for any other."""
        self.counter(name, **labels)(number)

    def counter(self, name: str, **labels: str) -> Callable[[float], None]:
        """Return what adds to a counter of the catalogue that is counted often; raises ValueError for any other."""
        with self._lock:
            key = self._key(name, tuple(labels.items()))
            if key not in self._counters:
                self._counts[key] += 0
                self._counters[key] = _Counter(key, self._lock)
            return self._counters[key]

    def set_total(self, name: str, total: float, **labels: str) -> None:
        """Take over the total of a counter that is kept elsewhere in this process."""
        with self._lock:
            self._counts[self._key(name, tuple(labels.items()))] = total  # type: ignore[assignment]

    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request and its time; unknown methods are one: anybody may invent some."""
        observed = self._observed.get((method, route, status)) or self._observe(method, route, status)
        bucket = bisect_left(BUCKETS, seconds)
        with self._lock:
            observed.numbers[bucket] += 1
            observed.seconds += seconds

    def _observe(self, method: str, route: str, status: int) -> _Observed:
        """Return where such requests are counted."""
        method = method if method in _METHODS else OTHER
        labels = ("service", self._service), ("method", method), ("route", route), ("status", str(status))
        with self._lock:
            key = method, route, status
            if key not in self._observed:
                self._observed[key] = _Observed(labels, (("service", self._service), ("route", route)))
            return self._observed[key]

    def _settle(self) -> Counter[tuple[str, Labels]]:
        """Return all numbers so far; whoever asks holds the lock."""
        for observed in self._observed.values():
            observed.add_to(self._counts)
        for counter in self._counters.values():
            counter.add_to(self._counts)
        return self._counts

    def _key(self, name: str, labels: Labels) -> tuple[str, Labels]:
        """Return where a counter's number stands; looked up in the catalogue when it is new."""
        if (name, labels) in self._counts:
            return name, labels
        self._check(name, labels, COUNTER)
        if self._series[name] >= MOST_SERIES:
            return name, tuple((label, OTHER) for label, _ in labels)
        self._series[name] += 1
        return name, labels

    def _check(self, name: str, labels: Labels, *kinds: str) -> None:
        metric = self._declared.get(name)
        if metric is None or metric.kind not in kinds or metric.labels != tuple(label for label, _ in labels):
            raise ValueError(f"{name} with {dict(labels)} is not in the catalogue as a {' or '.join(kinds)}")

    def save(self) -> None:
        """Write the numbers where the other workers find them; while that fails, each speaks for itself."""
        if self._file is None:
            return
        with self._saving:
            try:
                self._write(self._file)
            except OSError as e:
                if self._saved:
                    _log.warning("metrics.not_shared", reason=str(e))
                self._saved = False
            else:
                self._saved = True

    def _write(self, file: Path) -> None:
        with self._lock:
            packed = msgpack.packb(list(self._settle().items()))
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = file.with_suffix(".new")
        fresh.write_bytes(packed)
        fresh.replace(file)

    def render(self, samples: Iterable[Sample] = ()) -> bytes:
        """Return all workers' numbers, and those of ``samples``, in Prometheus' text format."""
        with self._lock:
            total = Counter(self._settle())
        for path in self._file.parent.glob("*.msgpack") if self._file else ():
            if path != self._file:
                total.update(_read(path))
        found: dict[str, list[tuple[str, Labels, float]]] = {name: [] for name in self._declared}
        for (name, labels), counted in sorted(total.items()):
            if name in found:
                found[name].append((name, labels, counted))
        for name, given, value in samples:
            labels = tuple(given.items())
            self._check(name, labels, GAUGE, COUNTER)
            found[name].append((name, labels, value))
        lines = []
        for name, metric in self._declared.items():
            lines += [f"# HELP {name} {metric.meaning}", f"# TYPE {name} {metric.kind}"]
            lines += [
                _line(*sample) for sample in (_histogram(name, total) if metric.kind == HISTOGRAM else found[name])
            ]
        return ("\n".join(lines) + "\n").encode()


def shared(service: str, directory: Path | None) -> Metrics:
    """Return the numbers of a worker whose process saves them from now on, in a thread and at its end."""
    metrics = Metrics(service, None if directory is None else directory / service)
    if directory is not None:
        threading.Thread(target=_keep_saving, args=(metrics,), name="metrics", daemon=True).start()
        atexit.register(metrics.save)
    return metrics


def _keep_saving(metrics: Metrics) -> None:
    clock = SystemClock()
    while True:
        metrics.save()
        clock.sleep(SAVE_SECONDS)


def _histogram(name: str, total: Counter[tuple[str, Labels]]) -> Iterable[tuple[str, Labels, float]]:
    """Yield the samples of one histogram, with the buckets cumulated as Prometheus wants them."""
    for (each, labels), seconds in sorted(total.items()):
        if each != f"{name}_sum":
            continue
        running = 0
        for bound in _BOUNDS:
            running += total[f"{name}_bucket", (*labels, ("le", bound))]
            yield f"{name}_bucket", (*labels, ("le", bound)), running
        yield f"{name}_sum", labels, seconds
        yield f"{name}_count", labels, running


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


def _master() -> str:
    """Name the parent process: by the moment it started as well, for in a container each has the same number."""
    return _name(os.getppid()) or str(os.getppid())


def _name(pid: int) -> str | None:
    from trainyard.processes import identify  # noqa: PLC0415 - what starts cold has no directory

    process = identify(pid)
    return None if process is None else f"{pid}-{process.started.replace(' ', '_')}"


def _forget_dead_masters(directory: Path) -> None:
    for child in directory.glob("[0-9]*"):
        number = child.name.partition("-")[0]
        if number.isdigit() and _name(int(number)) != child.name:
            import shutil  # noqa: PLC0415 - its import costs a cold start 3 ms

            shutil.rmtree(child, ignore_errors=True)
