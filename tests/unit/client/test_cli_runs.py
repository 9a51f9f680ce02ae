"""`train`, `requests`, `decisions`, `run explain` and the policy's options: what is asked, and what people see."""

from __future__ import annotations

import json

import pytest
from tests.unit.client.fake_api import error, page

from trainyard_client.cli.exits import Exit

REQUEST = {"id": "r", "model": "buys", "attempt": 0, "state": "queued", "priority": 5}
EXPLANATION = {
    "request_id": "r",
    "model": "buys",
    "state": "queued",
    "code": "waiting_capacity",
    "sentence": "the cloud had no capacity at 3 tries in a row",
    "blocked_by": "capacity of the cloud",
    "to_do": "allow more instance types",
    "expected_wait_seconds": 61.5,
    "waited_seconds": 40.2,
    "priority": 5,
    "instance_types": ["g5.xlarge"],
    "queue": {"ahead": 2, "waiting": 3, "running": 1, "mean_seconds": None},
    "message": {"unsent": False, "sends": 2, "sent_seconds_ago": 7.0, "next_resend_seconds": 113.0},
    "lease": {"holder": None, "seconds_left": None},
    "fleet": {
        "idle": 0,
        "busy": 1,
        "last_refusal": "no capacity in eu-north-1",
        "cap": {"name": "usd_per_day", "used": 2.5, "limit": 2.0},
    },
    "attempts": [
        {"attempt": 1, "state": "failed", "worker": "host:7", "seconds": 3.0, "error_class": "oom", "error": "too big"}
    ],
}


def test_train_with_urgency_and_place(api, trainyard):
    """What is given is sent; what is not is the policy's; the next step is named."""
    api.on("POST", "/v1/models/buys/requests", (201, REQUEST))
    done = trainyard("train", "buys", "--priority", "5", "--instance-type", "g5.xlarge", "--no-spot")
    assert api.asked[-1].json == {"priority": 5, "instance_types": ["g5.xlarge"], "spot": False}
    assert "trainyard run explain r" in done.out
    trainyard("train", "buys")
    assert api.asked[-1].json == {}


def test_train_what_is_open_already(api, trainyard):
    """A request for the same rows keeps its wishes; those that differ are named, with the way to ask anew."""
    kept = {**REQUEST, "instance_types": ["g5.xlarge"], "spot": None}
    api.on("POST", "/v1/models/buys/requests", (200, kept))
    done = trainyard("train", "buys", "--priority", "60", "--instance-type", "g5.xlarge", "--spot")
    assert "its priority and spot stay as they were; to ask anew, first: trainyard run cancel r" in done.out
    assert "stay as they were" not in trainyard("train", "buys", "--priority", "5").out


@pytest.mark.parametrize(
    ("arguments", "path", "query"),
    [
        ((), "/v1/requests", ""),
        (("--state", "queued"), "/v1/requests", "state=queued"),
        (("buys",), "/v1/models/buys/requests", ""),
        (("buys", "--state", "failed"), "/v1/models/buys/requests", "state=failed"),
    ],
)
def test_requests(api, trainyard, arguments, path, query):
    """Requests are listed with their words, of all models or of one, in all states or in one."""
    failed = {**REQUEST, "state": "failed", "error_class": "oom", "outcome": "out of memory"}
    api.on("GET", path, page(failed))
    done = trainyard("requests", *arguments)
    assert done.code == Exit.OK
    assert "oom" in done.out
    assert "out of memory" in done.out
    assert query in api.asked[-1].url


def test_no_requests(api, trainyard):
    """An empty list says so, and of what."""
    api.on("GET", "/v1/requests", page())
    assert "no training requests yet" in trainyard("requests").out
    assert "no training requests are queued" in trainyard("requests", "--state", "queued").out


def test_explain(api, trainyard):
    """First the sentence and the next step, then the facts, then the attempts with their error classes."""
    api.on("GET", "/v1/requests/r/explain", EXPLANATION)
    out = trainyard("run", "explain", "r").out
    lines = out.splitlines()
    assert lines[0] == "the cloud had no capacity at 3 tries in a row"
    assert lines[1] == "next: allow more instance types"
    for fact in (
        "waiting_capacity",
        "ahead 2, waiting 3, running 1",
        "2 times, last 7 s ago; again in 1.9 min if nobody takes it",
        "idle 0, busy 1, last refusal no capacity in eu-north-1, cap $2.50 of $2.00 per day",
        "oom",
        "host:7",
        "40.2 s",
        "1 min",
    ):
        assert fact in out
    assert json.loads(trainyard("run", "explain", "r", "--json").out) == EXPLANATION


@pytest.mark.parametrize(
    ("message", "lease", "said"),
    [
        ({"unsent": True, "sends": 0}, {}, "not yet"),
        ({"unsent": True, "sends": 1, "sent_seconds_ago": 7.0}, {}, "1 time, last 7 s ago; once more now"),
        ({"sends": 1, "sent_seconds_ago": 7.0}, {"holder": "h:1"}, "h:1"),
        (
            {"sends": 1, "sent_seconds_ago": 7.0},
            {"holder": "h:1", "seconds_left": 12.0},
            "h:1, for 12 s without a word",
        ),
        ({"sends": 1, "sent_seconds_ago": 7.0}, {"holder": "h:1", "seconds_left": -3.0}, "h:1, which has vanished"),
    ],
)
def test_explain_says_who_knows_of_it(api, trainyard, message, lease, said):
    """Whether trainers were told, and which has it, in words that need no knowledge of queues and leases."""
    message = {"unsent": False, "sent_seconds_ago": None, "next_resend_seconds": None, **message}
    lease = {"holder": None, "seconds_left": None, **lease}
    api.on("GET", "/v1/requests/r/explain", {**EXPLANATION, "message": message, "lease": lease})
    assert said in trainyard("run", "explain", "r").out


def test_explain_without_advice(api, trainyard):
    """What only takes time has no next step, and what nobody has tried no attempts."""
    quiet = {**EXPLANATION, "to_do": None, "expected_wait_seconds": None, "attempts": []}
    api.on("GET", "/v1/requests/r/explain", quiet)
    out = trainyard("run", "explain", "r").out
    assert "next:" not in out
    assert "no attempts yet" in out


@pytest.mark.parametrize(
    ("spot", "cap", "words"),
    [
        (None, None, "as TRAINYARD_SPOT says"),
        (True, {"name": "hours_per_day", "used": 9.5, "limit": 8.0}, "cap 9.5 of 8 hours per day"),
        (False, {"name": "instances", "used": 2.0, "limit": 2.0}, "cap 2 of 2 instances"),
    ],
)
def test_explain_market_and_limits(api, trainyard, spot, cap, words):
    """Whether spot capacity may serve it is told in words, and a limit with what is used of it."""
    answer = {**EXPLANATION, "spot": spot, "fleet": {"idle": 0, "cap": cap}}
    api.on("GET", "/v1/requests/r/explain", answer)
    out = trainyard("run", "explain", "r").out
    assert words in out
    assert ("cap " in out) == (cap is not None)


def test_explain_what_has_ended(api, trainyard):
    """Of a request that has ended queue, message, lease and fleet say nothing."""
    ended = {**EXPLANATION, "state": "done", "sentence": "it is done", "to_do": None, "instance_types": []}
    api.on("GET", "/v1/requests/r/explain", ended)
    lines = trainyard("run", "explain", "r").out.splitlines()
    assert lines[0] == "it is done"
    assert [line.split("  ")[0].strip() for line in lines[1:9]] == [
        "request", "model", "state", "code", "blocked by", "priority", "instance types", "spot",
    ]  # fmt: skip
    assert "any" in lines[7]
    assert lines[9].startswith("attempt")


@pytest.mark.parametrize(
    ("state", "hint"),
    [
        ("done", "nothing is left to cancel, the request is done"),
        (
            "failed",
            "nothing is left to cancel, the request is failed; ask for a new one with: trainyard train buys",
        ),
    ],
)
def test_cancel_what_has_ended(api, trainyard, state, hint):
    """The next step names the state that it is in, and what to do instead."""
    api.on("GET", "/v1/runs/r", (404, error("unknown_run")))
    api.on("POST", "/v1/requests/r/cancel", (409, error("conflict")))
    api.on("GET", "/v1/requests/r", {**REQUEST, "state": state})
    done = trainyard("run", "cancel", "r")
    assert done.code == Exit.REFUSED
    assert f"next: {hint}" in done.err.splitlines()[-1]
    assert json.loads(trainyard("run", "cancel", "r", "--json").err)["error"]["hint"] == hint


def test_show_takes_a_run_or_a_request(api, trainyard):
    """A request's id shows its newest run; without one the next step is named; an unknown id stays a 404."""
    run = {"id": "u2", "request_id": "r", "model": "buys", "attempt": 2, "state": "running", "trials": []}
    api.on("GET", "/v1/runs/r", (404, error("unknown_run")))
    api.on("GET", "/v1/requests/r", {**REQUEST, "attempt": 2, "state": "running"})
    foreign = {**run, "id": "u3", "request_id": "other"}
    api.on("GET", "/v1/runs", page(foreign, run, {**run, "id": "u1", "attempt": 1}))
    api.on("GET", "/v1/runs/u2", run)
    assert json.loads(trainyard("run", "show", "u2", "--json").out) == run
    done = trainyard("run", "show", "r", "--json")
    assert (done.code, json.loads(done.out)) == (Exit.OK, run)
    api.on("GET", "/v1/requests/r", REQUEST)
    done = trainyard("run", "show", "r")
    assert done.code == Exit.NOT_FOUND
    assert "training request r is queued and has no run" in done.err
    assert "trainyard run explain r" in done.err
    api.on("GET", "/v1/requests/r", (404, error("unknown_request")))
    done = trainyard("run", "show", "r")
    assert done.code == Exit.NOT_FOUND
    assert "trainyard runs" in done.err


def test_cancel_fails_otherwise(api, trainyard):
    """Another error keeps its own next step."""
    api.on("GET", "/v1/runs/r", (404, error("unknown_run")))
    api.on("POST", "/v1/requests/r/cancel", (404, error("unknown_request")))
    assert "trainyard requests" in trainyard("run", "cancel", "r").err


def test_explain_what_is_not_there(api, trainyard):
    """The next step names the command that lists requests."""
    api.on("GET", "/v1/requests/r/explain", (404, error("unknown_request")))
    done = trainyard("run", "explain", "r")
    assert done.code == Exit.NOT_FOUND
    assert "trainyard requests" in done.err


def test_decisions(api, trainyard):
    """Each answer is shown once, with how often and when last it was given."""
    api.on("GET", "/v1/models/buys/decisions", page(
        {"at": "t1", "last_at": "t2", "times": 12, "fired": False, "trigger": None, "reason": "not fired: 3 of 9"},
    ))  # fmt: skip
    out = trainyard("decisions", "buys").out
    assert "12" in out
    assert "not fired: 3 of 9" in out


def test_every_policy_option(api, trainyard):
    """Each option is a key of the policy; lengths of time are sent in seconds."""
    model = {"name": "buys", "dataset": "d", "label": "y", "task": "auto", "champion": None, "created_at": "t"}
    api.on("PUT", "/v1/models/buys", (201, {**model, "policy": {"cron": "0 2 * * *"}}))
    options = {
        "--min-new-labels": "50", "--min-fraction-new": "0.1", "--max-age": "7d", "--min-interval": "90s",
        "--cron": "0 2 * * *", "--priority": "-3", "--leakage": "keep", "--include": "amount",
    }  # fmt: skip
    flags = [
        "--exclude",
        "zip",
        "--exclude",
        "score",
        "--on-drift",
        "--no-on-quality-drop",
        "--spot",
        "--instance-type",
        "a.b",
        "--instance-type",
        "c.d",
    ]
    given = [word for pair in options.items() for word in pair]
    assert trainyard("model", "create", "buys", "--dataset", "d", "--label", "y", *given, *flags).code == Exit.OK
    assert api.asked[-1].json["policy"] == {
        "min_new_labels": 50, "min_fraction_new": 0.1, "max_age": 604_800.0, "min_interval": 90.0,
        "cron": "0 2 * * *", "priority": -3, "on_drift": True, "on_quality_drop": False, "spot": True,
        "instance_types": ["a.b", "c.d"], "leakage": "keep",
        "columns": {"exclude": ["zip", "score"], "include": ["amount"]},
    }  # fmt: skip


@pytest.mark.parametrize("value", ["soon", "-5s", "1w", ""])
def test_lengths_of_time_that_are_none(trainyard, value):
    """They are refused before anything is asked."""
    done = trainyard("model", "create", "buys", "--dataset", "d", "--label", "y", "--max-age", value)
    assert done.code == Exit.USAGE


def test_train_with_kinds_and_a_budget_of_trials(api, trainyard):
    """They are settings of this request alone; an open one that has others says so, and nonsense is not sent."""
    settings = {"kinds": ["neural_network", "linear"], "budget_trials": 12}
    api.on("POST", "/v1/models/buys/requests", (201, {**REQUEST, "settings": settings}))
    options = ("--kind", "neural_network, linear", "--budget-trials", "12")
    done = trainyard("train", "buys", *options)
    assert api.asked[-1].json == {"settings": settings}
    assert "stay as they were" not in done.out
    api.on("POST", "/v1/models/buys/requests", (200, {**REQUEST, "settings": {**settings, "budget_trials": 3}}))
    assert "its budget trials stay as they were" in trainyard("train", "buys", *options).out
    for wrong in (("--kind", "linear,"), ("--budget-trials", "0")):
        assert trainyard("train", "buys", *wrong).code == Exit.USAGE


def test_train_with_more_workers(api, trainyard):
    """How many may share the search is a setting of the request, or of the model's policy."""
    api.on("POST", "/v1/models/buys/requests", (201, {**REQUEST, "settings": {"search_workers": 2}}))
    trainyard("train", "buys", "--workers", "2")
    assert api.asked[-1].json == {"settings": {"search_workers": 2}}
    api.on("PUT", "/v1/models/buys", {"name": "buys", "policy": {"search_workers": 3}})
    trainyard("model", "create", "buys", "--dataset", "d", "--label", "y", "--search-workers", "3")
    assert api.asked[-1].json["policy"] == {"search_workers": 3}


def test_show_names_the_workers_of_a_shared_search(api, trainyard):
    """Where one has made all trials, the run has said which; where several have, each trial does."""
    trials = [
        {"rank": n, "number": n, "kind": "linear", "params": {}, "metric": "loss", "score": 0.1, "worker": worker}
        for n, worker in ((1, "a:1"), (2, "b:2"))
    ]
    api.on("GET", "/v1/runs/u", {"id": "u", "state": "running", "progress": {}, "trials": trials})
    out = trainyard("run", "show", "u").out
    assert "b:2" in out
    api.on("GET", "/v1/runs/u", {"id": "u", "state": "running", "progress": {}, "trials": trials[1:]})
    assert "b:2" not in trainyard("run", "show", "u").out


def test_show_tells_progress_trials_and_columns_left_out(api, trainyard):
    """Trial, best score and time left in words; the leaderboard; each column with its reason."""
    trial = {"rank": 1, "number": 7, "kind": "linear", "params": {"strength": 3.0}, "metric": "roc_auc",
             "score": 0.8125, "metrics": {"loss": 0.4}, "seconds": 1.5, "chosen": True}  # fmt: skip
    progress = {"stage": "searching", "done": 7, "total": 9, "trial": 7, "best": 0.8125, "metric": "roc_auc",
                "seconds_left": 90.0}  # fmt: skip
    gone = {"column": "ticket", "kind": "identifier", "reason": "every row has its own"}
    run = {"id": "u", "model": "buys", "state": "running", "progress": progress, "trials": [trial], "left_out": [gone]}
    api.on("GET", "/v1/runs/u", run)
    out = trainyard("run", "show", "u").out
    assert "searching · trial 7 · best roc_auc 0.8125 · 1.5 min left" in out
    assert "left out: ticket (identifier): every row has its own" in out
    assert all(words in out for words in ("rank", "roc_auc", "0.8125", "strength"))
    assert json.loads(trainyard("run", "show", "u", "--json").out) == run
