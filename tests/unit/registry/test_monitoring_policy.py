"""How a model is watched, as part of its policy: every key is checked, lengths of time are read."""

from __future__ import annotations

from typing import Any

import pytest

from trainyard.policy import MonitoringPolicy, Policy, policy_problems

GOOD: dict[str, list[Any]] = {
    "window_rows": [20, 20_000],
    "window": [None, 60, "1d", 86_400.5],
    "min_rows": [20, 20_000],
    "min_effect": [0.01, 1, 100],
    "min_distance": [0.01, 0.5],
    "persistence": [1, 100],
    "max_quality_drop": [None, 0, 0.5, 1e12],
    "confidence": [0.5, 0.95, 0.99999],
    "label_wait": [0, "7d"],
    "cool_down": [0, "90s", 3600],
    "max_alarms_per_day": [0, 1000],
}
BAD: dict[str, list[Any]] = {
    "window_rows": [19, 20_001, 20.0, True, None, "1000"],
    "window": [59, "1x", "", -1, float("inf"), "367d", True],
    "min_rows": [19, 20_001, None],
    "min_effect": [0, 101, float("nan"), True, None, "1"],
    "min_distance": [0.001, 1e9],
    "persistence": [0, 101, 1.5],
    "max_quality_drop": [-0.1, 1e13, float("inf"), "1"],
    "confidence": [0.49, 1.0, None],
    "label_wait": [None, -1, "soon"],
    "cool_down": [None, -1, []],
    "max_alarms_per_day": [-1, 1001, None],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in GOOD.items() for value in values])
def test_good_values(name: str, value: Any) -> None:
    """A valid value is kept, and comes back as it was given by its JSON form."""
    policy = Policy.from_dict({"monitoring": {name: value}})
    assert Policy.from_dict(policy.to_dict()) == policy
    if not isinstance(value, str):
        assert getattr(policy.monitoring, name) == value


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_bad_values(name: str, value: Any) -> None:
    """An invalid value is one problem that names its key and what is expected."""
    (problem,) = policy_problems({"monitoring": {name: value}})
    assert problem.column == f"policy.monitoring.{name}"
    assert problem.expected.startswith(("a whole number from", "a number from", "seconds or a text"))
    assert problem.expected.endswith(", or null") == (None in GOOD[name])


def test_every_key_has_its_cases() -> None:
    """No key of the policy goes without a test of its bounds."""
    assert set(vars(MonitoringPolicy())) == set(GOOD) == set(BAD)


def test_lengths_are_read() -> None:
    """Texts become seconds; keys that are not given stay as they were."""
    first = Policy.from_dict({"monitoring": {"window": "1d", "label_wait": "2h"}})
    assert (first.monitoring.window, first.monitoring.label_wait) == (86_400.0, 7_200.0)
    second = Policy.from_dict({"monitoring": {"window": None, "cool_down": "1m"}}, over=first)
    assert second.monitoring == MonitoringPolicy(label_wait=7_200.0, cool_down=60.0)


@pytest.mark.parametrize("raw", [7, None, [], "x"])
def test_no_object(raw: Any) -> None:
    """The part is an object or nothing."""
    (problem,) = policy_problems({"monitoring": raw})
    assert (problem.column, problem.expected) == ("policy.monitoring", "an object")


def test_unknown_keys() -> None:
    """A key that is none is named, with those that are, and cut when it is long."""
    (problem,) = policy_problems({"monitoring": {"x" * 200: 1}})
    assert problem.column == "policy.monitoring." + "x" * 80
    assert "window_rows, window, min_rows" in problem.expected
