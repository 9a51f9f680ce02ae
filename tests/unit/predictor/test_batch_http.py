"""Batch jobs over HTTP and by messages: who may do what, and what is asked twice."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from trainyard.auth import KEYS_OBJECT, LiveKey, encode_keys, make_key, parse_key
from trainyard.testing.models import sample_rows
from trainyard_predictor import lambda_bootstrap
from trainyard_predictor.handler import Request

if TYPE_CHECKING:
    from conftest import World

    from trainyard_predictor.function import Function
    from trainyard_predictor.handler import Response

LINES = b"\n".join(json.dumps(row).encode() for row in sample_rows(5))


class Office:
    """A predictor over HTTP, a worker on the same bucket, and a key for each who comes."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.keys: dict[str, str] = {}
        scopes = {"anna": ("predict",), "bert": ("predict",), "reader": ("predict", "read"), "boss": ("admin",)}
        live = []
        for name, its in {**scopes, "stranger": ("ingest",)}.items():
            self.keys[name] = make_key()
            parsed = parse_key(self.keys[name])
            assert parsed is not None
            live.append(LiveKey(parsed.key_id, parsed.secret_sha256, its, None))
        world.blobs.put(KEYS_OBJECT, encode_keys(live))
        world.clock.advance(1)
        world.service.background.refresh()
        self.function: Function = lambda_bootstrap.build(
            world.config, {}, blobs=world.blobs, queue=world.queue, batch_queue=world.batch_queue, clock=world.clock
        )

    def ask(
        self, who: str, method: str, path: str = "", body: bytes = b"", query: str = "", **headers: str
    ) -> Response:
        """Ask for a route under /v1/batch-jobs; underscores in names of headers are hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {"host": "localhost", "authorization": f"Bearer {self.keys[who]}", **named}
        request = Request(method, f"/v1/batch-jobs{path}", query, sent, body)
        return self.world.service.handler.handle(request)

    def send(self, who: str, body: bytes = LINES, query: str = "model=flights", **headers: str) -> Any:
        """Send a file and return the job."""
        named = {"content_type": "application/x-ndjson", **headers}
        response = self.ask(who, "POST", body=body, query=query, **named)
        assert response.status == 202, response.body
        job = json.loads(response.body)
        assert response.headers["Location"] == f"/v1/batch-jobs/{job['id']}"
        return job

    def job(self, who: str, job: Any) -> Any:
        """Return the job as it is now."""
        return json.loads(self.ask(who, "GET", f"/{job['id']}").body)

    def work(self) -> None:
        """Let the worker have every message that there is."""
        while received := self.world.batch_queue.receive(limit=1, wait_seconds=0, visibility_seconds=60):
            record = {"messageId": received[0].message_id, "body": received[0].body, "eventSource": "aws:sqs"}
            assert self.function.handle({"Records": [record]}) == {"batchItemFailures": []}
            self.world.batch_queue.delete(received[0].receipt)


@pytest.fixture
def office(world: World) -> Office:
    """A predictor with version 1 of `flights`."""
    return Office(world)


def code(response: Response) -> str:
    """Return the status and the code of an error."""
    return f"{response.status} {json.loads(response.body)['error']['code']}"


def test_from_a_body_to_the_output(office: Office) -> None:
    """Sent, scored by the message that this leads to, and fetched whole and in pieces."""
    job = office.send("anna", query="model=flights%40champion&name=my%20day.ndjson")
    assert (job["state"], job["version"], job["format"]) == ("queued", 1, "ndjson")
    office.work()
    job = office.job("anna", job)
    assert (job["state"], job["good"], job["bad"]) == ("done", 5, 0)
    assert job["output"].endswith("/my_day.ndjson")
    whole = office.ask("anna", "GET", f"/{job['id']}/output")
    assert (whole.status, len(whole.body)) == (200, job["output_bytes"])
    assert [json.loads(line)["row"] for line in whole.body.splitlines()] == [1, 2, 3, 4, 5]
    piece = office.ask("anna", "GET", f"/{job['id']}/output", range="bytes=10-19")
    assert (piece.status, piece.body) == (206, whole.body[10:20])
    assert piece.headers["Content-Range"] == f"bytes 10-19/{len(whole.body)}"
    assert office.ask("anna", "GET", f"/{job['id']}/output", range="bytes=10-").body == whole.body[10:]
    assert code(office.ask("anna", "GET", f"/{job['id']}/output", range="bytes=9999999-")) == "400 bad_request"
    assert office.ask("anna", "GET", f"/{job['id']}/rejects").body == b""


def test_a_file_that_lies_in_the_bucket(office: Office) -> None:
    """Named by its key; it must be there, below batch/in/, of a known kind."""
    office.world.blobs.put("batch/in/flights/day.jsonl", LINES)

    def asked(key: str, **more: Any) -> Response:
        body = json.dumps({"model": "flights@1", "input": key, **more}).encode()
        return office.ask("anna", "POST", body=body, content_type="application/json")

    job = json.loads(asked("batch/in/flights/day.jsonl", log_share=1).body)
    office.work()
    assert office.job("anna", job)["state"] == "done"
    assert code(asked("batch/in/flights/none.jsonl")) == "404 not_found"
    assert code(asked("models/flights/x.csv")) == "400 bad_request"
    assert code(asked("batch/in/flights/day.jsonl", log_share=2)) == "400 bad_request"
    assert code(asked("batch/in/flights/day.jsonl", more=2)) == "400 bad_request"
    office.world.blobs.put("batch/in/flights/day.parquet", b"PAR1")
    refused = asked("batch/in/flights/day.parquet")
    assert code(refused) == "415 unsupported_media"
    assert b"CSV or NDJSON" in refused.body


def test_a_dropped_file(office: Office) -> None:
    """S3 tells of it twice; it is scored once, and seen by those who may see everybody's jobs."""
    office.world.blobs.put("batch/in/flights/day ä.jsonl", LINES)
    record = {"eventSource": "aws:s3", "s3": {"object": {"key": "batch/in/flights/day+%C3%A4.jsonl"}}}
    for _ in range(2):
        office.function.handle({"Records": [record]})
    office.work()
    (job,) = json.loads(office.ask("reader", "GET").body)["items"]
    assert (job["state"], job["good"]) == ("done", 5)
    assert json.loads(office.ask("anna", "GET").body)["items"] == []


def test_packed_bodies(office: Office) -> None:
    """gzip is named as the encoding."""
    job = office.send("anna", gzip.compress(LINES), content_encoding="gzip")
    office.work()
    assert office.job("anna", job)["good"] == 5


def test_the_same_key_leads_to_the_same_job(office: Office) -> None:
    """What was sent before is stored once; another body under the same word is refused; API keys share no words."""
    first = office.send("anna", idempotency_key="k")
    assert office.send("anna", idempotency_key="k")["id"] == first["id"]
    assert len(list(office.world.blobs.list("batch/uploads/"))) == 1
    other = office.ask("anna", "POST", body=LINES[:-1] + b" }", query="model=flights", idempotency_key="k",
                       content_type="application/x-ndjson")  # fmt: skip
    assert code(other) == "422 key_reused"
    assert office.send("bert", idempotency_key="k")["id"] != first["id"]
    assert office.send("anna")["id"] != first["id"]


def test_own_jobs_and_those_of_others(office: Office) -> None:
    """A key that may predict sees and ends its own jobs; `read` sees all, and ending others' takes `operate`."""
    job = office.send("anna")
    path = f"/{job['id']}"
    assert code(office.ask("bert", "GET", path)) == "404 unknown_batch_job"
    assert code(office.ask("bert", "DELETE", path)) == "404 unknown_batch_job"
    assert code(office.ask("bert", "GET", f"{path}/output")) == "404 unknown_batch_job"
    assert code(office.ask("stranger", "GET", path)) == "403 wrong_scope"
    assert code(office.ask("reader", "DELETE", path)) == "403 wrong_scope"
    assert office.job("reader", job)["id"] == job["id"]
    assert json.loads(office.ask("boss", "DELETE", path).body)["state"] == "cancelled"
    assert code(office.ask("anna", "DELETE", path)) == "409 conflict"
    assert code(office.ask("anna", "GET", f"{path}/output")) == "409 conflict"


def test_the_list(office: Office) -> None:
    """Newest first, page by page, the caller's own."""
    made = []
    for number in range(5):
        office.world.clock.advance(1)
        made.append(office.send("anna" if number != 2 else "bert")["id"])
    mine = [made[4], made[3], made[1], made[0]]
    found, cursor = [], ""
    while True:
        page = json.loads(office.ask("anna", "GET", query=f"limit=3{cursor and f'&cursor={cursor}'}").body)
        assert len(page["items"]) <= 3
        found += [job["id"] for job in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == mine
    assert len(json.loads(office.ask("reader", "GET").body)["items"]) == 5
    assert json.loads(office.ask("reader", "GET", query="model=other").body)["items"] == []
    for query in ("limit=0", "limit=101", "limit=x", "cursor=x", "sort=up", "limit=1&limit=2"):
        assert code(office.ask("anna", "GET", query=query)) == "400 bad_request", query


@pytest.mark.parametrize(
    ("query", "body", "headers", "expected"),
    [
        ("", LINES, {}, "400 bad_request"),
        ("model=Flights", LINES, {}, "404 unknown_model"),
        ("model=flights%407", LINES, {}, "404 unknown_version"),
        ("model=flights&log_share=x", LINES, {}, "400 bad_request"),
        ("model=flights", b"", {}, "400 empty_body"),
        ("model=flights", LINES, {"content_type": "application/xml"}, "415 unsupported_media"),
        ("model=flights", LINES, {"content_encoding": "br"}, "415 unsupported_media"),
        ("model=flights", LINES, {"content_length": "99999"}, "408 request_timeout"),
        ("model=flights", b"{}", {"content_type": "application/json"}, "400 bad_request"),
    ],
)
def test_refusals(office: Office, query: str, body: bytes, headers: dict[str, str], expected: str) -> None:
    """Nothing of what is refused is stored."""
    named = {"content_type": "application/x-ndjson", **headers}
    assert code(office.ask("anna", "POST", body=body, query=query, **named)) == expected
    assert list(office.world.blobs.list("batch/")) == []


def test_a_body_that_is_too_long(made_world: Any) -> None:
    """The limit is a setting, and nothing of the body is left."""
    office = Office(made_world(TRAINYARD_BATCH_MAX_BYTES="100"))
    refused = office.ask("anna", "POST", body=LINES, query="model=flights", content_type="application/x-ndjson")
    assert code(refused) == "413 too_large"
    assert list(office.world.blobs.list("batch/")) == []


def test_a_queue_that_does_not_answer(office: Office) -> None:
    """The job is kept, and found by the next look."""
    office.world.batch_queue.refuse_next = 1
    job = office.send("anna")
    office.work()
    assert office.job("anna", job)["state"] == "queued"
    office.function.handle({"batch_look": True})
    assert office.job("anna", job)["state"] == "done"


def test_in_lambda_a_turn_ends_in_good_time(office: Office) -> None:
    """What does not fit into an invocation is asked for again by a message; a look only asks."""
    job = office.send("anna")
    office.world.batch_queue.receive(limit=10, wait_seconds=0, visibility_seconds=60)
    office.function.handle({"batch_look": True}, 60.0)
    assert office.job("anna", job)["state"] == "queued"
    office.function.handle({"batch_job": job["id"]}, 1.0)
    assert office.job("anna", job)["state"] == "running"
    office.work()
    assert office.job("anna", job)["state"] == "done"
