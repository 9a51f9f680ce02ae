"""A service without API keys can only have open routes."""

from __future__ import annotations

import pytest

from trainyard.adapters.web import Route, make_app
from trainyard.clock import ManualClock


def test_a_route_that_needs_a_key_cannot_be_built_without_keys() -> None:
    """Nobody can make a guarded route open by leaving out the key ring: the application refuses to start."""
    guarded = Route("GET", "/secret", lambda: (200, {}), "read", "Guarded")
    with pytest.raises(ValueError, match="needs a scope"):
        make_app("x", [guarded], ring=None, clock=ManualClock(), ready=dict, hosts=["localhost"], version="0")
