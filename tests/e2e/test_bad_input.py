"""Bad input at every public edge of the one address: a clear 4xx, never a 500, nothing half-stored."""

import http.client
import json
from urllib.parse import urlsplit

import pytest
from conftest import COLUMNS
from stack import wait_until

GOOD = {"id": 1, "age": 30, "income": 1.5, "city": "Bern", "bought": True}
CSV = {"Content-Type": "text/csv"}
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def shop(stack):
    """A dataset with nothing in it and a model that was never trained."""
    stack.call("PUT", "/v1/datasets/shop", json={"columns": COLUMNS})
    policy = {"min_new_rows": None}
    stack.call("PUT", "/v1/models/shop", json={"dataset": "shop", "label": "bought", "policy": policy})
    return stack


def _row(**changes):
    row = {**GOOD, **changes}
    return json.dumps([{name: value for name, value in row.items() if value is not Ellipsis}]).encode()


@pytest.mark.parametrize(
    ("body", "headers", "status", "code", "where"),
    [
        (_row(age="old"), JSON, 422, "invalid_rows", (1, "age")),
        (_row(age=True), JSON, 422, "invalid_rows", (1, "age")),
        (_row(age=2**70), JSON, 400, "bad_json", None),
        (_row(id=...), JSON, 422, "invalid_rows", (1, "id")),
        (_row(id=None), JSON, 422, "invalid_rows", (1, "id")),
        (_row(extra=1), JSON, 422, "invalid_rows", (1, "extra")),
        (_row(city="x" * 300), JSON, 422, "invalid_rows", (1, "city")),
        (_row(city="a\x00b"), JSON, 422, "invalid_rows", (1, "city")),
        (b'[{"id": 1, "income": NaN}]', JSON, 400, "bad_json", None),
        (b'{"rows": 5}', JSON, 400, None, None),
        (b"[5]", JSON, 422, "invalid_rows", (1, None)),
        (b"", JSON, 400, "empty_body", None),
        (b"{", JSON, 400, "bad_json", None),
        (b"[" * 100_000, JSON, 400, "bad_json", None),
        (b"", CSV, 400, "empty_body", None),
        (b"id,age,income,city,seen_at,bought\n1,30,1.5\n", CSV, (400, 422), None, None),
        (b'id,age,income,city,seen_at,bought\n1,30,1.5,"Bern,,true\n', CSV, 400, "bad_csv", None),
        (b"id,age,income,city,seen_at,bought\n1,30,1.5,\xff,,true\n", CSV, 400, "bad_csv", None),
        (b"id,age,income,city,seen_at,bought\n1,30,nan,Bern,,true\n", CSV, 422, "invalid_rows", (1, "income")),
        (b"id,age,income,city,seen_at,bought\n1,30,1.5,Bern,,perhaps\n", CSV, 422, "invalid_rows", (1, "bought")),
        (b"id,id,age,income,city,seen_at,bought\n1,1,30,1.5,Bern,,true\n", CSV, (400, 422), None, None),
        (b"age,income,city,seen_at,bought\n30,1.5,Bern,,true\n", CSV, (400, 422), None, None),
        (b"id,age,income,city,seen_at,bought,more\n1,30,1.5,Bern,,true,1\n", CSV, (400, 422), None, None),
        (b"id\n", {"Content-Type": "application/x-thing"}, 415, "unsupported_media", None),
        (_row(), {**JSON, "Content-Encoding": "gzip"}, 400, "bad_gzip", None),
        (_row(), {**JSON, "Content-Encoding": "br"}, 415, "unsupported_media", None),
    ],
)
def test_rows_that_do_not_fit(shop, body, headers, status, code, where):
    """The answer names row and column where there is one, and the table stays empty."""
    url = shop.ready["url"] + "/v1/datasets/shop/rows"
    response = shop.session.post(url, data=body, headers=headers, timeout=30)
    wanted = (status,) if isinstance(status, int) else status
    assert response.status_code in wanted, response.text
    error = response.json()["error"]
    assert code in {None, error["code"]}
    assert error["message"]
    if where is not None:
        assert where in [(detail["row"], detail["column"]) for detail in error["details"]], error
    assert shop.call("GET", "/v1/datasets/shop")["rows"] == 0


def test_a_100_mb_json_body_is_refused(shop):
    """413 with the limit, whether the length was announced or not; the service lives on."""
    host = urlsplit(shop.ready["url"]).netloc
    headers = {"Authorization": shop.session.headers["Authorization"], **JSON}

    connection = http.client.HTTPConnection(host, timeout=60)
    connection.putrequest("POST", "/v1/datasets/shop/rows")
    for name, value in {**headers, "Content-Length": str(100 << 20)}.items():
        connection.putheader(name, value)
    connection.endheaders()
    response = connection.getresponse()
    assert (response.status, json.loads(response.read())["error"]["code"]) == (413, "too_large")
    connection.close()

    def chunks():
        yield b'[{"city": "'
        for _ in range(100):
            yield b"x" * (1 << 20)

    status = _status_of_a_chunked_post(host, headers, chunks())
    assert status == 413
    assert shop.call("GET", "/v1/datasets/shop")["rows"] == 0


def _status_of_a_chunked_post(host, headers, chunks):
    connection = http.client.HTTPConnection(host, timeout=60)
    connection.putrequest("POST", "/v1/datasets/shop/rows")
    for name, value in {**headers, "Transfer-Encoding": "chunked"}.items():
        connection.putheader(name, value)
    connection.endheaders()
    try:
        for chunk in chunks:
            connection.send(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        connection.send(b"0\r\n\r\n")
    except (BrokenPipeError, ConnectionResetError):
        pass  # refused before all was sent: the answer is what counts
    try:
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/v1/datasets/nothing/rows", _row(), 404, "unknown_dataset"),
        ("GET", "/v1/datasets/nothing", None, 404, "unknown_dataset"),
        ("GET", "/v1/datasets/No%20Name!", None, (400, 404, 422), None),
        ("PUT", "/v1/datasets/bad", b'{"columns": [{"name": "a", "type": "money"}]}', 422, "invalid_schema"),
        ("PUT", "/v1/datasets/bad", b'{"columns": []}', 422, "invalid_schema"),
        ("PUT", "/v1/datasets/Robert'); DROP TABLE", b'{"columns": [{"name": "a", "type": "int"}]}', (400, 422), None),
        ("PUT", "/v1/models/m", b'{"dataset": "nothing", "label": "x"}', (404, 422), None),
        ("PUT", "/v1/models/m", b'{"dataset": "shop", "label": "nothing"}', 422, "invalid_model"),
        (
            "PUT",
            "/v1/models/m",
            b'{"dataset": "shop", "label": "bought", "policy": {"min_rows": 5}}',
            422,
            "invalid_model",
        ),
        ("POST", "/v1/models/nothing/requests", b"{}", 404, "unknown_model"),
        ("POST", "/v1/models/shop/requests", b"{}", (409, 422), None),
        ("GET", "/v1/requests/not-a-uuid", None, 404, "unknown_request"),
        ("GET", "/v1/runs/not-a-uuid", None, 404, "unknown_run"),
        ("GET", "/v1/models/shop/versions/99", None, 404, "unknown_version"),
        ("GET", "/v1/models/shop/versions/x", None, 404, None),
        ("PUT", "/v1/models/shop/aliases/champion", b'{"version": 99}', 404, "unknown_version"),
        ("POST", "/v1/models/shop/rollback", b"{}", (404, 409), None),
        ("GET", "/v1/models?limit=0", None, 400, "bad_request"),
        ("GET", "/v1/models/shop/deployments?cursor=nonsense", None, 400, "bad_request"),
        ("POST", "/v1/predict/nothing", b'{"rows": [{}]}', 404, "unknown_model"),
        ("POST", "/v1/predict/shop", b'{"rows": [{"age": 1}]}', 409, "no_model"),
        ("POST", "/v1/predict/shop", b"", 400, "empty_body"),
        ("POST", "/v1/predict/shop", b"[", 400, "bad_json"),
        ("POST", "/v1/predict/shop", b'{"rows": [], "mode": 1}', 400, "bad_request"),
        ("GET", "/v1/predict/shop", None, 405, "method_not_allowed"),
        ("POST", "/v1/predict/shop", b'{"rows": ["' + b"x" * (1 << 20) + b'"]}', 413, "too_large"),
        ("POST", "/v1/feedback", b'{"items": [{"label": 1}]}', (400, 422), None),
        ("POST", "/v1/feedback", b'{"items": [{"prediction_id": "p", "label": {"a": 1}}]}', (400, 422), None),
        ("POST", "/v1/feedback", b"{}", 400, "bad_request"),
        ("GET", "/v1/predictions/nothing", None, 404, "unknown_prediction"),
        ("DELETE", "/v1/keys/nothing", None, 404, "unknown_key"),
        ("POST", "/v1/keys", b'{"name": "k", "scopes": ["king"]}', (400, 422), None),
    ],
)
def test_every_other_edge(shop, method, path, body, status, code):
    """Status and code say what was wrong."""
    response = shop.session.request(method, shop.ready["url"] + path, data=body, headers=JSON, timeout=30)
    wanted = (status,) if isinstance(status, int) else status
    assert response.status_code in wanted, response.text
    assert code in {None, response.json()["error"]["code"]}, response.text


@pytest.mark.parametrize(
    "route",
    [
        "GET /v1/datasets",
        "POST /v1/datasets/shop/rows",
        "POST /v1/feedback",
        "GET /v1/models",
        "POST /v1/predict/shop",
        "GET /v1/doctor",
    ],
)
def test_no_key_and_wrong_scope(shop, route):
    """401 without a key or with a wrong one, 403 with a key for something else."""
    method, path = route.split()
    scope = "predict" if "predict" not in path else "feedback"
    made = shop.call("POST", "/v1/keys", json={"name": "narrow", "scopes": [scope]}, expect=201)
    narrow = {"Authorization": f"Bearer {made['key']}"}
    url = shop.ready["url"] + path
    wait_until(
        lambda: (
            shop.session.request(method, url, headers={**narrow, **JSON}, data=b"{}", timeout=30).status_code != 401
        ),
        seconds=5,
        what="a new key is known to the service",
    )
    for header, status, code in [
        (None, 401, "no_key"),
        ("Bearer nonsense", 401, "bad_key"),
        (f"Bearer {made['key']}", 403, "wrong_scope"),
    ]:
        answer = shop.session.request(method, url, headers={"Authorization": header, **JSON}, data=b"{}", timeout=30)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), path
