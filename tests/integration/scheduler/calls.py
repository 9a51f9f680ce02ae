"""The scheduler's API as a caller with a key sees it, and a training that is done by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainyard_scheduler.use_cases.requests import request_of

if TYPE_CHECKING:
    from flask.testing import FlaskClient
    from tests.integration.scheduler.warehouse import Warehouse
    from werkzeug.test import TestResponse

    from trainyard.adapters.postgres.scheduling import PostgresStore

MODEL = {"dataset": "flights", "label": "late", "policy": {"min_new_rows": 100}}


class Client:
    """Calls with an API key; expects a status and returns the JSON."""

    def __init__(self, client: FlaskClient, keys: dict[str, str]) -> None:
        self._client = client
        self._keys = keys

    def send(self, method: str, path: str, *, key: str = "admin", **more: Any) -> TestResponse:
        """Send and return the whole answer."""
        headers = {"Authorization": f"Bearer {self._keys[key]}", **more.pop("headers", {})}
        return self._client.open(path, method=method, base_url="http://127.0.0.1", headers=headers, **more)

    def __call__(self, method: str, path: str, status: int = 200, **more: Any) -> Any:
        """Send, check the status, return the JSON."""
        answer = self.send(method, path, **more)
        assert answer.status_code == status, answer.get_data(as_text=True)
        return answer.get_json(silent=True)


def trained(call: Client, store: PostgresStore, warehouse: Warehouse, *, waits: bool = False) -> int:
    """Let a trainer serve a request by hand; return the version, which may wait for a person."""
    warehouse.add(10)
    asked = call("POST", "/v1/models/late/requests", 201)
    with store.begin() as records:
        request = request_of(records, asked["id"])
    warehouse.claim(request.id)
    return warehouse.finish(request.id, waits=waits)
