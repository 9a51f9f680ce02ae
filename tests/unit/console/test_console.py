"""The console's page: everything it is told, nothing it is not, whatever the services answer."""

from __future__ import annotations

import html.parser
import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from trainyard.clock import ManualClock
from trainyard.config import load
from trainyard_console.bootstrap import build_app
from trainyard_console.domain import Fetched
from trainyard_console.use_cases import Overview

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask.testing import FlaskClient

CLOCK = ManualClock()


def ago(seconds: float) -> str:
    """Return a time that long before now, as the APIs write it."""
    return (CLOCK.now() - timedelta(seconds=seconds)).isoformat()


FULL: dict[str, Any] = {
    "/v1/datasets": {
        "items": [{"name": "flights", "rows": 164213, "columns": [{}] * 23, "last_seq": 9, "created_at": ago(4000)}]
    },
    "/v1/models": {
        "items": [
            {
                "name": "late",
                "dataset": "flights",
                "label": "late",
                "task": "binary",
                "champion": 3,
                "policy": {"min_new_rows": 20000, "budget_seconds": 60, "kinds": ["linear", "tree_ensemble"]},
            },
        ]
    },
    "/v1/models/late/versions": {
        "items": [
            {
                "version": 4,
                "passed": False,
                "gate": {"summary": "refused: not better than noise"},
                "aliases": ["challenger"],
                "metrics": {"roc_auc": 0.72314, "log_loss": 0.4213},
                "snapshot_rows": 164213,
                "created_at": ago(40),
            },
        ]
    },
    "/v1/models/late/decisions": {"items": [{"fired": False, "reason": "3,402 of 20,000 new rows", "at": ago(8)}]},
    "/v1/runs": {
        "items": [
            {
                "model": "late",
                "attempt": 1,
                "state": "running",
                "progress": {"stage": "fitting trees", "done": 1, "total": 4},
                "started_at": ago(22),
                "ended_at": None,
                "version": None,
                "error": None,
            },
            {
                "model": "late",
                "attempt": 2,
                "state": "failed",
                "progress": {},
                "started_at": ago(100),
                "ended_at": ago(29),
                "version": None,
                "error": "too few rows",
                "instance_type": "m6i.large",
                "cost_usd": 0.00215,
            },
        ]
    },
    "/v1/fleet": {
        "instances": [{"instance_id": "i-0a", "instance_type": "c7i.large", "state": "running"}],
        "open_requests": 1,
        "max": 2,
    },
    "/v1/queues": {"queues": [{"name": "trainyard-training", "visible": 5, "in_flight": 6, "delayed": 7, "dead": 8}]},
    "/readyz": {"ready": True, "needs": {}},
}


class Answers:
    """The services: answers by path, or one function for every path."""

    def __init__(self, answer: Callable[[str, str], Fetched]) -> None:
        self.answer = answer

    def get(self, service: str, path: str) -> Fetched:
        """Answer without a network."""
        return self.answer(service, path)


def client(answer: Callable[[str, str], Fetched]) -> FlaskClient:
    """Return a browser on the machine of a console whose services answer like that."""
    app = build_app(load({}), api=Answers(answer), clock=CLOCK)
    browser = app.test_client()
    browser.environ_base["REMOTE_ADDR"] = "127.0.0.1"
    return browser


def full(_: str, path: str) -> Fetched:
    """Answer as a stack in use does."""
    return Fetched(FULL[path.partition("?")[0]])


class Text(html.parser.HTMLParser):
    """The text that a reader sees, and every tag that was opened but not closed."""

    _VOID = frozenset({"meta", "link", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember the tag."""
        self.tags.append(tag)
        if tag not in self._VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Check that the innermost tag is closed."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Remember the text."""
        self.words.append(data)


def read(page: str) -> Text:
    """Parse a page, checking that its tags match; return what it shows."""
    text = Text()
    text.feed(page)
    assert text.open == []
    return text


def test_the_page_shows_the_whole_loop() -> None:
    """Datasets, models with policy, champion and decision, versions with the gate's words, runs, fleet and queues."""
    answer = client(full).get("/")
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    shown = re.sub(r"\s+", " ", " ".join(read(answer.text).words))
    for words in (
        "flights 164,213 23 9 1 h ago",
        "champion: version 3",
        "trains after 20,000 new rows, searches linear and tree_ensemble for 1 min",
        "waits: 3,402 of 20,000 new rows",
        "refused not better than noise",
        "roc_auc 0.7231 · log_loss 0.4213",
        "fitting trees 25 %",
        "1 min 11 s",
        "1 min 11 s m6i.large $0.0022",
        "too few rows",
        "i-0a c7i.large running",
        "trainyard-training 5 6 7 8",
        "Nobody signs in yet",
    ):
        assert words in shown, words


def test_an_empty_stack_says_what_to_do_next() -> None:
    """Nothing there yet is not an error: every section says so, with the command that changes it."""
    empty = {"items": [], "queues": [], "instances": [], "ready": True}
    shown = " ".join(read(client(lambda s, p: Fetched(empty)).get("/").text).words)
    for words in (
        "No dataset yet",
        "trainyard dataset create",
        "No model yet",
        "No training run yet",
        "No training machine",
    ):
        assert words in shown


def test_services_that_are_away_are_named() -> None:
    """The page still comes, and says who is away."""
    answer = client(lambda s, p: Fetched(missing="does not answer")).get("/")
    assert answer.status_code == 200
    assert answer.text.count("does not answer") == 8


def test_a_service_that_is_not_ready_says_what_it_waits_for() -> None:
    """What /readyz lacks is on the page."""
    answer = client(lambda s, p: Fetched({"ready": False, "needs": {"database": False, "api keys": True}})).get("/")
    assert "waits for database" in answer.text


def test_a_refused_version_is_on_the_page() -> None:
    """The predictor is ready, and says what it does not serve, why, and what it serves instead."""
    model = {"model": "late", "asked": "champion", "version": 7, "refused": "bad_sha256: not that"}
    sound = {**model, "model": "early", "refused": None}

    def page(*models: object) -> str:
        return client(lambda s, p: Fetched({"ready": True, "models": list(models)})).get("/").text

    assert "refuses late@champion, version 7 answers on: bad_sha256: not that" in page(sound, model)
    assert "refuses late@champion, nothing answers" in page({**model, "version": None})
    assert "refuses" not in page(sound)


NONSENSE: list[Any] = [
    None,
    [],
    {},
    7,
    "x",
    {"items": 3},
    {"items": [1, None, [], {}]},
    {"items": [{"name": {}}]},
    {"items": [{"name": "a", "progress": 1, "gate": [], "metrics": {"x": "y"}, "policy": {"kinds": 1}}]},
    {"items": [{"name": "a", "aliases": "abc", "columns": 3, "started_at": "never", "created_at": 5, "rows": True}]},
    {"items": [{"cost_usd": cost} for cost in ("1", True, -1, float("nan"), 10**400, {})]},
    {"items": [{"state": "running", "progress": {"done": 1, "total": 0}, "started_at": "2026-01-01T00:00:00"}]},
    {"queues": [{"dead": "many"}], "instances": [{"instance_id": 1e300}]},
]


@pytest.mark.parametrize("nonsense", NONSENSE)
def test_nonsense_is_a_dash_and_not_an_error(nonsense: Any) -> None:
    """Whatever JSON a service answers, the page is whole."""
    answer = client(lambda s, p: Fetched(nonsense)).get("/")
    assert answer.status_code == 200
    read(answer.text)


def test_text_from_outside_cannot_become_markup() -> None:
    """Names and messages are escaped wherever they stand, and the browser would not run a script anyway."""
    evil = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>"

    def poison(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: poison(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [poison(inner) for inner in value]
        return evil if isinstance(value, str) and not value[:4].isdigit() else value

    def poisoned(_: str, path: str) -> Fetched:
        return Fetched(poison(FULL.get(path.partition("?")[0], FULL["/v1/models/late/versions"])))

    answer = client(poisoned).get("/")
    tags = read(answer.text).tags
    assert "script" not in tags
    assert "img" not in tags
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'self';")
    assert "frame-ancestors 'none'" in policy


def test_every_resource_is_our_own() -> None:
    """The page asks for its style sheet on the same address and for nothing else."""
    browser = client(full)
    page = browser.get("/").text
    assert re.findall(r'(?:src|href)="([^"]+)"', page) == ["/console.css", "/?pause=1"]
    style = browser.get("/console.css")
    assert (style.status_code, style.mimetype) == (200, "text/css")
    assert "url(" not in style.text
    assert "@import" not in style.text


def test_updates_can_be_paused() -> None:
    """Somebody who reads slowly, or with a screen reader, can stop the page from renewing itself."""
    browser = client(full)
    assert 'http-equiv="refresh"' in browser.get("/").text
    assert 'http-equiv="refresh"' not in browser.get("/?pause=1").text


def test_only_this_machine_sees_the_page() -> None:
    """Another address or another Host is refused; health needs neither key nor services."""
    browser = client(full)
    assert browser.get("/", headers={"Host": "evil.example"}).status_code == 400
    browser.environ_base["REMOTE_ADDR"] = "192.0.2.7"
    refused = browser.get("/")
    assert (refused.status_code, refused.get_json()["error"]["code"]) == (403, "wrong_scope")
    assert browser.get("/healthz").status_code == 200
    assert browser.get("/readyz").status_code == 200
    assert browser.get("/openapi.json").get_json()["openapi"] == "3.1.0"
    assert browser.post("/").status_code == 405
    assert browser.get("/nothing").status_code == 404


def test_a_service_that_hangs_does_not_hang_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the deadline the page comes with what has answered."""
    release = threading.Event()

    def slow(service: str, path: str) -> Fetched:
        if service == "ingest":
            release.wait(20)
        return full(service, path)

    monkeypatch.setattr("trainyard_console.use_cases.DEADLINE_SECONDS", 0.2)
    with ThreadPoolExecutor(16) as pool:
        page = Overview(Answers(slow), CLOCK, pool)()
        release.set()
    assert page.datasets.missing == "takes too long"
    assert [model.name for model in page.models.entries] == ["late"]
    assert json.dumps([status.state for status in page.services]) == '["away", "up", "up"]'


@pytest.mark.parametrize("state", ["running", "done", "failed", "lost", "blocked_by_data"])
def test_states_have_a_style_of_their_own(state: str) -> None:
    """A run's state is shown in its own colours, which the style sheet has; so is one that the page does not know."""
    runs = {"items": [{"model": "late", "state": state}, {"model": "late", "state": "made up"}]}
    served = client(lambda _, path: Fetched(runs if path.startswith("/v1/runs") else {}))
    page = served.get("/").text
    assert f'class="pill state-{state}"' in page
    assert 'class="pill state-other"' in page
    for known in (state, "other"):
        assert f".state-{known}" in served.get("/console.css").text
