"""What the trainer touches around its work: the instance metadata service, its worker row, and its own end."""

from __future__ import annotations

import os
import threading
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from trainyard import logs
from trainyard.errors import TransientError
from trainyard_trainer.domain import EXIT_OVERDUE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from trainyard.clock import Clock
    from trainyard.contracts.workers import Attendance
    from trainyard_trainer.ports import Stop, TrainerSettings

log = logs.get(__name__)

_END_SECONDS = 5.0
_TOKEN_SECONDS = 300
_IMDS_TIMEOUT_SECONDS = 1.0
#: A trainer that was asked to stop is gone within 30 s, whatever hangs.
_MOST_STOPPING_SECONDS = 28.0
_LOOK_SECONDS = 0.5
_SEEN_EVERY_SECONDS = 5.0


class Metadata:
    """The instance metadata service, version 2 (with a token). Every answer may be absent: then this is no instance."""

    def __init__(self, base_url: str) -> None:
        self._base = base_url.rstrip("/")
        # A proxy of the environment must never be asked for metadata.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def instance_id(self) -> str | None:
        """Return this machine's instance id, or None."""
        return self._read("latest/meta-data/instance-id")

    def instance_type(self) -> str | None:
        """Return what this machine is, or None."""
        return self._read("latest/meta-data/instance-type")

    def interruption(self) -> str | None:
        """Return the spot notice (JSON text), or None while there is none."""
        return self._read("latest/meta-data/spot/instance-action")

    def _read(self, path: str) -> str | None:
        seconds = {"X-aws-ec2-metadata-token-ttl-seconds": str(_TOKEN_SECONDS)}
        token = self._ask("PUT", "latest/api/token", seconds)
        return None if token is None else self._ask("GET", path, {"X-aws-ec2-metadata-token": token})

    def _ask(self, method: str, path: str, headers: Mapping[str, str]) -> str | None:
        request = urllib.request.Request(  # noqa: S310 - the address is a setting
            f"{self._base}/{path}", method=method, headers=dict(headers)
        )
        try:
            with self._opener.open(request, timeout=_IMDS_TIMEOUT_SECONDS) as answer:
                return str(answer.read(65_536).decode())
        except (urllib.error.URLError, OSError, ValueError):
            return None


class SpotWatch:
    """A thread that asks for the spot notice and passes it on; the notice is a courtesy, nothing relies on it."""

    def __init__(self, metadata: Metadata, notify: Callable[[str], None], *, every_seconds: float = 5.0) -> None:
        self._metadata = metadata
        self._notify = notify
        self._every = every_seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="spot-watch", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def close(self) -> None:
        """Stop asking."""
        self._ended.set()
        self._thread.join(_END_SECONDS)

    def _watch(self) -> None:
        while not self._ended.wait(self._every):
            notice = self._metadata.interruption()
            if notice is not None:
                log.warning("spot.notice", notice=notice)
                self._notify("spot notice")
                return


class ExitDeadline:
    """A thread that ends the process when the wish to stop has not been fulfilled in time.

    Nothing is lost by it: the training process ends with its parent, and a request that could not be handed back is
    taken over when its lease runs out.
    """

    def __init__(
        self,
        stop: Stop,
        clock: Clock,
        *,
        seconds: float = _MOST_STOPPING_SECONDS,
        end: Callable[[int], object] = os._exit,
    ) -> None:
        self._stop = stop
        self._clock = clock
        self._seconds = seconds
        self._end = end
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="exit-deadline", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def close(self) -> None:
        """Stop watching: the process ends by itself."""
        self._over.set()
        self._thread.join(_END_SECONDS)

    def _watch(self) -> None:
        asked: float | None = None
        while not self._over.wait(_LOOK_SECONDS):
            if self._stop.reason is None:
                continue
            now = self._clock.monotonic()
            asked = now if asked is None else asked
            if now - asked >= self._seconds:
                log.error("trainer.overdue", reason=self._stop.reason, seconds=self._seconds)
                self._end(EXIT_OVERDUE)
                return


class WorkerPresence:
    """A thread that keeps this trainer's row among the workers fresh: every few seconds, and at once after a change.

    Entered, it writes; left, it notes the end. A database that is away costs freshness, nothing else.
    """

    def __init__(self, attendance: Attendance, settings: TrainerSettings, stop: Stop) -> None:
        self._attendance = attendance
        self._settings = settings
        self._stop = stop
        self._request_id: str | None = None
        self._woken = threading.Event()
        self._over = False
        self._thread = threading.Thread(target=self._write_on, name="presence", daemon=True)

    def __enter__(self) -> WorkerPresence:
        """Begin to write."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Write the last word."""
        self._over = True
        self._woken.set()
        self._thread.join(_END_SECONDS)

    def busy(self, request_id: str) -> None:
        """Say that it works on a request."""
        self._request_id = request_id
        self._woken.set()

    def idle(self) -> None:
        """Say that it waits for a request."""
        self._request_id = None
        self._woken.set()

    def _write_on(self) -> None:
        well = True
        while True:
            over = self._over
            try:
                self._write(over=over)
                well = True
            except TransientError as e:
                if well:
                    log.warning("presence.not_written", reason=str(e))
                well = False
            if over:
                return
            self._woken.wait(_SEEN_EVERY_SECONDS)
            self._woken.clear()

    def _write(self, *, over: bool) -> None:
        settings, request_id = self._settings, self._request_id
        if over:
            self._attendance.ended(settings.worker)
            return
        state = "stopping" if self._stop.reason else "busy" if request_id else "idle"
        self._attendance.seen(settings.worker, settings.instance_id, settings.instance_type, state, request_id)
