"""The smoke test of a deployment, against a stack that is known to be well."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainyard.clock import SystemClock
from trainyard_client.client import Client
from trainyard_deploy.ports import DeployError
from trainyard_deploy.smoke import NAME, LoopSmokeTest
from trainyard_deploy.testing import MemoryCloud


class QuickClock(SystemClock):
    """Half a minute is over after ten seconds."""

    def monotonic(self) -> float:
        return super().monotonic() * 3


class HttpFunction(MemoryCloud):
    """An account whose function is the stack's predictor over HTTP."""

    def __init__(self, stack) -> None:
        super().__init__("test")
        self._stack = stack
        self.answers = True

    def invoke(self, function, version, event):
        if not self.answers:
            return {"statusCode": 500, "body": ""}
        url, body = self._stack.ready["url"] + event["path"], event["body"]
        response = self._stack.session.post(url, data=body, headers={"Content-Type": "application/json"}, timeout=60)
        return {"statusCode": response.status_code, "body": response.text}


def test_the_smoke_test_goes_around_the_loop(stack):
    """It passes where the loop works, leaves nothing behind, may be repeated; it fails where no prediction comes."""
    cloud = HttpFunction(stack)
    key = Path(stack.ready["admin_key_file"]).read_text().strip()
    smoke = LoopSmokeTest(lambda: Client(stack.ready["url"], key), cloud, "trainyard-test-predictor", QuickClock())
    for _ in range(2):
        smoke.run()
        assert NAME not in {one["name"] for path in ("/v1/models", "/v1/datasets") for one in stack.items(path)}

    cloud.answers = False
    with pytest.raises(DeployError, match="no prediction came"):
        smoke.run()
    assert NAME not in {one["name"] for one in stack.items("/v1/models")}
