"""The shim does what it was told to, and the adapter loses nothing behind it."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from trainyard.adapters.aws.clients import AwsClients
from trainyard.adapters.aws.s3 import S3Blobs
from trainyard.adapters.aws.sqs import SqsQueue
from trainyard.clock import SystemClock
from trainyard.contracts.queue import Outgoing
from trainyard.errors import TransientError
from trainyard.testing.emulator import ACCESS_KEY, SECRET_KEY
from trainyard.testing.nasty_sqs import Nastiness, NastySqs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainyard.adapters.aws.ensure import AwsSetup
    from trainyard.config import Config
    from trainyard.contracts.queue import Queue, Received

_SEED = 20260101
_BOTO_ATTEMPTS = 3


@pytest.fixture
def shim(aws_emulator: str, aws_setup: AwsSetup) -> Iterator[NastySqs]:
    """A shim that is kind until the test says otherwise."""
    with NastySqs(aws_emulator, seed=_SEED) as shim:
        yield shim


@pytest.fixture
def clients(shim: NastySqs, aws_config: Config) -> Iterator[AwsClients]:
    """Clients behind the shim."""
    config = replace(aws_config, aws_endpoint_url=shim.endpoint)
    clients = AwsClients(config, access_key=ACCESS_KEY, secret_key=SECRET_KEY)
    yield clients
    clients.close()


@pytest.fixture
def queue(clients: AwsClients, aws_config: Config) -> SqsQueue:
    """A queue behind the shim."""
    return SqsQueue(clients.sqs, aws_config.queue_training)


def _send_all(queue: Queue, messages: list[Outgoing], *, seconds: float = 60) -> None:
    """Send as the outbox does: again and again, until each message was accepted."""
    clock = SystemClock()
    deadline = clock.monotonic() + seconds
    while messages:
        assert clock.monotonic() < deadline, f"{len(messages)} messages were never accepted"
        try:
            refused = queue.send(messages)
        except TransientError:
            continue
        messages = [messages[index] for index in refused]


def _drain(queue: Queue, wanted: set[str], *, readers: int = 1, seconds: float = 90) -> list[Received]:
    """Receive and settle with several readers until every wanted body was seen; return every delivery."""
    clock = SystemClock()
    deadline = clock.monotonic() + seconds
    deliveries: list[Received] = []

    def read() -> None:
        while missing := wanted - {message.body for message in deliveries}:
            assert clock.monotonic() < deadline, f"lost: {sorted(missing)}"
            try:
                received = queue.receive(limit=10, wait_seconds=1, visibility_seconds=2)
                deliveries.extend(received)
                for message in received:
                    queue.delete(message.receipt)
            except TransientError:
                continue

    with ThreadPoolExecutor(readers) as pool:
        for reader in [pool.submit(read) for _ in range(readers)]:
            reader.result()
    return deliveries


def test_two_hundred_messages_through_everything_at_once(shim: NastySqs, queue: SqsQueue) -> None:
    """Whatever SQS does, every message arrives at least once, and a reader who remembers bodies sees each as one."""
    shim.nastiness = Nastiness(
        redeliver=0.2,
        reorder=0.2,
        delay_delete=0.2,
        unavailable=0.03,
        throttle=0.03,
        fail_entries=0.1,
        lose_reply=0.03,
    )
    bodies = {f"message {number}" for number in range(200)}
    _send_all(queue, [Outgoing("T", body) for body in sorted(bodies)])
    deliveries = _drain(queue, bodies, readers=4)
    assert {message.body for message in deliveries} == bodies
    assert len(deliveries) > len(bodies)
    assert all(shim.counts[fault] for fault in ("redeliver", "reorder", "delay_delete", "fail_entries"))
    assert shim.counts["unavailable"] + shim.counts["throttle"] + shim.counts["lose_reply"] > 0


def test_redelivery_after_delete(shim: NastySqs, queue: SqsQueue) -> None:
    """A settled message comes back once more under the same id, and settling the copy is no error."""
    shim.nastiness = Nastiness(redeliver=1.0)
    queue.send([Outgoing("T", "x")])
    (first,) = queue.receive(limit=1, wait_seconds=0, visibility_seconds=30)
    queue.delete(first.receipt)
    (copy,) = queue.receive(limit=1, wait_seconds=0, visibility_seconds=30)
    assert (copy.message_id, copy.body, copy.receive_count) == (first.message_id, "x", 2)
    assert not queue.extend(copy.receipt, 30)
    queue.delete(copy.receipt)
    assert queue.receive(limit=1, wait_seconds=0, visibility_seconds=30) == []


def test_reordering(shim: NastySqs, queue: SqsQueue) -> None:
    """Messages arrive in another order than they were sent in, and all of them do."""
    sent = [f"{number:02}" for number in range(30)]
    queue.send([Outgoing("T", body) for body in sent])
    shim.nastiness = Nastiness(reorder=0.4)
    received = [message.body for message in _drain(queue, set(sent))]
    assert received != sent
    assert sorted(received) == sent


def test_refused_entries_are_named(shim: NastySqs, queue: SqsQueue) -> None:
    """An answer of 200 that refuses some messages: exactly those indexes come back, and exactly the others arrive."""
    shim.nastiness = Nastiness(fail_entries=0.5)
    refused = queue.send([Outgoing("T", str(index)) for index in range(40)])
    assert len(refused) == shim.counts["fail_entries"]
    assert 0 < len(refused) < 40
    accepted = {str(index) for index in range(40)} - {str(index) for index in refused}
    assert {message.body for message in _drain(queue, accepted)} == accepted
    assert queue.depth().total == 0


def test_lost_answer_to_a_send(shim: NastySqs, queue: SqsQueue) -> None:
    """When the answer is lost the message may be there several times; the caller is told that it is not sure."""
    queue.depth()
    shim.lose_next("SendMessageBatch", times=_BOTO_ATTEMPTS)
    with pytest.raises(TransientError, match="send to queue"):
        queue.send([Outgoing("T", "x")])
    assert queue.depth().visible == _BOTO_ATTEMPTS
    shim.lose_next("SendMessageBatch")
    assert queue.send([Outgoing("T", "y")]) == []


@pytest.mark.parametrize("fault", ["unavailable", "throttle"])
def test_refused_calls(shim: NastySqs, queue: SqsQueue, fault: str) -> None:
    """503 and throttling are failures that pass; nothing was done."""
    shim.nastiness = replace(Nastiness(), **{fault: 1.0})
    with pytest.raises(TransientError):
        queue.send([Outgoing("T", "x")])
    assert shim.counts[fault] == _BOTO_ATTEMPTS
    shim.nastiness = Nastiness()
    assert queue.depth().total == 0


def test_delayed_delivery(shim: NastySqs, queue: SqsQueue) -> None:
    """A message that is delayed is there, hidden, and is delivered in the end."""
    shim.nastiness = Nastiness(delay=1.0, delay_seconds=1)
    assert queue.send([Outgoing("t", "late")]) == []
    depth = queue.depth()
    assert (depth.visible, depth.total) == (0, 1)
    assert [message.body for message in _drain(queue, {"late"})] == ["late"]
    assert shim.counts["delay"] == 1


def test_delayed_delete(shim: NastySqs, queue: SqsQueue) -> None:
    """A delete that was confirmed takes effect later."""
    shim.nastiness = Nastiness(delay_delete=1.0, delete_delay_seconds=0.2)
    queue.send([Outgoing("T", "x")])
    (message,) = queue.receive(limit=1, wait_seconds=0, visibility_seconds=30)
    queue.delete(message.receipt)
    shim.settle()
    assert queue.depth().total == 0


def test_lies_about_the_depth(shim: NastySqs, queue: SqsQueue) -> None:
    """Counts are approximate: asked often enough, SQS gives more than one number for the same queue."""
    queue.send([Outgoing("T", str(index)) for index in range(10)])
    shim.nastiness = Nastiness(lie=1.0)
    assert len({queue.depth().visible for _ in range(20)}) > 1


def test_other_services_pass_untouched(shim: NastySqs, clients: AwsClients, aws_config: Config) -> None:
    """With every fault certain, S3 behind the shim is as before."""
    shim.nastiness = Nastiness(unavailable=1.0, throttle=1.0, lose_reply=1.0)
    blobs = S3Blobs(clients.s3, aws_config.bucket)
    data = bytes(range(256)) * 1000
    etag = blobs.put("a/b c", data)
    assert blobs.get("a/b c").data == data
    assert blobs.get_if_changed("a/b c", etag) is None
    clients.s3.head_object(Bucket=aws_config.bucket, Key="a/b c")
    assert [info.size for info in blobs.list("a/")] == [len(data)]


def test_same_seed_same_faults(aws_emulator: str, aws_setup: AwsSetup, aws_config: Config) -> None:
    """One client that asks the same meets the same faults."""
    refusals = []
    for _ in range(2):
        with NastySqs(aws_emulator, Nastiness(fail_entries=0.5), seed=7) as shim:
            config = replace(aws_config, aws_endpoint_url=shim.endpoint)
            clients = AwsClients(config, access_key=ACCESS_KEY, secret_key=SECRET_KEY)
            refusals.append(SqsQueue(clients.sqs, config.queue_arrived).send([Outgoing("T", "x")] * 30))
            clients.close()
    assert refusals[0] == refusals[1] != []


@pytest.mark.parametrize("body", [b"", b'{"Queue'])
def test_a_client_that_is_killed_in_a_call_is_no_fault_of_the_shim(body: bytes) -> None:
    """Half a call gets no answer and does nothing; leaving the block raises nothing."""
    head = b"POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: AmazonSQS.ReceiveMessage\r\nContent-Length: 40\r\n\r\n"
    with NastySqs("http://127.0.0.1:1") as shim:
        address = urlsplit(shim.endpoint)
        with socket.create_connection((address.hostname, address.port), timeout=10) as client:
            client.sendall(head + body)
            client.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b""
