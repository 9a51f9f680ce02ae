"""`trainyard source …` against a fake service: what it asks, prints and ends with."""

import pytest
from fake_api import error, page

from trainyard_client.cli.exits import Exit

PATH = "/v1/datasets/shop/sources/orders"
SOURCE = {
    "name": "orders",
    "dataset": "shop",
    "kind": "url",
    "url": "https://example.com/a.csv",
    "schedule": {"every": 900.0},
    "state": "idle",
    "cursor": None,
    "asked": 1,
    "answered": 0,
    "pulling_rows": None,
    "last_pull": None,
    "next_pull": None,
    "created_at": "2026-01-01T00:00:00+00:00",
}
DONE = {"at": "2026-01-01T00:00:00+00:00", "rows": 5, "batch_id": "b1", "error": None}


def test_add_a_file(api, trainyard):
    """A URL with its schedule becomes the body of a PUT."""
    api.on("PUT", PATH, (201, SOURCE))
    done = trainyard("source", "add", "shop", "orders", "--from", "https://example.com/a.csv", "--every", "15m")
    assert done.code == Exit.OK
    assert api.asked[0].json == {"kind": "url", "url": "https://example.com/a.csv", "schedule": {"every": "15m"}}
    assert "trainyard source pull shop orders --wait" in done.out


def test_add_a_table(api, trainyard):
    """A table with everything that can be said of it."""
    api.on("PUT", PATH, (201, SOURCE))
    words = "--sql postgresql://u@h/d --table t --cursor at --tie-breaker id --column a=b --column c=d --secret s"
    words += " --zone UTC --page-rows 5 --lag 1m --tls off --schema x --cron"
    assert trainyard("source", "add", "shop", "orders", *words.split(), "0 2 * * *").code == Exit.OK
    assert api.asked[0].json == {
        "kind": "sql",
        "database": "postgresql://u@h/d",
        "table": "t",
        "cursor": "at",
        "tie_breakers": ["id"],
        "columns": {"a": "b", "c": "d"},
        "secret": "s",
        "zone": "UTC",
        "page_rows": 5,
        "lag": "1m",
        "tls": "off",
        "schema": "x",
        "schedule": {"cron": "0 2 * * *"},
    }


@pytest.mark.parametrize(
    "words",
    [
        "",
        "--from https://a/ --sql sqlite:///a.db",
        "--sql sqlite:///a.db --table t",
        "--from https://a/ --every 1m --cron x",
        "--sql sqlite:///a.db --table t --cursor c --column a",
    ],
)
def test_wrong_use(api, trainyard, words):
    """Half a description is told before anything is sent."""
    assert trainyard("source", "add", "shop", "orders", *words.split()).code == Exit.USAGE
    assert api.asked == []


def test_list_and_show(api, trainyard):
    """Each source with how its last pull ended."""
    failed = {**SOURCE, "state": "failed", "last_pull": {**DONE, "error": "the server answers 404"}}
    api.on("GET", "/v1/datasets/shop/sources", page(failed)).on("GET", PATH, failed)
    assert "the server answers 404" in trainyard("source", "list", "shop").out
    shown = trainyard("source", "show", "shop", "orders").out
    assert "every 900 s" in shown
    assert "https://example.com/a.csv" in shown


def test_delete(api, trainyard):
    """Removed by name; one that is not there is not found."""
    api.on("DELETE", PATH, (204, None), (404, error("unknown_source")))
    assert trainyard("source", "delete", "shop", "orders").code == Exit.OK
    assert trainyard("source", "delete", "shop", "orders").code == Exit.NOT_FOUND


def test_pull_without_waiting(api, trainyard):
    """The pull is asked for, once, with a key of its own."""
    api.on("POST", f"{PATH}/pull", (202, SOURCE))
    assert "trainyard source show shop orders" in trainyard("source", "pull", "shop", "orders").out
    assert "Idempotency-Key" in api.asked[0].headers


@pytest.mark.parametrize(("problem", "code"), [(None, Exit.OK), ("the server answers 404", Exit.FAILED)])
def test_pull_and_wait(api, trainyard, problem, code):
    """With --wait the command ends when the pull does, and says what came of it."""
    ended = {**SOURCE, "answered": 1, "last_pull": {**DONE, "error": problem}}
    api.on("POST", f"{PATH}/pull", (202, SOURCE)).on("GET", PATH, SOURCE, {**SOURCE, "pulling_rows": 3}, ended)
    done = trainyard("source", "pull", "shop", "orders", "--wait")
    assert done.code == code
    assert "5 rows came from orders" in done.out
    assert (problem or "") in done.out


def test_pull_that_takes_too_long(api, trainyard):
    """The wait has an end, with its own exit code."""
    api.on("POST", f"{PATH}/pull", (202, SOURCE)).on("GET", PATH, SOURCE)
    late = trainyard("source", "pull", "shop", "orders", "--wait", "--timeout", "1s")
    assert late.code == Exit.TIMEOUT
    assert "trainyard source show shop orders" in late.err
