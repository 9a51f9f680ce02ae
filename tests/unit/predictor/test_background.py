"""The threads beside the requests do not wait for one another."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from trainyard.testing.models import sample_rows
from trainyard.testing.processes import wait_until
from trainyard.testing.publishing import publish_key

if TYPE_CHECKING:
    import pytest
    from conftest import World

BODY = {"rows": sample_rows(1)}


def test_a_slow_store_of_models_keeps_no_revoked_key_alive(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a look at the aliases hangs, keys are read on: the revoked one is refused, and its successor answered."""
    assert world.ask("flights", BODY).status == 200
    hangs, go_on = threading.Event(), threading.Event()

    def slow() -> bool:
        hangs.set()
        return go_on.wait(30)

    monkeypatch.setattr(world.service.models, "refresh", slow)
    monkeypatch.setattr("trainyard_predictor.edges.background.KEYS_SECONDS", 0.01)
    background = world.service.background
    background.start()
    try:
        assert hangs.wait(10)
        old = world.key
        world.key = publish_key(world.blobs, "predict")
        wait_until(lambda: world.ask("flights", BODY, authorization=f"Bearer {old}").status == 401, "the revocation")
        assert world.ask("flights", BODY).status == 200
    finally:
        go_on.set()
        background.close()
