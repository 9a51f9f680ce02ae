"""`trainyard fleet` and `trainyard costs`: what people read there, and what is asked for it."""

from __future__ import annotations

from trainyard_client.cli.exits import Exit

POOL = {
    "instance_types": ["g5.xlarge"],
    "spot": True,
    "open": 3,
    "busy": 1,
    "available": 0,
    "desired": 3,
    "state": "waiting_capacity",
    "error": {
        "seconds_ago": 12.3,
        "message": "spot: InsufficientInstanceCapacity: none",
        "next_try_seconds": 4.0,
        "next_step": "nothing: it is tried again by itself",
    },
}
INSTANCE = {
    "instance_id": "i-1",
    "state": "running",
    "instance_type": "c7i.large",
    "market": "spot",
    "zone": "us-east-1a",
    "age_seconds": 3_725.0,
    "duty": "busy",
    "usd_per_hour": 0.0893,
    "worker": {"id": "host:1", "state": "busy", "silent_seconds": 2.2},
}
FLEET = {
    "instances": [INSTANCE, {**INSTANCE, "instance_id": "i-0", "state": "terminated", "worker": None}],
    "launches": [{"launch_id": "l-1", "state": "asked", "instance_types": ["g5.xlarge"]}],
    "pools": [POOL, {**POOL, "instance_types": ["c7i.large"], "spot": False, "state": "enough", "error": None}],
    "open_requests": 6,
    "desired": 6,
    "max": 2,
    "cap": {"name": "usd_per_day", "used": 5.013, "limit": 5.0},
    "today": {"hours": 12.3456, "max_hours": None, "usd": 5.013, "max_usd": 5.0, "unpriced_hours": 0.0},
}
COSTS = {
    "from": "2026-01-01",
    "upto": "2026-01-31",
    "runs": [
        {
            "day": "2026-01-02",
            "model": "late",
            "instance_type": "c7i.large",
            "runs": 2,
            "seconds": 90.0,
            "cost_usd": 0.0023,
            "unpriced_runs": 1,
        }
    ],
    "instances": [],
    "total": {"runs_usd": 0.0023, "unpriced_runs": 1, "instances_usd": None, "hours": 0.0},
}


def test_fleet_says_what_runs_and_what_waits(api, trainyard):
    """Instances with age, market and trainer; per kind of request the last error, its age, the next try and step."""
    api.on("GET", "/v1/fleet", FLEET)
    done = trainyard("fleet")
    assert done.code == Exit.OK
    for words in (
        "i-1",
        "1 h 2 min",
        "busy, 2 s ago",
        "launch l-1 of g5.xlarge waits for EC2's answer",
        "g5.xlarge (spot first): 3 open, 1 in work, 0 free or on their way, 3 wanted: waiting capacity",
        "c7i.large (on-demand)",
        "EC2 said 12 s ago: spot: InsufficientInstanceCapacity: none",
        "next try in 4 s; next step: nothing",
        "6 open requests, 6 instances wanted, at most 2",
        "today (UTC): instances ran for 12.35 h and cost $5.01 of $5.00",
        "limit reached: $5.01 of $5.00 spent today; nothing is launched",
        "$0.0893/h",
    ):
        assert words in done.out
    assert "i-0" not in done.out
    assert "i-0" in trainyard("fleet", "--all").out


def test_fleet_of_an_idle_system(api, trainyard):
    """Nothing runs, nothing waits: a sentence each."""
    today = {"hours": 0.0, "max_hours": 48.0, "usd": 0.0, "max_usd": 50.0, "unpriced_hours": 0.0}
    idle = {"instances": [], "launches": [], "pools": [], "open_requests": 0, "desired": 0, "max": 2, "today": today}
    api.on("GET", "/v1/fleet", idle)
    out = trainyard("fleet").out
    assert "no instance runs" in out
    assert "today (UTC): instances ran for 0 h of 48 h and cost $0.00 of $50.00" in out
    young = {**INSTANCE, "age_seconds": 65.0, "usd_per_hour": None}
    api.on("GET", "/v1/fleet", {**idle, "instances": [young, {**young, "age_seconds": 5.0}]})
    out = trainyard("fleet").out
    assert "1 min 5 s" in out
    assert " 5 s" in out


def test_a_limit_of_instances_is_a_whole_number(api, trainyard):
    """Instances are counted, not measured: 2 of 2, not 2.00 of 2."""
    api.on("GET", "/v1/fleet", {**FLEET, "cap": {"name": "instances", "used": 2.0, "limit": 2.0}})
    assert "limit reached: 2 of 2 instances; nothing is launched" in trainyard("fleet").out


def test_a_limit_of_hours_has_its_unit(api, trainyard):
    """Hours are told with their unit, and as whole ones where they are."""
    api.on("GET", "/v1/fleet", {**FLEET, "cap": {"name": "hours_per_day", "used": 48.125, "limit": 48.0}})
    assert "limit reached: 48.12 h of 48 h of instances today; nothing is launched" in trainyard("fleet").out


def test_costs_by_day(api, trainyard):
    """Runs and instances by day, the sums, and what has no known price; the days are passed on."""
    api.on("GET", "/v1/costs", COSTS)
    done = trainyard("costs", "--from", "2026-01-01", "--upto", "2026-01-31")
    assert done.code == Exit.OK
    for words in (
        "late",
        "1.5 min",
        "$0.0023",
        "runs cost $0.0023; instances cost an unknown amount, idle time included",
        "1 runs without a known price",
    ):
        assert words in done.out
    assert api.asked[0].query == {"from": "2026-01-01", "upto": "2026-01-31"}
    nothing = {**COSTS, "runs": [], "total": {"runs_usd": None, "unpriced_runs": 0, "instances_usd": 1.0, "hours": 2.0}}
    api.on("GET", "/v1/costs", nothing)
    assert "no run ended from 2026-01-01 to 2026-01-31" in trainyard("costs").out
