"""Every page: what it shows of full, empty, missing, broken and hostile answers."""

from __future__ import annotations

import copy
import gzip
import html.parser
import re
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from trainyard_console import use_cases
from trainyard_console.domain import Fetched
from trainyard_console.frame import STATIC

from .conftest import PAGES, RECORDED

if TYPE_CHECKING:
    from trainyard.clock import ManualClock

    from .conftest import Browser, Services

EMPTY = {"items": [], "next_cursor": None, "queues": [], "instances": [], "ready": True, "checks": []}


class Page(html.parser.HTMLParser):
    """The text that a reader sees, its tags and links, and every tag that was opened but not closed."""

    _VOID = frozenset({"meta", "link", "br", "input", "path", "rect", "line", "polyline", "circle"})

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.ids: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember the tag."""
        self.tags.append(tag)
        given = dict(attrs)
        if "id" in given:
            self.ids.append(str(given["id"]))
        if tag in {"script", "link", "img"}:
            self.loads.append(str(given.get("src") or given.get("href")))
        if tag not in self._VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember the tag, which closes itself."""
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Check that the innermost tag is closed."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Remember the text."""
        self.words.append(data)

    @property
    def said(self) -> str:
        """The text in one line."""
        return re.sub(r"\s+", " ", " ".join(self.words))


def read(text: str) -> Page:
    """Parse a page, checking that its tags match."""
    page = Page()
    page.feed(text)
    assert page.open == []
    return page


SHOWN = {
    "/": ["49,000 rows", "scaled to zero", "late 9: refused by the gate", "version 7", "ingest is up", "drift alarm",
          "1,280 in 24 hours", "95 % within 2.95 ms"],
    "/datasets": ["flights 49,000 25"],
    "/datasets/flights": ["upload by HTTP", "landing landing/flights/august-2013.csv", "carrier category feature",
                          "Most frequent levels of carrier: UA 8,600, EV 7,900", "Histogram of distance: 20 bins from",
                          "rejected of the newest batch: 0 % · missing of the newest batch: 4 %", "tail_age 36 %",
                          "orders every 15 min table postgresql://reader@db.example.com/shop, orders failed",
                          "the table orders has no column id", "prices when asked file https://example.com/prices.csv"],
    "/datasets/flights/batches/BATCH": ["17 distance a whole number far", "committed"],
    "/models": ["late from flights", "version 7", "trains on drift"],
    "/models/late": ["champion 7 answers", "no drift alarm", "refused log-loss higher by 0.0012298"],
    "/models/late/decisions": ["trained", "drift alarm in v7-after-42013"],
    "/models/late/history": ["champion 7 5 trainer"],
    "/models/late/policy": ["After new rows", '"on_drift": true'],
    "/models/late/versions/7": ["Gate: passed", "beats champion", "ROC", "Slices", "Training cost", "0.6893 – 0.7336"],
    "/models/late/versions/9/promote": [
        "Version 9 becomes the champion of late", "So far version 7 answers", "Mind that the gate has it refused",
    ],
    "/models/late/compare?a=7&b=9": ["version 7", "better", "tested on different rows"],
    "/runs": ["late, ", "done", "version 9"],
    "/runs/RUN": ["it is done: version 9 came of it", "1 linear 0.4906", "length 1, penalty l2", "trainer-1",
                  "08:00:19 warning lease.not_renewed", "all lines"],
    "/runs/RUN/logs": ["08:00:18 run.started attempt=1", "08:00:20 training ConvergenceWarning", "Next page"],
    "/try/late": ["carrier category", "curl -s http://localhost/v1/predict/late", "import Client"],
    "/quality/late": ["stability index", "roc auc", "From the line on, a feature drifts",
                      "1,280 predictions; half within 1.21 ms, 95 % within 2.95 ms, 99 % within 8.1 ms",
                      "Predictions by the hour", "Latency by the hour"],
    "/quality/late/predictions": ["1 false 88.1 % not known yet", "dest CLT, rain 0, origin EWR", "and 16 more",
                                   "Next page"],
    "/quality/late/predictions/PRED": ["It said false", "True label true wrong", "carrier US",
                                       "recent_delay_carrier missing", "9 -0.0213 the same"],
    "/operations/deployments": ["late champion 7 5 trainer"],
    "/datasets/flights/delete": ["Delete the dataset flights?", "49,000 rows with it", "audit log"],
    "/datasets/flights/sources/new": ["New source of flights", "Column that only grows", "audit log", "Add the source"],
    "/datasets/flights/sources/new?kind=url": ["A file behind a URL", "such as https://example.com/prices.csv"],
    "/datasets/flights/sources/orders/delete": ["The rows that came from it stay in flights"],
    "/models/late/delete": ["version 7 among them", "nobody gets an answer from it any more"],
    "/operations": ["training 0 0 0", "instance hours"],
    "/operations/keys": ["demo-curl", "Revoke"],
    "/operations/audit": ["key.create", "key/"],
    "/operations/doctor": ["The doctor is looking"],
    "/operations/queues/training": ["Looking into the queue"],
    "/operations/doctor?look=1": ["healthy", "I1", "Every training request has ended or moves"],
}  # fmt: skip


@pytest.mark.parametrize(("path", "scope"), PAGES)
def test_pages_show_what_a_real_stack_answered(admin: Browser, clock: ManualClock, path: str, scope: str) -> None:
    """The answers of a demo's stack, on every page; numbers with their units, states in words."""
    answer = admin.get(path)
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    page = read(answer.text)
    for words in SHOWN.get(path, []):
        assert words in page.said, words
    assert len(page.ids) == len(set(page.ids))


@pytest.mark.parametrize(("path", "scope"), PAGES)
def test_pages_of_an_empty_stack(admin: Browser, services: Services, path: str, scope: str) -> None:
    """Lists with nothing in them say so; pages about something that is not there are 404, with the way home."""
    services.answers = dict.fromkeys(
        ["/v1/datasets", "/v1/models", "/v1/runs", "/v1/requests", "/v1/fleet", "/v1/queues", "/v1/costs", "/v1/audit",
         "/v1/keys", "/v1/doctor", "/readyz", "/v1/queues/training/dead"], EMPTY)  # fmt: skip
    answer = admin.get(path)
    about = re.search(r"flights|late|RUN", path)
    assert answer.status_code == (404 if about else 200)
    read(answer.text)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/", "Make a dataset"), ("/datasets", "No dataset yet"), ("/models", "No model yet"),
        ("/runs", "No training run yet"), ("/try", "No model yet"), ("/quality", "No model yet"),
        ("/models/new", "Make a dataset"), ("/operations/fleet", "No instance"),
    ],
)  # fmt: skip
def test_an_empty_page_says_what_comes_next(admin: Browser, services: Services, path: str, words: str) -> None:
    """Nothing there yet is not an error: the page says how something comes there."""
    services.answers = dict.fromkeys(
        [
            "/v1/datasets",
            "/v1/models",
            "/v1/overview",
            "/v1/runs",
            "/v1/requests",
            "/v1/fleet",
            "/v1/queues",
            "/readyz",
        ],
        EMPTY,
    )
    assert words in read(admin.get(path).text).said


@pytest.mark.parametrize(("path", "scope"), PAGES)
def test_services_that_are_away_are_named(admin: Browser, services: Services, path: str, scope: str) -> None:
    """A page still comes: it says who does not answer, and is 503 only when it is about that one thing."""
    services.answers = {known: Fetched(missing="does not answer", status=503) for known in RECORDED} | {
        "/v1/queues/training/dead": Fetched(missing="does not answer", status=503)
    }
    answer = admin.get(path)
    assert answer.status_code in {200, 503}
    if path not in {"/datasets/new", "/operations/doctor", "/operations/queues/training"}:  # these ask nothing
        assert "does not answer" in read(answer.text).said


def broken(value: Any) -> Any:
    """Return an answer of the same form with values of other kinds in it."""
    if isinstance(value, dict):
        return {key: broken(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [broken(inner) for inner in value] + [None, 7, "x", {}]
    return {"a": []} if isinstance(value, str) else "text" if isinstance(value, int | float) else 3


@pytest.mark.parametrize("make", [broken, lambda _: None, lambda _: [], lambda _: 7, lambda _: {"items": 3}])
@pytest.mark.parametrize(("path", "scope"), PAGES)
def test_nonsense_is_a_dash_and_not_an_error(
    admin: Browser, services: Services, path: str, scope: str, make: Any
) -> None:
    """Whatever JSON a service answers, the page is whole; what a page is about and cannot be read is 503."""
    services.answers = {known: make(value) for known, value in RECORDED.items()}
    answer = admin.get(path)
    assert answer.status_code in {200, 303, 404, 503}
    read(answer.text)
    assert "a fault of ours" not in answer.text


@pytest.mark.parametrize(("path", "scope"), PAGES)
def test_text_from_outside_cannot_become_markup(admin: Browser, services: Services, path: str, scope: str) -> None:
    """Names and messages are escaped wherever they stand."""
    evil = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>"

    def poisoned(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: inner if key == "name" and "/" in str(inner) else poisoned(inner) for key, inner in value.items()
            }
        if isinstance(value, list):
            return [poisoned(inner) for inner in value]
        return evil if isinstance(value, str) and not value[:4].isdigit() else value

    services.answers = {known: poisoned(copy.deepcopy(value)) for known, value in RECORDED.items()}
    text = admin.get(path).text
    page = read(text)
    assert "img" not in page.tags
    assert page.tags.count("script") == 4
    assert "<script>alert" not in text


def test_every_file_is_our_own_and_all_are_small(admin: Browser) -> None:
    """Pages load files of this address only, each found and cached by its content; gzipped, under 150 kB together."""
    loaded = {address for path, _ in PAGES for address in read(admin.get(path).text).loads}
    assert loaded
    total = 0
    for address in loaded:
        assert address.startswith("/static/")
        file = admin.get(address)
        assert (file.status_code, "immutable" in file.headers["Cache-Control"]) == (200, True)
        total += len(gzip.compress(file.data, 9))
    assert total < 150_000
    assert admin.get("/static/../frame.py").status_code == 404
    style = (STATIC / "console.css").read_text(encoding="utf-8")
    assert "url(" not in style
    assert "@import" not in style


def test_pages_renew_themselves_until_paused(admin: Browser) -> None:
    """A live page follows the events; paused, for whoever reads slowly, it stands still."""
    assert 'sse-connect="/live"' in admin.get("/").text
    paused = admin.get("/?pause=1").text
    assert "sse-connect" not in paused
    assert "hx-trigger" not in paused
    assert 'href="/quality/late?hours=168&amp;pause=1"' in admin.get("/quality/late?hours=168").text
    assert 'href="/quality/late?hours=168"' in admin.get("/quality/late?hours=168&pause=1").text


def test_lists_go_on_page_by_page(admin: Browser, services: Services) -> None:
    """The next page is a link with the cursor, the filter stays, and the service is asked for exactly that page."""
    asked: list[str] = []
    original = services.get

    def noting(service: str, path: str, key: str | None) -> Fetched:
        asked.append(path)
        return original(service, path, key)

    services.get = noting  # type: ignore[method-assign]
    services.answers["/v1/runs"] = {**RECORDED["/v1/runs"], "next_cursor": "a/b c"}
    text = admin.get("/runs?model=late").text
    (following,) = re.findall(r'rel="next" href="([^"]+)"', text)
    later = admin.get(following.replace("&amp;", "&")).text
    assert '<a href="/runs?model=late">First page</a>' in later
    assert asked[-2:][0] == "/v1/runs?limit=25&model=late&cursor=a%2Fb+c"


def test_a_prediction_that_the_log_does_not_have_yet_is_waited_for(admin: Browser, services: Services) -> None:
    """The page asks for itself again each second until the log has it; one of another model is not shown."""
    missing = admin.get("/quality/late/predictions/pr_1")
    assert missing.status_code == 200
    assert "The log does not have pr_1" in read(missing.text).said
    assert "every 1s" in missing.text
    services.answers["/v1/predictions/pr_1"] = {**RECORDED["/v1/predictions/PRED"], "model": "other"}
    assert admin.get("/quality/late/predictions/pr_1").status_code == 404


def test_a_regression_in_the_log_says_by_how_much_it_was_off(admin: Browser, services: Services) -> None:
    """Numbers are neither right nor wrong."""
    logged = {**RECORDED["/v1/predictions/PRED"], "output": {"prediction": 12.5}, "label": 10}
    services.answers["/v1/predictions/PRED"] = logged
    assert "True label 10 off by 2.5" in read(admin.get("/quality/late/predictions/PRED").text).said


def test_a_window_by_another_metric_hides_no_curve(admin: Browser, services: Services) -> None:
    """The newest window has few labels yet and is judged by what these allow; what most were judged by is drawn."""
    told = copy.deepcopy(RECORDED["/v1/models/late/quality"])
    window = next(one for one in told["live"] if one.get("metric") == "roc_auc" and "value" in one)
    told["live"] = [{**window, "metric": "log_loss", "labels": 2, "value": 0.4526}, window, {**window, "value": 0.75}]
    services.answers["/v1/models/late/quality"] = told
    assert f"roc auc by window, from 0.75 to {window['value']:.4g}" in read(admin.get("/quality/late").text).said


def test_every_queue_leads_to_its_dead_letters(admin: Browser, services: Services) -> None:
    """Whichever queues the scheduler names: the page behind each is there."""
    names = ("training", "arrived", "objects", "predictions", "batch")
    services.answers["/v1/queues"] = {"queues": [{"name": name, "dead": 0} for name in names]}
    ways = re.findall(r'href="(/operations/queues/[a-z]+)"', admin.get("/operations").text)
    assert [admin.get(way).status_code for way in ways] == [200] * len(names)


def test_what_needs_attention_is_named_first(admin: Browser, services: Services) -> None:
    """Dead letters, a refused version, a failed run, a waiting version and a service that waits are alerts."""
    services.answers["/v1/queues"] = {"queues": [{"name": "training", "dead": 2, "oldest_seconds": 900.0}]}
    services.answers["/readyz"] = {
        "ready": False, "needs": {"database": False},
        "models": [{"model": "late", "asked": "champion", "version": 7, "refused": "bad_sha256: not that"}],
    }  # fmt: skip
    services.answers["/v1/runs"] = {"items": [{"id": "r", "model": "late", "state": "failed", "error": "too few rows"}]}
    waits = {**RECORDED["/v1/models/late/versions"]["items"][0], "state": "pending_approval"}
    services.answers["/v1/overview"] = {"items": [{**RECORDED["/v1/overview"]["items"][0], "version": waits}]}
    services.answers["/v1/fleet"] = {**RECORDED["/v1/fleet"], "state": "cap_reached"}
    said = read(admin.get("/").text).said
    for words in (
        "2 dead letters in the queue training", "a training request has waited for 15 min", "waits for database",
        "refuses late@champion, version 7 answers on: bad_sha256: not that",
        "the newest run of late failed: too few rows",
        "version 9 of late waits for a decision", "a limit of the fleet is reached",
    ):  # fmt: skip
        assert words in said, words


def test_a_running_run_is_shown_as_it_goes(admin: Browser, services: Services, clock: ManualClock) -> None:
    """Its stage with the share, how long, the trials so far, and the button that stops it."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    run = {
        **RECORDED["/v1/runs/RUN"], "state": "running", "version": None, "ended_at": None,
        "started_at": now.isoformat(), "progress": {"stage": "searching", "done": 1, "total": 4},
    }  # fmt: skip
    services.answers["/v1/runs/RUN"] = run
    services.answers["/v1/requests/REQ/explain"] = {"state": "running", "code": "held_by_worker", "sentence": "it runs"}
    clock.advance(22)
    page = read(admin.get("/runs/RUN").text)
    for words in ("running", "25 %", "for 22 s", "it runs", "Cancel"):
        assert words in page.said, words


@pytest.mark.parametrize(
    ("path", "waits_for", "then"),
    [
        ("/", ("/v1/queues", "/v1/fleet", "/readyz"), "scaled to zero"),
        ("/operations", ("/v1/queues", "/v1/fleet"), "Dead letters"),
        ("/operations/fleet", ("/v1/fleet",), "at most"),
    ],
)
def test_the_first_sight_of_a_page_waits_for_no_cloud(
    admin: Browser,
    services: Services,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    waits_for: tuple[str, ...],
    then: str,
) -> None:
    """What stands in the database is there at once; the rest says that it comes, and comes with the next look."""
    release = threading.Event()
    original = services.get

    def slow(service: str, asked: str, key: str | None) -> Fetched:
        if asked.startswith(waits_for):
            assert release.wait(60)
        return original(service, asked, key)

    services.get = slow  # type: ignore[method-assign]
    monkeypatch.setattr(use_cases, "GRACE_SECONDS", 0.0)
    monkeypatch.setattr(use_cases, "DEADLINE_SECONDS", 60.0)
    first = admin.get(path).text  # nothing is released before it is there
    release.set()
    page = read(first)
    assert not page.open
    assert "being asked" in page.said
    assert 'role="alert"' not in first
    assert 'hx-trigger="load, sse:change' in first
    assert f'hx-get="{path}?look=1"' in first
    whole = admin.get(f"{path}?look=1")
    assert "being asked" not in read(whole.text).said
    assert then in read(whole.text).said
    assert 'hx-trigger="sse:change' in whole.text


def test_a_service_that_hangs_does_not_hang_the_page(
    admin: Browser, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the deadline the page comes with what has answered."""
    release = threading.Event()
    original = services.get

    def slow(service: str, path: str, key: str | None) -> Fetched:
        if service == "ingest":
            release.wait(20)
        return original(service, path, key)

    services.get = slow  # type: ignore[method-assign]
    monkeypatch.setattr(use_cases, "DEADLINE_SECONDS", 0.2)
    said = read(admin.get("/").text).said
    release.set()
    assert "takes too long" in said
    assert "version 7" in said
