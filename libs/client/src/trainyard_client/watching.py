"""How far an upload is: what was sent from here, and what the service says of the batch that it becomes."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainyard_client.errors import ClientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trainyard_client.transport import Transport

_LOOK_SECONDS = 1.0
_STOP_SECONDS = 10.0


@dataclass(frozen=True)
class Progress:
    """How far an upload is.

    Attributes:
        stage: ``sending``, ``waiting`` (another batch holds the dataset), ``loading`` or ``committing``.
        bytes_sent: so many went out.
        bytes_total: of so many; None while that is not known.
        rows: rows that the service has read, as it last said; None while it has said nothing.
    """

    stage: str
    bytes_sent: int
    bytes_total: int | None
    rows: int | None


class Tracker:
    """Puts together what both sides know, and tells the listener of every change; used from two threads."""

    def __init__(self, total: int | None, listener: Callable[[Progress], None] | None) -> None:
        self._total = total
        self._listener = listener
        self._lock = threading.Lock()
        self._sent = 0
        self._stage: str | None = None
        self._rows: int | None = None

    def sent(self, position: int) -> None:
        """Note how many bytes went out."""
        with self._lock:
            self._sent = position
            self._tell()

    def heard(self, stage: str, rows: int) -> None:
        """Note what the service says."""
        with self._lock:
            self._stage, self._rows = stage, rows
            self._tell()

    def _tell(self) -> None:
        if self._listener is not None:
            self._listener(Progress(self._word(), self._sent, self._total, self._rows))

    def _word(self) -> str:
        if self._stage in {"waiting", "committing"}:
            return self._stage
        return "loading" if self._sent == self._total else "sending"


class Watcher:
    """Asks the service every second, in a thread and with a connection of its own, how far the batch is.

    It is a comfort: when the service does not say (the key may not read, it is away), the upload goes on without.
    """

    def __init__(
        self, transport: Transport, path: str, trace_id: str, tracker: Tracker, *, seconds: float = _LOOK_SECONDS
    ) -> None:
        self._transport = transport
        self._path = path
        self._trace_id = trace_id
        self._tracker = tracker
        self._seconds = seconds
        self._stop = threading.Event()

    @contextmanager
    def running(self, *, wanted: bool) -> Iterator[None]:
        """Watch while the block runs, if that is ``wanted``."""
        thread = threading.Thread(target=self._watch, name="upload watcher", daemon=True)
        if wanted:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            if wanted:
                thread.join(_STOP_SECONDS)
            self._transport.close()

    def _watch(self) -> None:
        while not self._stop.wait(self._seconds):
            try:
                self.look()
            except ClientError:
                return

    def look(self) -> None:
        """Ask once.

        Raises:
            ClientError: the service does not say.
        """
        answer = self._transport.exchange("GET", self._path, params={"state": "loading", "limit": 100}).json
        for batch in answer["items"]:
            if batch.get("trace_id") == self._trace_id and not self._stop.is_set():
                self._tracker.heard(str(batch["progress"]["stage"]), int(batch["progress"]["rows_done"]))
