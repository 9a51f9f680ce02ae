"""The smoke test of a deployment: rows in, a model, a prediction, by the ways that people take."""

from __future__ import annotations

import json
import random
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from trainyard_client.errors import ApiError, ClientError
from trainyard_deploy.ports import DeployError, SmokeTest

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from trainyard.clock import Clock
    from trainyard_client.client import Client
    from trainyard_deploy.ports import Cloud

#: The dataset and the model of the test; both are removed behind it.
NAME = "deploy_smoke"
_ROWS = 3_000
#: An instance has to start first, and to load its image.
_TRAINING_SECONDS = 1_200.0
_PREDICTION_SECONDS = 30.0
_POLL_SECONDS = 1.0
_COLUMNS: list[dict[str, Any]] = [
    {"name": "id", "type": "int", "role": "key", "nullable": False},
    {"name": "x", "type": "float"},
    {"name": "z", "type": "float"},
    {"name": "y", "type": "bool", "role": "label"},
]


class LoopSmokeTest(SmokeTest):
    """Goes once around the loop.

    Args:
        connect: a client of the services for as long as its block lasts.
        function: the function that is asked for a prediction, at its alias `live`.
    """

    def __init__(
        self, connect: Callable[[], AbstractContextManager[Client]], cloud: Cloud, function: str, clock: Clock
    ) -> None:
        self._clock = clock
        self._connect = connect
        self._cloud = cloud
        self._function = function

    def run(self) -> None:
        """Send rows, train, ask the function; remove dataset and model, whatever came of it."""
        try:
            with self._connect() as client:
                try:
                    self._loop(client)
                finally:
                    _remove(client)
        except ClientError as e:
            raise DeployError(f"smoke test: {e}") from e

    def _loop(self, client: Client) -> None:
        client.create_dataset(NAME, _COLUMNS)
        client.push(NAME, _rows())
        # In the policy, for the rows that have arrived may have it ask for a training before we do.
        client.create_model(NAME, NAME, "y", policy={"promotion": "auto", "budget_trials": 3})
        request = client.wait(client.train(NAME)["id"], seconds=_TRAINING_SECONDS)
        if request["state"] != "done":
            raise DeployError(
                f"smoke test: the training ended as {request['state']}; see trainyard run explain {request['id']}"
            )
        self._predict()

    def _predict(self) -> None:
        """Ask until the function has followed the champion, which takes some seconds."""
        event = {"path": f"/v1/predict/{NAME}", "body": json.dumps({"rows": [{"x": 0.9, "z": 0.1}]})}
        deadline = self._clock.monotonic() + _PREDICTION_SECONDS
        while True:
            answer = self._cloud.invoke(self._function, "live", event)
            if answer.get("statusCode") == HTTPStatus.OK and json.loads(answer["body"])["rows"]:
                return
            if self._clock.monotonic() > deadline:
                raise DeployError(f"smoke test: no prediction came: {answer}")
            self._clock.sleep(_POLL_SECONDS)


def _rows() -> list[dict[str, Any]]:
    """Return rows, always the same: the label follows one column, with noise: one that gives it away is left out."""
    rng = random.Random(2013)  # noqa: S311 - rows, not secrets
    drawn = [(rng.random(), rng.random(), rng.gauss(0.0, 0.15)) for _ in range(_ROWS)]
    return [{"id": n, "x": x, "z": z, "y": x + noise > 0.5} for n, (x, z, noise) in enumerate(drawn)]


def _remove(client: Client) -> None:
    """Remove what the test has made, as far as it got."""
    for remove in (client.delete_model, client.delete_dataset):
        try:
            remove(NAME)
        except ApiError as e:
            if e.status != HTTPStatus.NOT_FOUND:
                raise
