"""Just enough of Postgres' wire protocol to see a COMMIT go by, and the end of its answer."""

from __future__ import annotations

import struct

_SSL_OR_GSS_REQUEST = {80877103, 80877104}
_HEAD_BYTES = 5
_TEXT_BYTES = 256
_COMMITS = (b"COMMIT", b"END")


class Frames:
    """Cuts one direction of a connection into messages; keeps no more of each than its first bytes.

    ``untyped`` is true for a client's stream, whose first messages (start-up, SSL request) have no type byte.
    """

    def __init__(self, *, untyped: bool) -> None:
        self._untyped = untyped
        self._buffer = bytearray()
        self._skip = 0
        self.raw_bytes = 0

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Return (type, first bytes of the payload) of every message whose end ``data`` brings."""
        self._buffer += data
        found: list[tuple[bytes, bytes]] = []
        while self._advance(found):
            pass
        return found

    def _advance(self, found: list[tuple[bytes, bytes]]) -> bool:
        """Take one message, or what there is of a long one, off the buffer; False when more bytes are needed."""
        if self.raw_bytes:  # one byte without a frame: the server's answer to an SSL request
            taken = min(self.raw_bytes, len(self._buffer))
            del self._buffer[:taken]
            self.raw_bytes -= taken
            return taken > 0
        if self._skip:
            taken = min(self._skip, len(self._buffer))
            del self._buffer[:taken]
            self._skip -= taken
            return taken > 0
        return self._start_up(found) if self._untyped else self._message(found)

    def _start_up(self, found: list[tuple[bytes, bytes]]) -> bool:
        if len(self._buffer) < 8:
            return False
        length, code = struct.unpack_from(">ii", self._buffer)
        if len(self._buffer) < length:
            return False
        del self._buffer[:length]
        if code in _SSL_OR_GSS_REQUEST:
            found.append((b"ssl", b""))
        else:
            self._untyped = False
        return True

    def _message(self, found: list[tuple[bytes, bytes]]) -> bool:
        if len(self._buffer) < _HEAD_BYTES:
            return False
        kind, length = struct.unpack_from(">ci", self._buffer)
        size = length - 4
        if len(self._buffer) - _HEAD_BYTES < min(size, _TEXT_BYTES):
            return False
        payload = bytes(self._buffer[_HEAD_BYTES : _HEAD_BYTES + min(size, _TEXT_BYTES)])
        here = min(size, len(self._buffer) - _HEAD_BYTES)
        del self._buffer[: _HEAD_BYTES + here]
        self._skip = size - here
        found.append((kind, payload))
        return True


def is_commit(kind: bytes, payload: bytes) -> bool:
    """Return whether a client's message asks for a commit, as a plain query or as one to be parsed."""
    if kind == b"P":
        payload = payload.partition(b"\0")[2]
    elif kind != b"Q":
        return False
    words = payload.partition(b"\0")[0].upper().replace(b";", b" ").split()
    return bool(words) and words[0] in _COMMITS
