"""A client of the predictor that does not give up, and remembers what it was told."""

from __future__ import annotations

import http.client
import json
from typing import Any

from ground import wait_for

_REQUESTS, _ROWS = 4, 2
_TIMEOUT_SECONDS = 10.0


class Asker:
    """Asks the same few requests, each under an Idempotency-Key of its own, until each is answered with 200.

    ``promised`` are the ids that were answered as logged, ``answered`` all.
    """

    def __init__(self, port: int, key: str, model: str) -> None:
        self._port = port
        self._key = key
        self._model = model
        self._ids: dict[str, list[str]] = {}
        self.promised: set[str] = set()
        self.answered: set[str] = set()

    def ask_all(self, *, seconds: float) -> None:
        """Ask each request once and until it is answered.

        Raises:
            TimeoutError: one was not answered in time; says what it got last.
            AssertionError: a repetition was answered with other ids, or an answer is not what it should be.
        """
        for number in range(_REQUESTS):
            last: list[str] = []

            def answered(name: str = f"request-{number}", last: list[str] = last) -> bool:
                status, body = self._ask(name)
                last[:] = [f"{status}: {body}"]
                if status != 200:
                    assert status in (0, 503), last
                    return False
                self._note(name, body)
                return True

            wait_for(answered, lambda last=last: f"the predictor answers {last}", seconds=seconds)

    def _note(self, name: str, body: dict[str, Any]) -> None:
        ids = [row["prediction_id"] for row in body["rows"]]
        assert len(set(ids)) == _ROWS
        assert self._ids.setdefault(name, ids) == ids, "the same request has the same ids, whoever answers it"
        self.answered |= set(ids)
        self.promised |= {row["prediction_id"] for row in body["rows"] if row.get("logged", True)}

    def _ask(self, name: str) -> tuple[int, Any]:
        """Return status and body; 0 when there was no answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_TIMEOUT_SECONDS)
        rows = [{"age": 20 + number} for number in range(_ROWS)]
        headers = {
            "Authorization": f"Bearer {self._key}",
            "Content-Type": "application/json",
            "Idempotency-Key": name,
        }
        try:
            connection.request("POST", f"/v1/predict/{self._model}", json.dumps({"rows": rows}), headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        except (OSError, http.client.HTTPException) as e:
            return 0, repr(e)
        finally:
            connection.close()
