"""Pull sources over HTTP: described, listed, asked for, removed, each by the scope that it takes."""

import pytest
from pull_scene import COLUMNS
from service import Service

from trainyard.adapters.postgres.engine import make_engine

ONE = "/v1/datasets/shop/sources/s"
URL = {"kind": "url", "url": "https://files.internal/late.csv"}
TABLE = {"kind": "sql", "database": "postgresql://reader@db.internal/shop", "table": "orders", "cursor": "id"}


@pytest.fixture(scope="module")
def service(postgres, migrated_template):
    """The service with a dataset ``shop``."""
    name = postgres.create_database(template=migrated_template)
    service = Service(make_engine(postgres.url(name), service="test"))
    assert service.call("PUT", "/v1/datasets/shop", {"columns": COLUMNS}).status_code == 201
    yield service
    service.close()
    postgres.drop_database(name)


def test_the_life_of_a_source(service):
    """Made, changed, looked at, listed, pulled, removed."""
    made = service.call("PUT", ONE, {**URL, "schedule": {"cron": "0 2 * * *"}}, scope="operate")
    assert made.status_code == 201, made.json
    assert (made.status_code, made.json["state"], made.json["kind"]) == (201, "idle", "url")
    assert made.json["next_pull"].endswith("T02:00:00+00:00")
    changed = service.call("PUT", ONE, {**URL, "schedule": {"every": "15m"}}, scope="operate")
    assert (changed.status_code, changed.json["schedule"]) == (200, {"every": 900.0})
    assert service.call("GET", ONE, scope="read").json == changed.json
    listed = service.call("GET", "/v1/datasets/shop/sources?limit=1", scope="read")
    assert (listed.json["items"], listed.json["next_cursor"]) == ([changed.json], None)
    asked = service.call("POST", f"{ONE}/pull", {}, scope="operate")
    assert (asked.status_code, asked.json["state"], asked.json["asked"]) == (202, "asked", 1)
    assert service.call("DELETE", ONE, scope="operate").status_code == 204
    assert service.call("GET", ONE, scope="read").json["error"]["code"] == "unknown_source"


def test_pages(service):
    """A list goes on behind its cursor."""
    for name in ("a", "b", "c"):
        service.call("PUT", f"/v1/datasets/shop/sources/{name}", URL)
    first = service.call("GET", "/v1/datasets/shop/sources?limit=2").json
    second = service.call("GET", f"/v1/datasets/shop/sources?limit=2&cursor={first['next_cursor']}").json
    assert [one["name"] for one in (*first["items"], *second["items"])] == ["a", "b", "c"]
    assert service.call("GET", "/v1/datasets/shop/sources?cursor=A!").json["error"]["code"] == "bad_request"
    for name in ("a", "b", "c"):
        service.call("DELETE", f"/v1/datasets/shop/sources/{name}")


def test_asked_twice_with_one_key(service):
    """The same Idempotency-Key asks once and is answered alike; with another body it is refused."""
    service.call("PUT", ONE, URL)
    first = service.call("POST", f"{ONE}/pull", {}, Idempotency_Key="k")
    again = service.call("POST", f"{ONE}/pull", {}, Idempotency_Key="k")
    assert (again.status_code, again.data) == (first.status_code, first.data)
    assert service.call("POST", f"{ONE}/pull", {"x": 1}, Idempotency_Key="k").json["error"]["code"] == "key_reused"
    service.call("DELETE", ONE)


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("PUT", ONE, "read"),
        ("PUT", ONE, "ingest"),
        ("DELETE", ONE, "read"),
        ("POST", f"{ONE}/pull", "read"),
        ("POST", f"{ONE}/pull", "ingest"),
        ("GET", ONE, "ingest"),
    ],
)
def test_scopes(service, method, path, scope):
    """Sources are changed and pulled by operators, and looked at by readers."""
    assert service.call(method, path, URL if method == "PUT" else None, scope=scope).status_code == 403


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v1/datasets/none/sources/s", "unknown_dataset"),
        ("/v1/datasets/shop/sources/none", "unknown_source"),
        ("/v1/datasets/shop/sources/No", "unknown_source"),
    ],
)
def test_unknown_names(service, path, code):
    """What is not there, or could not be, is 404."""
    for method, rest in (("GET", ""), ("DELETE", ""), ("POST", "/pull")):
        answer = service.call(method, path + rest)
        assert (answer.status_code, answer.json["error"]["code"]) == (404, code)


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ({"kind": "ftp"}, "kind"),
        ({"kind": None}, "kind"),
        ({"kind": ["sql"]}, "kind"),
        ({"table": None}, "table"),
        ({"table": 5}, "table"),
        ({"table": "x" * 129}, "table"),
        ({"cursor": None}, "cursor"),
        ({"query": "SELECT 1"}, "query"),
        ({"database": "postgresql://reader:pass@db.internal/shop"}, "database"),
        ({"database": "postgresql://reader@db.internal/shop?sslmode=disable"}, "database"),
        ({"database": "postgresql://db.internal/shop"}, "database"),
        ({"database": "postgresql://reader@/shop"}, "database"),
        ({"database": "postgresql://reader@%2Fvar%2Frun/shop"}, "database"),
        ({"database": "oracle://reader@db.internal/shop"}, "database"),
        ({"database": "sqlite:////etc/passwd"}, "database"),
        ({"database": 5}, "database"),
        ({"secret": "../x"}, "secret"),
        ({"columns": {"a": "b", "c": "b"}}, "columns"),
        ({"columns": []}, "columns"),
        ({"tie_breakers": "id"}, "tie_breakers"),
        ({"zone": "Mars/Olympus"}, "zone"),
        ({"zone": "../../etc/passwd"}, "zone"),
        ({"page_rows": 0}, "page_rows"),
        ({"page_rows": 100_001}, "page_rows"),
        ({"page_rows": True}, "page_rows"),
        ({"lag": "2h"}, "lag"),
        ({"tls": "maybe"}, "tls"),
        ({"schedule": {"every": "9s"}}, "schedule.every"),
        ({"schedule": {"every": "15m", "cron": "* * * * *"}}, "schedule"),
        ({"schedule": {"cron": "0 0 31 2 *"}}, "schedule.cron"),
        ({"schedule": {"cron": "every day"}}, "schedule.cron"),
        ({"schedule": "15m"}, "schedule"),
    ],
)
def test_bad_descriptions(service, change, column):
    """Every problem is told by the key it is in, and no password is repeated."""
    answer = service.call("PUT", ONE, {**TABLE, **change})
    assert (answer.status_code, answer.json["error"]["code"]) == (422, "source_refused")
    assert column in [problem["column"] for problem in answer.json["error"]["details"]]
    assert "pass@" not in answer.text


@pytest.mark.parametrize(
    "change",
    [
        {"page_rows": 1},
        {"page_rows": 100_000},
        {"lag": 3600},
        {"lag": 0},
        {"schedule": {"every": 10}},
        {"table": "x" * 128},
        {"database": "mariadb://reader@db.internal:3307/shop", "tls": "off", "zone": "Europe/Berlin"},
        {"database": "sqlite:///a/b.db"},
    ],
)
def test_descriptions_at_their_limits(service, change):
    """What lies within the limits is taken."""
    assert service.call("PUT", ONE, {**TABLE, **change}).status_code in {200, 201}


@pytest.mark.parametrize("url", [5, "", "http://files.internal/a", "https://10.0.0.1/a", "https://u@files.internal/"])
def test_refused_urls(service, url):
    """A URL that may not be fetched is 400 with one text, whatever the reason, before there is a source."""
    answer = service.call("PUT", ONE, {"kind": "url", "url": url})
    assert (answer.status_code, answer.json["error"]["code"]) == (400, "url_refused")
    assert answer.json["error"]["message"].startswith("this URL is not one that data may be pulled from")


@pytest.mark.parametrize("description", [{"kind": "url"}, {"kind": "url", "url": None}])
def test_no_url(service, description):
    """A source without its address is told what it lacks."""
    answer = service.call("PUT", ONE, description)
    assert (answer.status_code, answer.json["error"]["code"]) == (422, "source_refused")
    assert [problem["column"] for problem in answer.json["error"]["details"]] == ["url"]


def test_the_document_lists_the_routes(service):
    """OpenAPI has them."""
    paths = service.call("GET", "/openapi.json", scope=None).json["paths"]
    one = "/v1/datasets/{name}/sources/{source}"
    assert set(paths[one]) >= {"put", "get", "delete"}
    assert "post" in paths[f"{one}/pull"]
