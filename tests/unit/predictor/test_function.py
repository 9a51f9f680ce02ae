"""The predictor as a Lambda function: each kind of event goes where it must, and settles what it may."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest

from trainyard.clock import ManualClock
from trainyard.config import load
from trainyard.errors import TransientError
from trainyard.messages import PredictionLogged, PredictionsStored, ShadowScored, decode, stored_bodies
from trainyard.prediction_blocks import records_of
from trainyard.serving_object import PREFIX, ServedModel, decode_serving
from trainyard.testing.fakes.blobs import MemoryBlobs
from trainyard.testing.fakes.queue import MemoryQueue
from trainyard.testing.logged import logged_records
from trainyard.testing.models import sample_model
from trainyard.testing.publishing import point_alias, publish_key, publish_version
from trainyard_predictor import lambda_bootstrap
from trainyard_predictor.events import ForeignEventError

ROW = dict(sample_model().golden.rows[0])  # type: ignore[union-attr]
#: One of which a thousand are too much for the queue.
LONG = ROW | {"remark": "x" * 400}
BODY = {"rows": [ROW]}


class World:
    """A function, its bucket and its queue in memory."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.blobs = MemoryBlobs()
        self.queue = MemoryQueue(self.clock)
        self.key = publish_key(self.blobs, "predict")
        self.function = lambda_bootstrap.build(load({}), {}, blobs=self.blobs, queue=self.queue, clock=self.clock)
        self.publish(1)

    def publish(self, version: int) -> None:
        """Make a version and let the champion be it."""
        pointer = publish_version(self.blobs, sample_model(seed=version), version)
        point_alias(self.blobs, pointer, seq=version, alias="champion")

    def version(self) -> int:
        """Return the version that answers a direct event."""
        answer = self.function.handle({"path": "/v1/predict/flights", "body": BODY})
        assert answer["statusCode"] == 200, answer
        return json.loads(answer["body"])["version"]

    def finish(self) -> None:
        """Wait for what is done beside the last event."""
        thread = self.function._freshness._thread
        assert thread is not None
        thread.join(10)

    def compared(self) -> list[dict[str, Any]]:
        """Return every comparison that the queue holds, and what else it holds not at all."""
        found = []
        for message in self.queue.receive(limit=10, wait_seconds=0, visibility_seconds=60):
            decoded = decode(message.type, message.body)
            found += decoded.records if isinstance(decoded, ShadowScored) else []
            self.queue.delete(message.receipt)
        return found

    def logged(self) -> list[dict[str, Any]]:
        """Return every record that the queue holds."""
        return logged_records(self.queue)


@pytest.fixture
def world() -> World:
    """A function whose model `flights` has version 1 as champion."""
    return World()


def url_event(world: World, *, path: str = "/v1/predict/flights", stage: str = "$default", **changes: Any) -> Any:
    """Return an event of a function URL, as the developer guide shows it."""
    event = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {
            "host": "abc.lambda-url.us-west-2.on.aws",
            "content-type": "application/json",
            "content-length": "3",
            "authorization": f"Bearer {world.key}",
            "x-request-id": "trace-1",
        },
        "requestContext": {
            "stage": stage,
            "requestId": "id",
            "domainName": "abc.lambda-url.us-west-2.on.aws",
            "http": {"method": "POST", "path": path, "sourceIp": "123.123.123.123"},
        },
        "body": json.dumps(BODY),
        "isBase64Encoded": False,
    }
    return {**event, **changes}


def message(body: Any, message_id: str = "m1", queue: str = "arn:aws:sqs:us-east-1:1:asked") -> dict[str, Any]:
    """Return a record of an SQS event."""
    return {
        "messageId": message_id,
        "receiptHandle": "r",
        "body": body if isinstance(body, str) else json.dumps(body),
        "eventSource": "aws:sqs",
        "eventSourceARN": queue,
    }


def failures(answer: Any) -> list[str]:
    """Return the ids of the messages that the queue is to give again."""
    assert set(answer) == {"batchItemFailures"}
    return [item["itemIdentifier"] for item in answer["batchItemFailures"]]


def test_a_function_url_answers_as_http_does(world: World) -> None:
    """Status, headers and body; the record is in the queue before the answer is out."""
    answer = world.function.handle(url_event(world))
    assert answer["statusCode"] == 200
    assert answer["isBase64Encoded"] is False
    assert answer["headers"]["content-type"] == "application/json"
    assert answer["headers"]["x-trainyard-version"] == "1"
    (row,) = json.loads(answer["body"])["rows"]
    (record,) = world.logged()
    assert (record["id"], record["trace_id"], record["inputs"]) == (row["prediction_id"], "trace-1", ROW)


def test_a_body_in_base64_and_a_path_with_a_stage_are_the_same_request(world: World) -> None:
    """API Gateway puts a named stage before the path, and may encode either."""
    encoded = base64.b64encode(json.dumps(BODY).encode()).decode()
    for event in (
        url_event(world, body=encoded, isBase64Encoded=True),
        url_event(world, path="/prod/v1/predict/flights", stage="prod"),
        url_event(world, path="/v1/predict/flights%40champion"),
    ):
        assert world.function.handle(event)["statusCode"] == 200, event


def test_without_a_key_a_url_is_refused_unless_aws_has_checked_who_asks(world: World) -> None:
    """A URL open to IAM alone says so in the event, which no caller from outside can write."""
    event = url_event(world)
    event["headers"]["authorization"] = "AWS4-HMAC-SHA256 Credential=..."
    assert world.function.handle(event)["statusCode"] == 401
    event["requestContext"]["authorizer"] = {"iam": {"accountId": "1", "userId": "AIDA"}}
    assert world.function.handle(event)["statusCode"] == 200
    assert [record["key_id"] for record in world.logged()] == ["iam:AIDA"]


def test_errors_have_the_form_and_status_of_http(world: World) -> None:
    """The function itself fails for none of them."""
    for changes, status in (
        ({"body": "{"}, 400),
        ({"body": None}, 400),
        ({"path": "/v1/predict/nobody"}, 404),
        ({"path": "/nowhere"}, 404),
        ({"body": json.dumps({"rows": [{"nobody": 1}]})}, 422),
        ({"body": "x" * (1024 * 1024 + 1)}, 413),
    ):
        answer = world.function.handle(url_event(world, **changes))
        assert answer["statusCode"] == status, (changes, answer)
        assert "error" in json.loads(answer["body"])


@pytest.mark.parametrize("body", [BODY, json.dumps(BODY)], ids=["object", "text"])
def test_a_direct_invocation_needs_no_key(world: World, body: Any) -> None:
    """Whoever may invoke the function may ask it."""
    answer = world.function.handle({"path": "/v1/predict/flights@champion", "body": body})
    assert answer["statusCode"] == 200
    assert [record["key_id"] for record in world.logged()] == ["iam"]


def test_operations_of_the_service_are_not_open_to_more_than_the_key_of_a_prediction(world: World) -> None:
    """A direct event is a request like any other: its method counts."""
    assert world.function.handle({"path": "/healthz", "method": "GET"})["statusCode"] == 200
    assert world.function.handle({"path": "/v1/predict/flights", "method": "GET"})["statusCode"] == 405


@pytest.mark.parametrize(
    "event",
    [
        [],
        None,
        {},
        {"Records": []},
        {"Records": [{"eventSource": "aws:kinesis"}]},
        {"path": "/x", "httpMethod": "GET"},
        {"path": "/x", "surprise": 1},
        {"path": "/x", "method": 1},
        {"path": "/x", "body": {"x": float("nan")}},
    ],
    ids=str,
)
def test_an_event_that_nobody_knows_is_an_error(world: World, event: Any) -> None:
    """It is not guessed at; Lambda tells the caller."""
    with pytest.raises(ForeignEventError):
        world.function.handle(event)


def test_a_body_that_is_not_the_base64_it_says_is_an_error(world: World) -> None:
    """AWS writes these events, so no caller's mistake can lead here."""
    with pytest.raises(ForeignEventError, match="base64"):
        world.function.handle(url_event(world, body="%", isBase64Encoded=True))


def test_only_messages_that_failed_come_again(world: World) -> None:
    """What cannot be read, is refused, or has no model, among good ones."""
    good = {"path": "/v1/predict/flights", "body": BODY}
    event = {
        "Records": [
            message(good, "a"),
            message("{", "b"),
            message({"path": "/v1/predict/nobody", "body": BODY}, "c"),
            message({"path": "/v1/predict/flights", "body": {"rows": [{"nobody": 1}]}}, "d"),
            message({"surprise": 1}, "e"),
            message([], "f"),
            message(good, "g"),
        ]
    }
    assert failures(world.function.handle(event)) == ["b", "c", "d", "e", "f"]
    assert len(world.logged()) == 2


def test_all_good_is_an_empty_list_of_failures(world: World) -> None:
    """Null or another key would make Lambda repeat the whole batch."""
    assert world.function.handle({"Records": [message({"path": "/v1/predict/flights", "body": BODY})]}) == {
        "batchItemFailures": []
    }


def test_a_message_that_comes_twice_has_the_same_prediction_ids(world: World) -> None:
    """So the log keeps one of them. Two messages have different ids."""
    asked = {"path": "/v1/predict/flights", "body": BODY}
    for message_id in ("m1", "m1", "m2"):
        world.function.handle({"Records": [message(asked, message_id)]})
    first, again, other = (record["id"] for record in world.logged())
    assert first == again != other


def test_a_queue_in_order_settles_nothing_behind_a_failure(world: World) -> None:
    """Else the failed one would be overtaken."""
    good = {"path": "/v1/predict/flights", "body": BODY}
    fifo = "arn:aws:sqs:us-east-1:1:asked.fifo"
    records = [message(good, "a", fifo), message("{", "b", fifo), message(good, "c", fifo)]
    assert failures(world.function.handle({"Records": records})) == ["b", "c"]
    assert len(world.logged()) == 1


def test_a_moved_alias_answers_at_once_after_its_s3_event(world: World) -> None:
    """Directly, or in a message; with other objects nothing happens."""
    assert world.version() == 1
    event = {"Records": [{"eventSource": "aws:s3", "s3": {"object": {"key": "aliases/flights/champion"}}}]}
    world.publish(2)
    other = {"Records": [{"eventSource": "aws:s3", "s3": {"object": {"key": "landing/a+b/%C3%A4"}}}]}
    assert world.function.handle(other) is None
    assert world.version() == 1
    assert world.function.handle(event) is None
    assert world.version() == 2
    world.publish(3)
    assert failures(world.function.handle({"Records": [message(event)]})) == []
    assert world.version() == 3


def test_the_test_event_of_s3_is_ignored(world: World) -> None:
    """S3 sends it once when notifications are set up."""
    assert world.function.handle({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"}) is None


def test_an_environment_that_was_idle_looks_before_it_answers(world: World) -> None:
    """No answer is from a version that was replaced more than 5 s ago, however long nobody asked."""
    assert world.version() == 1
    world.publish(2)
    world.clock.advance(0.9)
    assert world.version() == 1  # not time to look yet
    world.clock.advance(3600)
    assert world.version() == 2


def test_a_busy_environment_looks_beside_its_answers(world: World) -> None:
    """After a second the next event starts a look and does not wait for it."""
    assert world.version() == 1
    world.publish(2)
    world.clock.advance(1.5)
    world.version()
    world.finish()
    assert world.version() == 2


def served(world: World) -> list[ServedModel]:
    """Return what the one process that has said something says."""
    (info,) = world.blobs.list(PREFIX)
    return decode_serving(world.blobs.get(info.key).data)


def test_an_environment_tells_what_it_serves_beside_its_events(world: World) -> None:
    """Not with the first answer, which would wait; then when it changes, and again within the 20 s that count."""
    assert world.version() == 1
    assert list(world.blobs.list(PREFIX)) == []
    world.clock.advance(1.5)
    world.version()
    world.finish()
    assert served(world)[0] == ServedModel("flights", "champion", 1, 1, None)
    world.publish(2)
    world.clock.advance(3600)
    assert world.version() == 2
    world.finish()
    assert [(one.version, one.seq) for one in served(world) if one.asked == "champion"] == [(2, 2)]


def test_an_environment_says_the_same_again_every_15_s_and_no_more_often(world: World) -> None:
    """Each time is a write to S3, and there may be hundreds of environments; silence of 20 s means gone."""
    world.version()
    writes = []
    for _ in range(40):
        world.clock.advance(1)
        world.version()
        world.finish()
        writes += [info.modified_at for info in world.blobs.list(PREFIX)]
    assert len(set(writes)) == 3


def test_that_nobody_can_be_told_harms_no_answer(world: World) -> None:
    """The store is away when it is time to tell."""
    assert world.version() == 1
    world.blobs.outage = TransientError("away")
    world.clock.advance(20)
    assert world.version() == 1
    world.finish()
    world.blobs.outage = None
    world.clock.advance(1.5)
    world.version()
    world.finish()
    assert served(world)[0].version == 1


def test_a_shadow_scores_beside_a_later_event(world: World) -> None:
    """No answer waits for it: what was answered is compared when the next event comes, under the prediction's id."""
    world.version()
    pointer = publish_version(world.blobs, sample_model(seed=9), 9)
    point_alias(world.blobs, pointer, seq=2, alias="shadow")
    world.clock.advance(5)
    world.version()
    world.finish()
    world.compared()
    answer = world.function.handle({"path": "/v1/predict/flights", "body": BODY})
    ids = [row["prediction_id"] for row in json.loads(answer["body"])["rows"]]
    assert world.compared() == []
    world.clock.advance(1.5)
    assert world.version() == 1
    world.finish()
    compared = world.compared()
    assert ids[0] in [record["id"] for record in compared]
    assert {(record["version"], record["shadow_version"]) for record in compared} == {(1, 9)}


def test_a_store_that_is_away_leaves_the_last_version_answering(world: World) -> None:
    """Also after a long pause; and keys that were read stay good."""
    assert world.function.handle(url_event(world))["statusCode"] == 200
    world.blobs.outage = TransientError("away")
    world.clock.advance(3600)
    assert world.function.handle(url_event(world))["statusCode"] == 200


def test_an_answer_whose_record_the_queue_did_not_take_says_so(world: World) -> None:
    """There is no disk that would keep it."""
    world.queue.outage = TransientError("away")
    answer = world.function.handle({"path": "/v1/predict/flights", "body": BODY})
    assert answer["statusCode"] == 200
    assert json.loads(answer["body"])["rows"][0]["logged"] is False


@pytest.mark.parametrize(("rows", "stored"), [(300, False), (1000, True)])
def test_records_of_many_rows(world: World, rows: int, stored: bool) -> None:
    """Up to 200 KiB they are messages; beyond it one message says where on S3 the messages are."""
    answer = world.function.handle({"path": "/v1/predict/flights", "body": {"rows": [LONG] * rows}})
    ids = [row["prediction_id"] for row in json.loads(answer["body"])["rows"]]
    if stored:
        (message,) = world.queue.receive(limit=10, wait_seconds=0, visibility_seconds=60)
        pointer = decode(message.type, message.body)
        assert isinstance(pointer, PredictionsStored)
        data = world.blobs.get(pointer.key).data
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (pointer.sha256, pointer.size)
        read = [decode("PredictionLogged", body) for body in stored_bodies(data)]
        parts = [part for part in read if isinstance(part, PredictionLogged)]
        logged = [record for part in parts for entry in part.records for record in records_of(entry)]
    else:
        logged = world.logged()
    assert sorted(record["id"] for record in logged) == sorted(ids)


def test_a_store_that_does_not_take_many_records_is_said(world: World) -> None:
    """As when the queue is away."""
    assert world.version() == 1
    world.blobs.outage = TransientError("away")
    answer = world.function.handle({"path": "/v1/predict/flights", "body": {"rows": [LONG] * 1000}})
    assert answer["statusCode"] == 200
    assert json.loads(answer["body"])["rows"][999]["logged"] is False
