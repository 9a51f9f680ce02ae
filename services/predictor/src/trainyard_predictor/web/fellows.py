"""How many connections each worker of one gunicorn has, so that whoever has fewest accepts the next.

The kernel wakes all workers that wait on a socket, and the quickest accepts. Four connections that come at once may all
be one worker's, and stay with it for as long as their clients keep them, while another worker has nothing to do.
"""

from __future__ import annotations

import mmap
import struct

#: A worker that has said nothing for so long counts no more.
_SILENT_SECONDS = 3.0
_SLOT = struct.Struct("<dq")  # when it was written (monotonic, of the machine), and the connections
_SLOTS = 64


class Fellows:
    """A table in memory that the master makes before it forks, and all its workers share.

    Numbers are hints: a worker may read one while it is written, and then accepts a connection too early or too late.
    ``now`` is the machine's monotonic time, as the loops of all workers tell it.
    """

    def __init__(self) -> None:
        self._table = mmap.mmap(-1, _SLOTS * _SLOT.size)
        self._own = 0

    def join(self, number: int) -> None:
        """Take the place of the worker of this number; the master gives each a new one."""
        self._own = number % _SLOTS * _SLOT.size

    def say(self, connections: int, now: float) -> None:
        """Write down how many connections this worker has; to be repeated about once a second."""
        _SLOT.pack_into(self._table, self._own, now, connections)

    def have_fewer(self, connections: int, now: float) -> bool:
        """Tell whether another worker that is alive has fewer than ``connections``."""
        since = now - _SILENT_SECONDS
        for at, (said_at, count) in enumerate(_SLOT.iter_unpack(self._table)):
            if said_at > since and count < connections and at * _SLOT.size != self._own:
                return True
        return False
