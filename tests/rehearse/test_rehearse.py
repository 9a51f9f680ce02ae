"""`trainyard deploy` from nothing to nothing, on an emulator with our images in it; each test goes on from the last."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest
import requests
from leftovers import leftovers

from trainyard import crashpoints
from trainyard.clock import SystemClock
from trainyard.crashpoints import CrashPointError
from trainyard.testing.processes import wait_until
from trainyard_client import signing
from trainyard_client.client import Client
from trainyard_client.errors import ApiError
from trainyard_client.functions import Functions
from trainyard_deploy import commands
from trainyard_deploy.access import described, parameter
from trainyard_deploy.choices import Choices
from trainyard_deploy.engine import Records, Report
from trainyard_deploy.stacks import key_parameter

if TYPE_CHECKING:
    from account import Rehearsal
    from fleet import FleetMachines

pytestmark = [pytest.mark.timeout(900), pytest.mark.usefixtures("fleet")]

#: Two models: one is answered for by the function of all, one by a function of its own.
SHARED, OWN = "rehearsed", "rehearsed_own"
_COLUMNS: list[dict[str, Any]] = [
    {"name": "id", "type": "int", "role": "key", "nullable": False},
    {"name": "x", "type": "float"},
    {"name": "y", "type": "float", "role": "label"},
]
_TRAINING_SECONDS = 300
_FOLLOWING_SECONDS = 30
_IDLE_SECONDS = 180


class Told(list[str]):
    """What an `apply` or a `destroy` says it does."""

    @property
    def report(self) -> Report:
        """Write it down."""
        return Report(
            began=lambda step: self.append(step.name),
            skipped=lambda step: self.append(f"({step.name})"),
            rolled_back=lambda step, _: self.append(f"back from {step.name}"),
        )


def test_apply_makes_all_of_it(target: Rehearsal, fleet: FleetMachines) -> None:
    """Images pushed, stacks made, Postgres migrated, services running, a model trained and asked: every step, once.

    The trainer of the smoke test has ended its instance by itself, when nobody gave it more to do.
    """
    told = Told()
    commands.apply(target, told.report)

    assert told == [step.name for step in commands.list_steps(target.choices)]
    assert fleet.seen
    wait_until(lambda: not fleet.running(), "the end of the fleet", seconds=_IDLE_SECONDS)
    assert any('"action": "version.published"' in said for said in fleet.said())


def test_functions_answer_at_their_urls(target: Rehearsal) -> None:
    """With a key: the function of all for one model, its own for the other, which answers for no other one."""
    found = described(target.env, region=target.region, endpoint=target.endpoint)
    key = parameter(key_parameter(target.env), region=target.region, endpoint=target.endpoint)
    shared, own = (_reached(target, url) for url in (found["predictor"], found["functions"][OWN]))
    with target.connect() as client:
        client.create_dataset(SHARED, _COLUMNS)
        client.push(SHARED, _rows())
        for model in (SHARED, OWN):
            policy = {"promotion": "auto", "budget_trials": 3, "own_function": model == OWN}
            client.create_model(model, SHARED, "y", policy=policy)
            request = client.wait(client.train(model)["id"], seconds=_TRAINING_SECONDS)
            assert request["state"] == "done", request

    def predict(functions: Functions, model: str) -> Any:
        with Client(target.address, key, functions=functions) as asking:
            return asking.predict(model, [{"x": 0.5}])

    right = Functions(shared, {OWN: own})
    for model in (SHARED, OWN):
        assert _followed(predict, right, model)
    with pytest.raises(ApiError) as refused:
        predict(Functions(own), SHARED)
    assert refused.value.status == HTTPStatus.NOT_FOUND


def test_killed_at_each_step_it_ends_where_an_undisturbed_one_ends(target: Rehearsal) -> None:
    """A release without the model's own function: killed before each step and behind each one, again and again.

    Since people meet the release, behind each alone: every time the release before comes back and is replaced anew.
    """
    target = replace(target, choices=Choices())
    steps = [step.name for step in commands.list_steps(target.choices)]
    people = steps.index("run")
    killed = [(step, action) for step in steps[:people] for action in ("error", "lost")]
    try:
        for step, action in (*killed, *((step, "lost") for step in steps[people:])):
            crashpoints.arm({"TRAINYARD_ENV": "test", "CHAOS": f"deploy {step}:{action}"})
            with pytest.raises(CrashPointError):
                commands.apply(target, Told().report)
    finally:
        crashpoints.arm({})
    commands.apply(target, Told().report)
    disturbed = state(target)
    Records(target.blobs, target.env).forget()
    commands.apply(target, Told().report)

    assert state(target) == disturbed
    assert f"predictor-{OWN.replace('_', '-')}" not in target.cloud.parts()


def test_the_emulator_lacks_what_is_listed(target: Rehearsal) -> None:
    """The gaps of deploy/aws/emulator_gaps.toml that take containers to be seen are gaps still."""
    url = _reached(target, described(target.env, region=target.region, endpoint=target.endpoint)["predictor"])
    clock = SystemClock()
    signature = signing.Signature(signing.credentials_of(os.environ, clock), str(target.region), clock)
    asking = partial(requests.post, f"{url}/v1/predict/{SHARED}", json={"rows": [{"x": 0.5}]})
    assert asking(timeout=30).status_code == 403, "who signs nothing does not reach the function"
    assert asking(auth=signature, timeout=30).status_code == 401, "signatures: the function is told who signed"

    its_own = requests.get(f"{target.endpoint}/latest/meta-data/instance-id", timeout=30).text
    assert its_own not in {target.instance}, "metadata: the emulator answers for the instance that asks"
    uris = [one["repositoryUri"] for one in target.client("ecr").describe_repositories()["repositories"]]
    assert not any(uri.startswith(target.corner.registry) for uri in uris), "registry: its names lead to it"


def test_destroy_leaves_what_is_kept_on_purpose(target: Rehearsal, fleet: FleetMachines) -> None:
    """The bucket with its stack, a snapshot of Postgres, and the deploy command's own bucket; trainers are ended."""
    with target.connect() as client:
        client.train(SHARED)
    wait_until(fleet.running, "a trainer", seconds=_IDLE_SECONDS)
    told = Told()
    commands.destroy(target, told.report, data_too=False)

    assert told[0] == "delete services"
    assert leftovers(target) == {
        "stacks": ["trainyard-rehearse-storage"],
        "buckets": [target.place.state_bucket, target.place.bucket],
        "snapshots": ["trainyard-rehearse-final"],
    }


def _rows() -> list[dict[str, Any]]:
    """Return rows, always the same, with noise: a column that gives the label away is left out."""
    rng = random.Random(9)  # noqa: S311 - rows, not secrets
    drawn = [(rng.random(), rng.gauss(0.0, 0.2)) for _ in range(2_000)]
    return [{"id": n, "x": x, "y": 2 * x + noise} for n, (x, noise) in enumerate(drawn)]


def state(target: Rehearsal) -> dict[str, Any]:
    """Return all that a deployment leaves in the account, for comparing two of them."""
    cloud = target.cloud
    parts = cloud.parts()
    return {
        "stacks": {part: cloud.parameters(part) for part in parts},
        "release": cloud.release(),
        "live": cloud.live(target.place.function),
        "containers": sorted(target.corner.machines(target.instance)),
        "left": leftovers(target),
    }


def _followed(predict: Any, functions: Functions, model: str) -> Any:
    """Return a model's answer, as soon as its function has followed the champion."""
    answers: list[Any] = []

    def answered() -> bool:
        try:
            answers.append(predict(functions, model))
        except ApiError as e:
            if e.status != HTTPStatus.NOT_FOUND:
                raise
        return bool(answers)

    wait_until(answered, f"a prediction of {model}", seconds=_FOLLOWING_SECONDS)
    return answers[0]


def _reached(target: Rehearsal, url: str) -> str:
    """Return where the emulator answers for the URL of a function."""
    return f"{target.endpoint}/_aws/lambda-url/{url.removeprefix('https://').partition('.')[0]}"
