"""The policy: every key has a default, every problem is listed."""

from __future__ import annotations

from typing import Any

import pytest

from trainyard.errors import ServiceError
from trainyard.policy import GatePolicy, Policy, policy_problems


def test_defaults_are_those_of_the_api_page() -> None:
    """An empty policy is the documented default."""
    assert Policy.from_dict({}).to_dict() == {
        "min_new_rows": 1000,
        "budget_seconds": 60.0,
        "families": ["linear", "trees"],
        "metric": "auto",
        "seed": 0,
        "gate": {"min_rows": 100, "min_improvement": 0.0, "noise_margin": 2.0},
    }


def test_round_trip() -> None:
    """What was written is read again."""
    policy = Policy(None, 12.5, ("neural",), "log_loss", 7, GatePolicy(10, 0.01, 2.0))
    assert Policy.from_dict(policy.to_dict()) == policy
    assert Policy.from_dict(policy.settings(), over=Policy(min_new_rows=5)).min_new_rows == 5


def test_settings_over_a_policy() -> None:
    """Keys that are given replace those of the model's policy, one by one."""
    base = Policy(budget_seconds=30, gate=GatePolicy(min_rows=50))
    changed = Policy.from_dict({"seed": 3, "gate": {"noise_margin": 0}}, over=base)
    assert (changed.budget_seconds, changed.seed, changed.gate.min_rows, changed.gate.noise_margin) == (30, 3, 50, 0)


def test_every_problem_is_listed() -> None:
    """All problems come at once, each with its place."""
    raw: dict[str, Any] = {
        "min_new_rows": 0,
        "budget_seconds": "60",
        "families": ["linear", "forest"],
        "metric": "f1",
        "seed": True,
        "extra": 1,
        "gate": {"min_rows": -1, "noise_margin": float("nan"), "other": 1},
    }
    with pytest.raises(ServiceError) as caught:
        Policy.from_dict(raw)
    assert caught.value.code == "invalid_model"
    assert [p.column for p in caught.value.details] == [
        "policy.extra",
        "policy.min_new_rows",
        "policy.budget_seconds",
        "policy.families",
        "policy.metric",
        "policy.seed",
        "policy.gate.other",
        "policy.gate.min_rows",
        "policy.gate.noise_margin",
    ]


@pytest.mark.parametrize("raw", [None, [], "x", {"gate": 3}, {"families": []}, {"families": ["linear", "linear"]}])
def test_wrong_shapes(raw: object) -> None:
    """A policy of the wrong shape is one clear problem."""
    assert len(policy_problems(raw)) == 1


def test_metric_must_fit_the_task() -> None:
    """A metric of another task is refused when the task is known."""
    assert policy_problems({"metric": "rmse"}, task="binary")
    assert not policy_problems({"metric": "rmse"}, task="regression")
    assert not policy_problems({"metric": "rmse"}, task="auto")
