"""What the embedded stack's tests share."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def free_ports() -> Callable[[int], list[int]]:
    """Return a function that finds ports of the loopback that nobody uses now."""

    def find(count: int) -> list[int]:
        held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
        numbers = [server.getsockname()[1] for server in held]
        for server in held:
            server.close()
        return numbers

    return find
