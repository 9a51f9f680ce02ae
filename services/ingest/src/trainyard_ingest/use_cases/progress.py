"""How far one body is on its way in, told to the board by both threads that work on it: who reads and who loads."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trainyard.contracts.loading import LoadingLine
    from trainyard_ingest.domain.source import Readable

#: A body below this is stored before anybody could look.
QUIET_BYTES = 1 << 20


class Progress:
    """Bytes received, rows checked, and the stage.

    Args:
        batch_id: the id that the batch will have.
        line: where it is told; None: nobody wants to know.
        rows: returns how many rows were read and checked so far.
        announced: the length of the body, None when it is not known. What is known to be small is not told at all.
    """

    def __init__(self, batch_id: str, line: LoadingLine | None, rows: Callable[[], int], announced: int | None) -> None:
        self.batch_id = batch_id
        self._line = line
        self._rows = rows
        self._loud = announced is not None and announced > QUIET_BYTES
        self._bytes = 0
        self._stage = "receiving"

    def received(self, count: int) -> None:
        """Note bytes of the body."""
        self._bytes += count
        self._loud = self._loud or self._bytes > QUIET_BYTES
        self._tell()

    def enters(self, stage: str) -> None:
        """Note another stage; it is never gone back from."""
        self._stage = stage
        self._tell()

    def through(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the chunks: from the first one on the dataset is this batch's, behind the last one is COMMIT."""
        self.enters("loading")
        for chunk in chunks:
            self._tell()
            yield chunk
        self.enters("committing")

    @contextmanager
    def told(self) -> Iterator[None]:
        """Wipe the line out when the block ends, however it ends."""
        try:
            yield
        finally:
            if self._line is not None:
                self._line.end()

    def _tell(self) -> None:
        if self._line is not None and self._loud:
            self._line.touch(self._stage, self._bytes, self._rows())


class Counted:
    """A body that notes what is read of it."""

    def __init__(self, stream: Readable, progress: Progress) -> None:
        self._stream = stream
        self._progress = progress

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, none at the end."""
        block = self._stream.read(size)
        self._progress.received(len(block))
        return block
