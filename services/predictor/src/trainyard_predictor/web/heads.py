"""Heads of requests that came before, byte for byte: they mean what they meant, so they are not parsed again.

A client that keeps its connection sends the same head with every request; only the length of the body varies a little.
What a head was read as is remembered by its bytes, for all connections of the process. Only heads that were beyond
doubt are: read by the parser, without a fault, one request alone in what came, its body as long as it said.
"""

from __future__ import annotations

from trainyard_predictor.exchange import Request, Seen

#: Longer heads, and more of them, are parsed each time: what strangers send must not fill the memory.
MOST_BYTES = 2_048
MOST_HEADS = 1_000
_END = b"\r\n\r\n"
#: With these a head says more than what is to be done with one body of a known length.
_UNUSUAL = frozenset({"transfer-encoding", "expect", "upgrade", "connection", "content-encoding"})


class Heads:
    """What heads were read as; used by one thread."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[Request, int]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def read(self, data: bytes) -> Request | None:
        """Return the request that ``data`` is, whole and alone; None where the parser has to say."""
        end = data.find(_END) + len(_END)
        known = self._known.get(data[:end])
        if known is None or len(data) != end + known[1]:
            return None
        head = known[0]
        return Request(head.method, head.path, head.query, head.headers, data[end:], None, None, None, head.seen)

    def remember(self, data: bytes, request: Request) -> None:
        """Take note of what ``data`` was read as: one whole request that leaves the connection open."""
        headers, length = request.headers, len(request.body)
        end = data.find(_END) + len(_END)
        if (
            len(data) != end + length
            or end > MOST_BYTES
            or not data[:1].isalpha()
            or headers.get("content-length", "0") != str(length)
            or not _UNUSUAL.isdisjoint(headers)
        ):
            return
        if len(self._known) >= MOST_HEADS:
            self._known.clear()
        head = Request(request.method, request.path, request.query, headers, seen=Seen())
        self._known[data[:end]] = head, length
