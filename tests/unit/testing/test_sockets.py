"""The rule that keeps unit tests fast and alone."""

from __future__ import annotations

import socket

import pytest
from pytest_socket import SocketBlockedError


def test_unit_tests_open_no_socket() -> None:
    """Even loopback is out of reach here."""
    with pytest.warns(UserWarning, match="tried to use"), pytest.raises(SocketBlockedError):
        socket.create_connection(("127.0.0.1", 1), timeout=1)
