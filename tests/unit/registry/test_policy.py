"""The policy: every key has a default, every problem is listed."""

from __future__ import annotations

from typing import Any

import pytest

from trainyard.errors import ServiceError
from trainyard.policy import ColumnPolicy, GatePolicy, Policy, policy_problems, unknown_columns


def test_defaults_are_those_of_the_api_page() -> None:
    """An empty policy is the documented default."""
    assert Policy.from_dict({}).to_dict() == {
        "min_new_rows": 1000,
        "min_new_labels": None,
        "min_fraction_new": None,
        "max_age": None,
        "min_interval": 0.0,
        "cron": None,
        "on_drift": False,
        "on_quality_drop": False,
        "priority": 0,
        "instance_types": [],
        "spot": None,
        "budget_seconds": 60.0,
        "budget_trials": None,
        "kinds": ["linear", "neural_network", "tree_ensemble"],
        "metric": "auto",
        "seed": 0,
        "search_workers": 1,
        "keep_extract": False,
        "keep_copies": 10,
        "own_function": False,
        "leakage": "leave_out",
        "columns": {"exclude": [], "include": []},
        "promotion": "auto",
        "gate": {
            "min_rows": 100,
            "min_improvement": 0.0,
            "confidence": 0.975,
            "max_slice_loss": 0.1,
            "min_slice_rows": 200,
            "max_calibration_error": 0.2,
            "max_latency_us": None,
            "max_size_bytes": None,
            "borderline_margin": 0.0,
        },
        "monitoring": {
            "window_rows": 1000,
            "window": None,
            "min_rows": 200,
            "min_effect": 0.2,
            "min_distance": 0.3,
            "persistence": 2,
            "max_quality_drop": None,
            "confidence": 0.99,
            "label_wait": 86_400.0,
            "cool_down": 3_600.0,
            "max_alarms_per_day": 4,
        },
    }


def test_round_trip() -> None:
    """What was written is read again."""
    policy = Policy(
        min_new_rows=None,
        min_new_labels=3,
        min_fraction_new=0.25,
        max_age=86_400.0,
        min_interval=60.0,
        cron="0 2 * * MON-FRI",
        on_drift=True,
        on_quality_drop=True,
        priority=-5,
        instance_types=("g5.xlarge", "c7i.large"),
        spot=False,
        budget_seconds=12.5,
        kinds=("neural_network",),
        metric="log_loss",
        seed=7,
        leakage="keep",
        columns=ColumnPolicy(("zip",), ("score",)),
        gate=GatePolicy(10, 0.01, 0.9, None, 50, 0.05, 900.0, 10_000),
    )
    assert Policy.from_dict(policy.to_dict()) == policy
    assert Policy.from_dict(policy.settings(), over=Policy(min_new_rows=5)).min_new_rows == 5


def test_settings_over_a_policy() -> None:
    """Keys that are given replace those of the model's policy, one by one."""
    base = Policy(budget_seconds=30, gate=GatePolicy(min_rows=50))
    changed = Policy.from_dict({"seed": 3, "gate": {"confidence": 0.9}}, over=base)
    assert (changed.budget_seconds, changed.seed, changed.gate.min_rows, changed.gate.confidence) == (30, 3, 50, 0.9)


def test_every_problem_is_listed() -> None:
    """All problems come at once, each with its place."""
    raw: dict[str, Any] = {
        "min_new_rows": 0,
        "budget_seconds": "60",
        "kinds": ["linear", "forest"],
        "metric": "f2",
        "seed": True,
        "extra": 1,
        "gate": {"min_rows": -1, "confidence": float("nan"), "other": 1},
    }
    with pytest.raises(ServiceError) as caught:
        Policy.from_dict(raw)
    assert caught.value.code == "invalid_model"
    assert [p.column for p in caught.value.details] == [
        "policy.extra",
        "policy.min_new_rows",
        "policy.budget_seconds",
        "policy.kinds",
        "policy.metric",
        "policy.seed",
        "policy.gate.other",
        "policy.gate.min_rows",
        "policy.gate.confidence",
    ]


@pytest.mark.parametrize("raw", [None, [], "x", {"gate": 3}, {"kinds": []}, {"kinds": ["linear", "linear"]}])
def test_wrong_shapes(raw: object) -> None:
    """A policy of the wrong shape is one clear problem."""
    assert len(policy_problems(raw)) == 1


def test_metric_must_fit_the_task() -> None:
    """A metric of another task is refused when the task is known."""
    assert policy_problems({"metric": "rmse"}, task="binary")
    assert not policy_problems({"metric": "rmse"}, task="regression")
    assert not policy_problems({"metric": "rmse"}, task="auto")


def test_settings_are_what_a_run_needs() -> None:
    """A request copies how to train, not when."""
    settings = Policy(cron="0 2 * * *", priority=5, instance_types=("g5.xlarge",), seed=3).settings()
    assert list(settings) == ["budget_seconds", "metric", "seed", "gate"]
    assert settings["seed"] == 3
    assert Policy(search_workers=3).settings()["search_workers"] == 3
    special = Policy(kinds=("neural_network",), budget_trials=40).settings()
    assert (special["kinds"], special["budget_trials"]) == (["neural_network"], 40)


def test_who_may_help_a_search() -> None:
    """All workers but the one that leads; nobody where the search is to be the same again."""
    assert Policy().helpers == 0
    assert Policy(search_workers=3).helpers == 2
    assert Policy(search_workers=3, budget_trials=40).helpers == 0
    (problem,) = policy_problems({"search_workers": 17})
    assert (problem.column, problem.expected) == ("policy.search_workers", "a whole number from 1 to 16")


@pytest.mark.parametrize("trials", [0, 1_001, 2.5, True, "9"])
def test_a_budget_of_trials_is_a_whole_number(trials: object) -> None:
    """From 1 to 1000, or none."""
    (problem,) = policy_problems({"budget_trials": trials})
    assert (problem.column, problem.expected) == ("policy.budget_trials", "a whole number from 1 to 1000, or null")
    assert not policy_problems({"budget_trials": None})


@pytest.mark.parametrize(
    ("given", "seconds"),
    [(90, 90.0), ("90", 90.0), ("90s", 90.0), ("1.5m", 90.0), ("24h", 86_400.0), ("7d", 604_800.0)],
)
def test_durations(given: object, seconds: float) -> None:
    """Lengths of time are seconds or a number with a unit; what is kept is seconds."""
    policy = Policy.from_dict({"max_age": given, "min_interval": given})
    assert (policy.max_age, policy.min_interval) == (seconds, seconds)


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("min_new_labels", [0, 1.5, True, "3"]),
        ("min_fraction_new", [0, -1, float("nan"), "0.5", True]),
        ("max_age", [0, "0s", "-1h", "1w", "", True, float("inf"), [], "99999999d"]),
        ("min_interval", [None, -1, "later"]),
        ("cron", ["", "* * * *", "* * * * * *", "@daily", "0 2 * * ?", 5, "0\n2 * * *"]),
        ("on_drift", [None, 1, "true"]),
        ("on_quality_drop", [None, 0]),
        ("priority", [None, 101, -101, 1.0, True]),
        ("instance_types", [None, "g5.xlarge", ["g5.xlarge"] * 2, ["G5"], [5], [f"t{n}.x" for n in range(21)]]),
        ("spot", [0, "yes"]),
        ("promotion", [None, "manual", True]),
    ],
)
def test_what_no_key_takes(key: str, values: list[object]) -> None:
    """Each wrong value is one problem at its key."""
    for value in values:
        assert [problem.column for problem in policy_problems({key: value})] == [f"policy.{key}"], value


def test_null_switches_a_trigger_off() -> None:
    """Triggers and spot take null."""
    keys = ("min_new_rows", "min_new_labels", "min_fraction_new", "max_age", "cron", "spot")
    assert not policy_problems(dict.fromkeys(keys))


def test_gate_settings_are_those_that_an_older_trainer_takes() -> None:
    """A request copies the gate's newer keys only where they are not as by default."""
    assert Policy().settings()["gate"] == {"min_rows": 100, "min_improvement": 0.0}
    assert Policy(gate=GatePolicy(confidence=0.9)).settings()["gate"]["confidence"] == 0.9


@pytest.mark.parametrize(("margin", "confidence"), [(0, 0.5), (1, 0.8413), (2.0, 0.9772), (100, 0.9999)])
def test_standard_errors_of_an_older_release(margin: float, confidence: float) -> None:
    """A stored ``noise_margin`` is read as the confidence that it stood for, and not written again."""
    policy = Policy.from_dict({"gate": {"noise_margin": margin}})
    assert policy.gate.confidence == confidence
    assert "noise_margin" not in policy.to_dict()["gate"]


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("confidence", [0.49, 1.0, None, True, "0.9"]),
        ("max_slice_loss", [-0.1, float("inf"), "10 %"]),
        ("min_slice_rows", [None, 1, 2.5]),
        ("max_calibration_error", [-1, float("nan")]),
        ("max_latency_us", [0, "1ms"]),
        ("max_size_bytes", [0, 1.5, True]),
        ("borderline_margin", [-0.1, "0"]),
    ],
)
def test_what_no_key_of_the_gate_takes(key: str, values: list[object]) -> None:
    """Each wrong value is one problem at its key; the limits take null."""
    for value in values:
        assert [p.column for p in policy_problems({"gate": {key: value}})] == [f"policy.gate.{key}"], value
    assert bool(policy_problems({"gate": {key: None}})) == (
        key in ("confidence", "min_slice_rows", "borderline_margin")
    )


@pytest.mark.parametrize(
    ("promotion", "passed", "borderline", "waits"),
    [
        ("auto", True, True, False),
        ("approve", True, False, True),
        ("approve", False, True, False),
        ("approve_if_borderline", True, False, False),
        ("approve_if_borderline", True, True, True),
        ("approve_if_borderline", False, True, True),
        ("approve_if_borderline", False, False, False),
    ],
)
def test_who_waits(promotion: str, *, passed: bool, borderline: bool, waits: bool) -> None:
    """Which verdict waits for a person under which promotion; the mode reaches the trainer with the request."""
    policy = Policy.from_dict(Policy(promotion=promotion).settings())
    assert policy.waits(passed=passed, borderline=borderline) == waits


def test_columns_that_cannot_be_meant() -> None:
    """Names are texts, each once, and not on both lists; which ones a dataset has is told where it is known."""
    for raw, place in [
        ({"columns": ["a"]}, "policy.columns"),
        ({"columns": {"only": ["a"]}}, "policy.columns.only"),
        ({"columns": {"exclude": "a"}}, "policy.columns.exclude"),
        ({"columns": {"exclude": ["a", "a"]}}, "policy.columns.exclude"),
        ({"columns": {"include": [1]}}, "policy.columns.include"),
        ({"columns": {"include": ["a"], "exclude": ["a"]}}, "policy.columns.include"),
        ({"leakage": "ignore"}, "policy.leakage"),
    ]:
        assert [problem.column for problem in policy_problems(raw)] == [place]
    found = unknown_columns({"exclude": ["a", "x"], "include": ["y"]}, ["a", "b"], "shop")
    assert [(problem.column, problem.got) for problem in found] == [
        ("policy.columns.exclude", "x"),
        ("policy.columns.include", "y"),
    ]
    assert found[0].expected == "a feature of shop: a, b"


def test_a_request_takes_a_column_off_the_other_list() -> None:
    """What a request includes, the policy no longer excludes, and the other way about; the other names stay."""
    base = Policy(columns=ColumnPolicy(("a", "b"), ("c",)))
    changed = Policy.from_dict({"columns": {"include": ["a"]}}, over=base)
    assert changed.columns == ColumnPolicy(("b",), ("a",))
    assert Policy.from_dict({"columns": {"exclude": ["c"]}}, over=base).columns == ColumnPolicy(("c",), ())


def test_settings_name_columns_only_where_they_are_set() -> None:
    """A trainer of the release before is not given keys that it does not know."""
    assert not {"leakage", "columns"} & set(Policy().settings())
    assert Policy(leakage="keep").settings()["leakage"] == "keep"
    assert Policy(columns=ColumnPolicy(("a",))).settings()["columns"] == {"exclude": ["a"], "include": []}
