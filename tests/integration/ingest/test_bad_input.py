"""Bad input at every route of ingest: a clear 4xx that names row and column, never a 500, nothing stored."""

import json

import pytest

HEAD = b"id,age,income,city,day,at,bought\n"
GOOD = {"id": 1, "age": 30, "income": 1.5, "city": "Bern", "bought": True}
CSV, JSON, NDJSON = "text/csv", "application/json", "application/x-ndjson"
UUID = "00000000-0000-0000-0000-000000000000"


def _row(**changes):
    return json.dumps([{name: value for name, value in {**GOOD, **changes}.items() if value is not ...}]).encode()


ROWS = [
    # body, type, status, code, (row, column) in the details
    (_row(age="old"), JSON, 422, "invalid_rows", (1, "age")),
    (_row(age=True), JSON, 422, "invalid_rows", (1, "age")),
    (_row(age=1.5), JSON, 422, "invalid_rows", (1, "age")),
    (b'[{"id": 1234567890123456789.0}]', JSON, 422, "invalid_rows", (1, "id")),
    (b'{"id": 9007199254740993.0}\n', NDJSON, 422, "invalid_rows", (1, "id")),
    (_row(age=2**70), JSON, 400, "bad_json", None),
    (_row(age=2**63), JSON, 400, "bad_json", None),
    (_row(income="1"), JSON, 422, "invalid_rows", (1, "income")),
    (_row(income={"a": 1}), JSON, 422, "invalid_rows", (1, "income")),
    (_row(bought="yes"), JSON, 422, "invalid_rows", (1, "bought")),
    (_row(day="2023-02-30"), JSON, 422, "invalid_rows", (1, "day")),
    (_row(at="2023-02-01T00:00:00"), JSON, 422, "invalid_rows", (1, "at")),
    (_row(at="0001-01-01T00:00:00+14:00"), JSON, 422, "invalid_rows", (1, "at")),
    (_row(id=...), JSON, 422, "invalid_rows", (1, "id")),
    (_row(id=None), JSON, 422, "invalid_rows", (1, "id")),
    (_row(extra=1), JSON, 422, "invalid_rows", (1, "extra")),
    (_row(city="x" * 300), JSON, 422, "invalid_rows", (1, "city")),
    (_row(city="a\0b"), JSON, 422, "invalid_rows", (1, "city")),
    (b'[{"id": 1, "city": "\\ud800"}]', JSON, 400, "bad_json", None),
    (b'[{"id": 1, "income": NaN}]', JSON, 400, "bad_json", None),
    (b'[{"id": 1, "income": -Infinity}]', JSON, 400, "bad_json", None),
    (b'[{"id": 1, "income": 1e999}]', JSON, 400, "bad_json", None),
    (b'[{"id": 1, "id": 2}]', JSON, 400, "bad_json", None),
    (b'{"rows": 5}', JSON, 400, "bad_request", None),
    (b'{"rows": []}', JSON, 400, "empty_body", None),
    (b"[5]", JSON, 422, "invalid_rows", (1, None)),
    (b"", JSON, 400, "empty_body", None),
    (b"{", JSON, 400, "bad_json", None),
    (b"[" * 100_000, JSON, 400, "bad_json", None),
    (b'[{"id": 1, "city": "\xff"}]', JSON, 400, "bad_json", None),
    (b"", NDJSON, 400, "empty_body", None),
    (b'{"id": 1}\n{"id": nan}\n', NDJSON, 400, "bad_json", None),
    (b'{"id": 1}\n{"id": "a"}\n', NDJSON, 422, "invalid_rows", (2, "id")),
    (b"", CSV, 400, "empty_body", None),
    (HEAD, CSV, 400, "empty_body", None),
    (HEAD + b"1,30,1.5\n", CSV, 400, "bad_csv", None),
    (HEAD + b'1,30,1.5,"Bern,,,true\n', CSV, 400, "bad_csv", None),
    (HEAD + b"1,30,1.5,\xff,,,true\n", CSV, 400, "bad_csv", None),
    (HEAD + b"1,30,nan,Bern,,,true\n", CSV, 422, "invalid_rows", (1, "income")),
    (HEAD + b"1,30,1e999,Bern,,,true\n", CSV, 422, "invalid_rows", (1, "income")),
    (HEAD + b"1,30,1.5,Bern,,,perhaps\n", CSV, 422, "invalid_rows", (1, "bought")),
    (HEAD + b"1,30,1.5,a\0b,,,true\n", CSV, 422, "invalid_rows", (1, "city")),
    (HEAD + b",30,1.5,Bern,,,true\n", CSV, 422, "invalid_rows", (1, "id")),
    (b"id,id\n1,1\n", CSV, 400, "bad_csv", (None, "id")),
    (b"age\n30\n", CSV, 422, "invalid_rows", (None, "id")),
    (b"id,more\n1,1\n", CSV, 422, "invalid_rows", (None, "more")),
    (b"id\n1\n", "text/plain", 415, "unsupported_media", None),
    (b"id\n1\n", "", 415, "unsupported_media", None),
    (b"id\n1\n", "text/csv; charset=latin-1", 415, "unsupported_media", None),
]


@pytest.mark.parametrize("case", ROWS, ids=[f"{n}-{case[3]}" for n, case in enumerate(ROWS)])
def test_rows(refusing, case):
    """The answer names row and column where there is one; neither table nor ledger keeps anything."""
    body, kind, status, code, where = case
    response = refusing.call("POST", "/v1/datasets/shop/rows", body, scope="ingest", Content_Type=kind)
    error = response.get_json()["error"]
    assert (response.status_code, error["code"]) == (status, code), error
    assert error["message"]
    if where is not None:
        assert where in [(detail["row"], detail["column"]) for detail in error["details"]], error
    assert refusing.scalar("SELECT count(*) FROM core.batch") == 0
    assert refusing.scalar("SELECT count(*) FROM data.shop") == 0


OTHERS = [
    # method, path, body, headers, status, code
    ("POST", "/v1/datasets/nothing/rows", _row(), {"Content_Type": JSON}, 404, "unknown_dataset"),
    ("POST", "/v1/datasets/a%00b/rows", _row(), {"Content_Type": JSON}, 404, "unknown_dataset"),
    ("POST", "/v1/datasets/shop/rows", _row(), {"Content_Type": JSON, "Content_Encoding": "gzip"}, 400, "bad_gzip"),
    ("POST", "/v1/datasets/shop/rows", _row(), {"Content_Type": JSON, "Idempotency_Key": ""}, 400, "bad_request"),
    ("POST", "/v1/datasets/shop/rows", _row(), {"Content_Type": JSON, "Idempotency_Key": "x" * 256}, 400, None),
    ("POST", "/v1/datasets/shop/rows", _row(), {"Content_Type": JSON, "Idempotency_Key": "caf\xe9"}, 400, None),
    ("POST", "/v1/datasets/shop/rows", b"", {"Content_Type": JSON, "Content_Length": str(100 << 20)}, 413, "too_large"),
    ("POST", "/v1/datasets/shop/rows", b"", {"Content_Type": CSV, "Content_Length": str(5 << 30)}, 413, "too_large"),
    ("GET", "/v1/datasets/No%20Name!", None, {}, 404, "unknown_dataset"),
    ("GET", "/v1/datasets/a%00b", None, {}, 404, "unknown_dataset"),
    ("GET", "/v1/datasets?limit=0", None, {}, 400, "bad_request"),
    ("GET", "/v1/datasets?limit=x", None, {}, 400, "bad_request"),
    ("GET", "/v1/datasets?cursor=%00", None, {}, 400, "bad_request"),
    ("GET", "/v1/datasets?name=shop", None, {}, 400, "bad_request"),
    ("GET", "/v1/datasets/shop?limit=1", None, {}, 400, "bad_request"),
    ("GET", "/v1/datasets/shop/batches?state=x", None, {}, 400, "bad_request"),
    ("GET", "/v1/predictions?modle=buys", None, {}, 400, "bad_request"),
    ("GET", "/v1/datasets/nothing/batches", None, {}, 404, "unknown_dataset"),
    ("GET", "/v1/datasets/shop/batches?cursor=nonsense", None, {}, 400, "bad_request"),
    ("GET", f"/v1/datasets/shop/batches?cursor={UUID}", None, {}, 400, "bad_request"),
    ("GET", "/v1/datasets/shop/batches/nonsense", None, {}, 404, "unknown_batch"),
    ("GET", "/v1/datasets/shop/batches/a%00b/rejects", None, {}, 404, "unknown_batch"),
    ("GET", f"/v1/datasets/shop/batches/{UUID}", None, {}, 404, "unknown_batch"),
    ("PUT", "/v1/datasets/bad", b'{"columns": [{"name": "a", "type": "money"}]}', {}, 422, "invalid_schema"),
    ("PUT", "/v1/datasets/bad", b'{"columns": []}', {}, 422, "invalid_schema"),
    ("PUT", "/v1/datasets/bad", b'{"columns": 5}', {}, 422, "invalid_schema"),
    ("PUT", "/v1/datasets/bad", b'{"columns": [{"name": "a\\u0000", "type": "int"}]}', {}, 422, "invalid_schema"),
    ("PUT", "/v1/datasets/bad", b'{"columns": [{"name": "' + b"x" * 64 + b'", "type": "int"}]}', {}, 422, None),
    ("PUT", "/v1/datasets/bad", b'{"columns": [], "more": 1}', {}, 400, "bad_request"),
    ("PUT", "/v1/datasets/bad", b"", {}, 400, "empty_body"),
    ("PUT", "/v1/datasets/bad", b" " * 300_000, {}, 413, "too_large"),
    ("PUT", "/v1/datasets/bad", b"{}", {"Content_Encoding": "gzip"}, 415, "unsupported_media"),
    ("PUT", "/v1/datasets/Robert'); DROP", b'{"columns": [{"name": "a", "type": "int"}]}', {}, 400, "bad_request"),
    ("PUT", "/v1/datasets/" + "a" * 49, b'{"columns": [{"name": "a", "type": "int"}]}', {}, 400, "bad_request"),
    ("PUT", "/v1/datasets/shop", b'{"columns": [{"name": "a", "type": "int"}]}', {}, 422, "narrowing"),
    ("POST", "/v1/datasets/new/infer", b"", {"Content_Type": CSV}, 400, "empty_body"),
    ("POST", "/v1/datasets/new/infer", b"a\n1\n", {}, 415, "unsupported_media"),
    ("POST", "/v1/datasets/new/infer", b"a\n" * (5 << 20), {"Content_Type": CSV}, 413, "too_large"),
    ("POST", "/v1/datasets/New/infer", b"a\n1\n", {"Content_Type": CSV}, 400, "bad_request"),
    ("DELETE", "/v1/datasets/nothing", None, {}, 404, "unknown_dataset"),
    ("DELETE", "/v1/datasets/shop", None, {}, 409, "in_use"),
    ("GET", "/v1/predictions?model=nobody", None, {}, 404, "unknown_model"),
    ("GET", "/v1/predictions?model=a%00b", None, {}, 404, "unknown_model"),
    ("GET", "/v1/predictions?version=x", None, {}, 400, "bad_request"),
    ("GET", "/v1/predictions?order=oldest", None, {}, 400, "bad_request"),
    ("GET", "/v1/predictions?version=99999999999", None, {}, 400, "bad_request"),
    ("GET", "/v1/predictions?cursor=x", None, {}, 400, "bad_request"),
    ("GET", "/v1/predictions?cursor=" + "9" * 19, None, {}, 400, "bad_request"),
    ("GET", "/v1/predictions?limit=1001", None, {}, 400, "bad_request"),
    ("GET", "/v1/predictions/nothing", None, {}, 404, "unknown_prediction"),
    ("GET", "/v1/predictions/a%00b", None, {}, 404, "unknown_prediction"),
    ("POST", "/v1/feedback", b"{}", {}, 400, "bad_request"),
    ("POST", "/v1/feedback", b'{"items": []}', {}, 400, "bad_request"),
    ("POST", "/v1/feedback", b'{"items": [{"label": 1}]}', {}, 422, "invalid_rows"),
    ("POST", "/v1/feedback", b'{"items": [{"prediction_id": "p", "label": {"a": 1}}]}', {}, 422, "invalid_rows"),
    ("POST", "/v1/feedback", b'{"items": [{"prediction_id": "p", "label": "\\u0000"}]}', {}, 422, "invalid_rows"),
    ("POST", "/v1/feedback", b'{"items": [{"model": "nobody", "key": {}, "label": 1}]}', {}, 404, "unknown_model"),
    ("POST", "/v1/feedback", b'{"items": [{"model": "buys", "key": {}, "label": 1}]}', {}, 422, "invalid_rows"),
    ("POST", "/v1/feedback", b'{"items": [{"model": "buys", "key": {"id": "x"}, "label": 1}]}', {}, 422, None),
    ("POST", "/v1/feedback", b'{"items": [NaN]}', {}, 400, "bad_json"),
    ("POST", "/v1/feedback", b" " * (9 << 20), {}, 413, "too_large"),
    ("POST", "/v1/datasets", b"{}", {}, 405, "method_not_allowed"),
    ("GET", "/v1/nothing", None, {}, 404, "not_found"),
]


@pytest.mark.parametrize("case", OTHERS, ids=[f"{n}-{case[0]}-{case[4]}" for n, case in enumerate(OTHERS)])
def test_every_other_edge(refusing, case):
    """Status and code say what was wrong."""
    method, path, body, headers, status, code = case
    response = refusing.call(method, path, body, **headers)
    error = response.get_json()["error"]
    assert response.status_code == status, error
    assert code in {None, error["code"]}, error
    assert refusing.scalar("SELECT count(*) FROM core.feedback") == 0


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("PUT", "/v1/datasets/shop", "operate"),
        ("POST", "/v1/datasets/shop/infer", "operate"),
        ("GET", "/v1/datasets", "read"),
        ("GET", "/v1/datasets/shop", "read"),
        ("DELETE", "/v1/datasets/shop", "admin"),
        ("POST", "/v1/datasets/shop/rows", "ingest"),
        ("GET", "/v1/datasets/shop/batches", "read"),
        ("GET", f"/v1/datasets/shop/batches/{UUID}", "read"),
        ("GET", f"/v1/datasets/shop/batches/{UUID}/rejects", "read"),
        ("GET", "/v1/predictions", "read"),
        ("GET", "/v1/predictions/x", "read"),
        ("POST", "/v1/feedback", "feedback"),
    ],
)
def test_keys_and_scopes(refusing, method, path, scope):
    """No key is 401, a key for something else is 403, the right one and admin get past both."""
    assert refusing.call(method, path, scope=None).get_json()["error"]["code"] == "no_key"
    for held in refusing.keys:
        allowed = held in {scope, "admin"} or (scope == "read" and held == "operate")
        status = refusing.call(method, path, scope=held).status_code
        assert (status not in {401, 403}) == allowed, held
