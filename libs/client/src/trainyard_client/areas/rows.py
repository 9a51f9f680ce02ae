"""Rows on their way in: pushed, uploaded, ingested with a word on how far they are."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainyard_client import bodies
from trainyard_client.areas.calls import Calls, in_path
from trainyard_client.formats import CONTENT_TYPES
from trainyard_client.watching import Tracker, Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from trainyard_client.bodies import Readable
    from trainyard_client.watching import Progress

    Json = dict[str, Any]

#: A body below this is stored before anybody could look how far it is.
_WATCHED_BYTES = 1 << 20
#: The service may work long on a large file after its last byte.
_PATIENCE_SECONDS = 900.0


@dataclass(frozen=True)
class Ingested:
    """What became of rows that were sent. ``known``: the same rows were here already, as this ``batch``."""

    batch: dict[str, Any]
    known: bool
    seconds: float

    @property
    def id(self) -> str:
        """The batch's id."""
        return str(self.batch["id"])

    @property
    def rows(self) -> int:
        """How many rows the batch stored."""
        return int(self.batch["rows"])

    @property
    def rejected(self) -> int:
        """How many rows the batch lost."""
        return int(self.batch["rejected"])


class Rows(Calls):
    """Rows in, once each: the same body again is the same batch, whoever sends it."""

    def push(self, name: str, rows: Sequence[Json]) -> Json:
        """Send rows and return their batch; the same rows again return the same batch."""
        return self._sent("POST", f"/v1/datasets/{in_path(name)}/rows", json={"rows": list(rows)}, keyed=False)

    def upload(self, name: str, body: Readable | Iterable[bytes], content_type: str, *, key: str | None = None) -> Json:
        """Stream a file or an iterator of bytes and return its batch; memory does not grow with its size.

        The same body again is the same batch, unless another ``key`` says that it is not.

        Args:
            body: an open binary file is repeated from its start when a connection breaks, anything else is sent once.
            content_type: ``text/csv``, ``application/x-ndjson``, ``application/json`` or
                ``application/vnd.apache.parquet``.
            key: idempotency key, for rows that are meant to arrive twice.
        """
        rewind = _rewinder(body)
        return self._sent(
            "POST",
            f"/v1/datasets/{in_path(name)}/rows",
            data=body,
            content_type=content_type,
            idempotency_key=key,
            keyed=False,
            rewind=rewind,
            once=rewind is None,
        )

    def ingest(
        self,
        name: str,
        source: Any,
        *,
        format: str | None = None,  # noqa: A002 - the word that callers expect
        key: str | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> Ingested:
        """Send rows from wherever they are to the dataset ``name``; memory does not grow with their number.

        What can be read again (paths, open files, rows, frames) is sent again after a broken connection or while the
        service is away, a few times; a pipe is sent once. Both are safe to repeat by hand: the service knows rows by
        their content and stores them once, whoever sends them. What can be read again is hashed first, so that the
        service knows it before it has loaded it, and notices when something else arrives.

        Args:
            source: a path, an open binary file, bytes, a pandas frame (sent as Parquet where pyarrow is installed,
                else as CSV, without its index), or an iterable of rows as dictionaries.
            format: ``csv``, ``ndjson``, ``json`` or ``parquet``; by default the ending of the file's name tells it,
                also before ``.gz``. A ``.gz`` file is sent as it is.
            key: idempotency key, for the same rows that are meant to arrive twice.
            progress: called at every block that is sent and, for large bodies, about once a second with what the
                service says; from two threads, never at the same time.

        Raises:
            ApiError: the service refused the rows; ``details`` has the first problems.
            MisuseError: the format is not clear.
            OSError: a file cannot be read.
        """
        with bodies.opened(source, format) as body:
            began = self._clock.monotonic()
            trace_id = uuid.uuid4().hex
            tracker = Tracker(body.size, progress)
            watched = progress is not None and (body.size is None or body.size > _WATCHED_BYTES)
            watcher = Watcher(self._transport.twin(), f"/v1/datasets/{in_path(name)}/batches", trace_id, tracker)
            with watcher.running(wanted=watched):
                answer = self._transport.exchange(
                    "POST",
                    f"/v1/datasets/{in_path(name)}/rows",
                    headers={"X-Request-Id": trace_id, **bodies.headers(body)},
                    content_type=CONTENT_TYPES[body.format],
                    idempotency_key=key,
                    keyed=False,
                    timeout=_PATIENCE_SECONDS,
                    **bodies.payload(body, tracker.sent),
                )
            return Ingested(answer.json, answer.status == 200, self._clock.monotonic() - began)


def _rewinder(body: Any) -> Callable[[], object] | None:
    return (lambda: body.seek(0)) if hasattr(body, "seekable") and body.seekable() else None
