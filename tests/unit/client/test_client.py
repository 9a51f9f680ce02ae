"""The SDK against a fake service: keys, repeats, errors, lists, uploads."""

from __future__ import annotations

import io

import pytest
import requests
from conftest import KEY
from fake_api import URL, error, page

from trainyard_client import ApiError, Client, ClientError, UnreachableError, WaitTimeoutError


def test_the_key_is_sent_and_not_replaced_by_a_netrc(api, client, monkeypatch, tmp_path):
    """A ~/.netrc entry for the host does not win over the API key."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine trainyard.test login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    api.on("GET", "/v1/fleet", {"instances": []})
    client.fleet()
    assert api.asked[0].headers["Authorization"] == f"Bearer {KEY}"


def test_every_post_carries_an_idempotency_key_that_its_repeats_keep(api, client):
    """A repeat of a POST is the same request; the next POST is another one."""
    api.on("POST", "/v1/models/m/requests", (503, error("unavailable")), (201, {"id": "r"}))
    assert client.train("m") == {"id": "r"}
    client.train("m")
    keys = [one.headers["Idempotency-Key"] for one in api.asked]
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize(
    "trouble", [(503, error("unavailable")), (502, b"<html>"), (409, error("in_progress")), requests.ConnectionError()]
)
def test_what_may_pass_is_repeated_with_pauses(api, client, clock, trouble):
    """An absent service, a restarting one and a request in progress are asked again, after a pause."""
    api.on("GET", "/v1/models/m", trouble, trouble, {"name": "m"})
    assert client.model("m") == {"name": "m"}
    assert len(api.asked) == 3
    assert 0 < clock.monotonic() < 10


def test_retry_after_is_heeded_within_reason(api, client, clock):
    """The service says how long to wait; nobody waits more than 5 seconds at once."""
    api.on("GET", "/v1/fleet", (503, error("unavailable"), {"Retry-After": "3"}), {"instances": []})
    client.fleet()
    assert clock.monotonic() == 3
    api.on("GET", "/v1/fleet", (503, error("unavailable"), {"Retry-After": "3600"}), {"instances": []})
    client.fleet()
    assert clock.monotonic() == 8


def test_what_will_not_pass_is_not_repeated(api, client):
    """A refusal comes out at once with code, message, details and the request id."""
    details = [{"row": 3, "column": "age", "expected": "a whole number", "got": "old"}]
    api.on("POST", "/v1/predict/m", (422, error("invalid_rows", "1 problem", details), {"X-Request-Id": "abc"}))
    with pytest.raises(ApiError) as caught:
        client.predict("m", [{"age": "old"}])
    assert (caught.value.status, caught.value.code, caught.value.message) == (422, "invalid_rows", "1 problem")
    assert (caught.value.details, caught.value.request_id, len(api.asked)) == (details, "abc", 1)


def test_nobody_there_is_an_error_after_a_few_attempts(api, client):
    """The SDK gives up and names the address."""
    api.on("GET", "/v1/fleet", requests.ConnectionError())
    with pytest.raises(UnreachableError, match=r"trainyard\.test"):
        client.fleet()
    assert len(api.asked) == 6


@pytest.mark.parametrize("answer", [(200, b"<html>hello</html>"), (302, b"", {"Location": "http://evil.test/"})])
def test_something_else_than_a_service_is_told_apart(api, client, answer):
    """A page or a redirect is an error; the key is not carried elsewhere."""
    api.on("GET", "/v1/fleet", answer)
    with pytest.raises(ApiError):
        client.fleet()
    assert len(api.asked) == 1


@pytest.mark.parametrize("answer", [(500, b"oops"), (500, b""), (500, b'{"error": "text"}'), (500, b"[]")])
def test_errors_in_no_known_form_have_a_code_of_their_own(api, client, answer):
    """Whatever stands between the client and the services, the error is an ApiError."""
    api.on("GET", "/v1/fleet", answer)
    with pytest.raises(ApiError, match="http_500"):
        client.fleet()


def test_lists_are_read_page_by_page(api, client):
    """A list goes on until there is no cursor, with the filters on every page."""
    api.on("GET", "/v1/predictions", page({"id": "a"}, {"id": "b"}, cursor="x"), page({"id": "c"}))
    assert [p["id"] for p in client.predictions("m", 2)] == ["a", "b", "c"]
    assert [one.query for one in api.asked] == [
        {"model": "m", "version": "2", "limit": "1000"},
        {"model": "m", "version": "2", "limit": "1000", "cursor": "x"},
    ]


def test_a_file_is_sent_again_from_its_start(api, client):
    """A connection that broke in the middle of an upload costs a repeat of the whole file."""
    api.on("POST", "/v1/datasets/d/rows", requests.ConnectionError(), (201, {"id": "b"}))
    assert client.upload("d", io.BytesIO(b"a,b\n1,2\n"), "text/csv") == {"id": "b"}
    assert [one.body for one in api.asked] == [b"a,b\n1,2\n"] * 2
    assert api.asked[0].headers["Content-Type"] == "text/csv"
    assert api.asked[0].headers["Content-Length"] == "8"


def test_rows_are_identified_by_themselves_unless_the_caller_says_otherwise(api, client):
    """The same file again must be the same batch: no random key makes it another one."""
    api.on("POST", "/v1/datasets/d/rows", (201, {"id": "b"}))
    client.upload("d", io.BytesIO(b"a\n1\n"), "text/csv")
    client.push("d", [{"a": 1}])
    client.upload("d", io.BytesIO(b"a\n1\n"), "text/csv", key="again")
    assert [one.headers.get("Idempotency-Key") for one in api.asked] == [None, None, "again"]


def test_a_stream_is_sent_once_in_chunks(api, client):
    """What cannot be read again is not repeated, and its length need not be known."""
    api.on("POST", "/v1/datasets/d/rows", requests.ConnectionError())
    with pytest.raises(UnreachableError):
        client.upload("d", iter([b"a\n", b"1\n"]), "text/csv")
    assert len(api.asked) == 1
    assert api.asked[0].headers["Transfer-Encoding"] == "chunked"


def test_waiting_for_a_request(api, client, clock):
    """Waiting shows the run and returns when the request has ended."""
    request = {"id": "r", "model": "m", "attempt": 0, "state": "queued"}
    api.on(
        "GET", "/v1/requests/r", request, {**request, "attempt": 1, "state": "running"}, {**request, "state": "done"}
    )
    api.on("GET", "/v1/runs", page({"id": "x", "request_id": "other"}, {"id": "y", "request_id": "r"}))
    seen = []
    assert client.wait("r", seconds=10, on_progress=lambda _, run: seen.append(run))["state"] == "done"
    assert [run and run["id"] for run in seen] == [None, "y", None]


def test_waiting_has_a_deadline(api, client, clock):
    """A request that does not end is an error of its own, after the time that was given."""
    api.on("GET", "/v1/requests/r", {"id": "r", "model": "m", "attempt": 0, "state": "queued"})
    with pytest.raises(WaitTimeoutError, match="queued"):
        client.wait("r", seconds=10)
    assert 10 <= clock.monotonic() < 11


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_names_that_would_be_another_path_are_refused(client, api, name):
    """No request leaves for a name that changes the route."""
    with pytest.raises(ClientError):
        client.delete_dataset(name)
    assert api.asked == []


def test_names_are_quoted(client, api):
    """A slash in a name stays in the name."""
    api.on("GET", "/v1/datasets/d/batches/../../x?y", {"id": "odd"})
    assert client.batch("d", "../../x?y") == {"id": "odd"}
    assert api.asked[0].url == f"{URL}/v1/datasets/d/batches/..%2F..%2Fx%3Fy"


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://x", "http://", "", "http://[::1", "http://x:99999"])
def test_an_address_is_checked(url):
    """An address without scheme or host is refused with an example."""
    with pytest.raises(ClientError, match="http://127"):
        Client(url, None)


def test_values_that_json_has_not_are_the_callers(client, clock):
    """A NaN is not taken for a service that does not answer: nothing is sent, nothing is repeated."""
    with pytest.raises(ClientError, match="cannot be sent as JSON"):
        client.predict("m", [{"x": float("nan")}])
    assert clock.monotonic() == 0


def test_a_key_that_no_header_can_hold():
    """It is refused in a sentence before a library stumbles over it."""
    with pytest.raises(ClientError, match="API key"):
        Client(URL, "ключ\n")


def test_undecodable_names_reach_the_service(api, client):
    """A name from a command line that is not UTF-8 is a name that nobody has."""
    api.on("GET", "/v1/models/?", (404, error("unknown_model")))
    with pytest.raises(ApiError, match="unknown_model"):
        client.model("\udcff")


def test_a_key_whose_answer_was_lost(api, client):
    """The service shows a key once; a repeat that gets none says what to do about it."""
    api.on("POST", "/v1/keys", (503, error("unavailable")), (201, {"id": "k1", "key": None}))
    with pytest.raises(ClientError, match="revoke it"):
        client.create_key("name", ["read"])
