"""The shared HTTP edge: deny by default, one error form, limits."""

import pytest

from trainyard.adapters.web import PAGE, Route, make_app, page_arguments, read_object
from trainyard.auth import KEYS_OBJECT, KeyRing, LiveKey, encode_keys, make_key, parse_key
from trainyard.clock import ManualClock
from trainyard.errors import Problem, ServiceError, TransientError
from trainyard.testing.fakes import MemoryBlobs


def _boom():
    raise RuntimeError("secret detail")


def _away():
    raise TransientError("the database does not answer just now")


def _problem():
    raise ServiceError("invalid_rows", "one row does not fit", [Problem(3, "age", "int", "'x'")])


@pytest.fixture
def key():
    """A key with the scope read."""
    return make_key()


@pytest.fixture
def client(key):
    """A client of an app with one route of each kind."""
    blobs = MemoryBlobs()
    parsed = parse_key(key)
    blobs.put(KEYS_OBJECT, encode_keys([LiveKey(parsed.key_id, parsed.secret_sha256, ("read",), None)]))
    ring = KeyRing(blobs, ManualClock())
    ring.refresh()
    routes = [
        Route("GET", "/v1/things/<name>", lambda name: (200, {"name": name}), "read", "One thing"),
        Route(
            "POST",
            "/v1/things",
            lambda: (201, read_object(required=["a"], optional=["b"])),
            "read",
            "Make",
            max_body_bytes=50,
        ),
        Route("GET", "/v1/things", lambda: (200, page_arguments()), "read", "A page", parameters=PAGE),
        Route("GET", "/v1/admin", lambda: (200, {}), "admin", "For admins"),
        Route("GET", "/v1/boom", _boom, "read", "A fault"),
        Route("GET", "/v1/away", _away, "read", "An outage"),
        Route("GET", "/v1/problem", _problem, "read", "A bad row"),
    ]
    app = make_app(
        "console",
        routes,
        ring=ring,
        clock=ManualClock(),
        ready=lambda: {"db": True},
        hosts=["localhost"],
        version="1.2.3",
    )
    test_client = app.test_client()
    test_client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {key}"
    return test_client


def _code(response):
    return response.status_code, response.get_json()["error"]["code"]


def test_a_route_answers_with_the_callers_request_id(client):
    """X-Request-Id comes back; a malformed one is replaced."""
    assert client.get("/v1/things/x", headers={"X-Request-Id": "abc-1"}).headers["X-Request-Id"] == "abc-1"
    assert client.get("/v1/things/x", headers={"X-Request-Id": "a b\t"}).headers["X-Request-Id"] != "a b\t"


@pytest.mark.parametrize(
    ("path", "headers", "expected"),
    [
        ("/v1/things/x", {"Authorization": ""}, (401, "no_key")),
        ("/v1/things/x", {"Authorization": "Bearer ty_0"}, (401, "bad_key")),
        ("/v1/admin", {}, (403, "wrong_scope")),
        ("/v1/nothing", {}, (404, "not_found")),
        ("/v1/admin/", {}, (404, "not_found")),
        ("/v1/things?limit=0", {}, (400, "bad_request")),
        ("/v1/things?limit=1001", {}, (400, "bad_request")),
        ("/v1/things?limit=0000000019999999999999999999", {}, (400, "bad_request")),
        ("/v1/things?cursor=%00", {}, (400, "bad_request")),
        ("/v1/things/x", {"Host": "evil.example"}, (400, "bad_host")),
        ("/v1/things/" + "x" * 5000, {}, (414, "uri_too_long")),
        ("/v1/boom", {}, (500, "internal")),
        ("/v1/away", {}, (503, "unavailable")),
    ],
)
def test_every_refusal_has_status_and_code(client, path, headers, expected):
    """One form for every error, whoever raised it."""
    assert _code(client.get(path, headers=headers)) == expected


def test_a_fault_does_not_tell_its_inside(client):
    """The message of an unexpected exception stays in the log."""
    assert "secret detail" not in client.get("/v1/boom").get_data(as_text=True)


def test_problems_carry_row_and_column(client):
    """The details of DESIGN's error form."""
    details = client.get("/v1/problem").get_json()["error"]["details"]
    assert details == [{"row": 3, "column": "age", "expected": "int", "got": "'x'"}]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"a": 1}', 201),
        (b'{"b": 1}', (400, "bad_request")),
        (b'{"a": 1, "z": 1}', (400, "bad_request")),
        (b"[1]", (400, "bad_request")),
        (b"{", (400, "bad_json")),
        (b"", (400, "empty_body")),
        (b'{"a": "' + b"x" * 60 + b'"}', (413, "too_large")),
    ],
)
def test_bodies_are_checked_before_the_view_sees_them(client, body, expected):
    """Keys, form and size."""
    response = client.post("/v1/things", data=body)
    assert (response.status_code if isinstance(expected, int) else _code(response)) == expected


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/openapi.json"])
def test_the_public_routes_need_no_key(client, path):
    """Health, metrics and the API's description are for anybody who reaches the port."""
    assert client.get(path, headers={"Authorization": ""}).status_code == 200


def test_every_listed_route_refuses_without_a_key(client):
    """Walk the OpenAPI document: nothing but the public routes answers without a key."""
    document = client.get("/openapi.json").get_json()
    assert document["info"]["version"] == "1.2.3"
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            status = client.open(
                path.replace("{name}", "x"), method=method.upper(), headers={"Authorization": ""}
            ).status_code
            assert (status == 401) == bool(operation["security"]), path


def test_a_wrong_method_is_named(client):
    """The path exists, the method does not."""
    assert _code(client.delete("/v1/things")) == (405, "method_not_allowed")


def test_page_arguments_come_as_given(client):
    """A limit in range and any printable cursor reach the view."""
    assert client.get("/v1/things?limit=7&cursor=a").get_json() == [7, "a"]


def test_unknown_parameters_are_refused_by_name(client):
    """A misspelt filter is not an unfiltered answer: the refusal names it and what there is instead."""
    for path, expected in [
        ("/v1/things?limt=7&limit=2", "one of limit, cursor"),
        ("/v1/boom?x=1", "no query parameter"),
    ]:
        answer = client.get(path)
        error = answer.get_json()["error"]
        (detail,) = error["details"]
        assert (answer.status_code, error["code"], detail["expected"]) == (400, "bad_request", expected)
        assert repr(detail["column"]) in error["message"]
    listed = client.get("/openapi.json").get_json()["paths"]["/v1/things"]["get"]["parameters"]
    assert [(one["name"], one["in"]) for one in listed] == [("limit", "query"), ("cursor", "query")]
    assert client.get("/healthz?probe=1").status_code == 200


def test_invented_methods_leave_no_series_behind(client):
    """What anybody can send without a key does not grow the metrics."""
    for number in range(3):
        assert client.open("/v1/things", method=f"BREW{number}").status_code == 405
    said = client.get("/metrics").get_data(as_text=True)
    assert "BREW" not in said
    assert 'method="other"' in said


def test_a_body_that_cannot_be_read_is_the_clients_fault(client):
    """What a WSGI server raises about malformed chunks or a lost client is a 400, whatever its type."""

    class ChunkError(Exception):
        """As WSGI servers have: of no type that anybody else knows."""

    class Broken:
        def read(self, _size=-1):
            raise ChunkError("Invalid chunk size: b'zz'")

    environ = {"wsgi.input": Broken(), "wsgi.input_terminated": True}
    answer = client.post("/v1/things", environ_overrides=environ)
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (400, "bad_request")
    assert "chunked" in answer.get_json()["error"]["message"]
