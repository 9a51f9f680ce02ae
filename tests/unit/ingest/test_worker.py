"""Landing files, notifications, the sweep and the loops, over the fakes."""

import json
import threading
from urllib.parse import quote_plus

import pytest

from trainyard.clock import ManualClock, SystemClock
from trainyard.contracts.queue import Outgoing
from trainyard.errors import MessageError, TransientError
from trainyard.loops import Loop
from trainyard.schema import Column, Schema
from trainyard.testing.fakes import MemoryBlobs, MemoryQueue, MemoryWarehouse
from trainyard_ingest.edges import Consumer, Sweeping, created_objects, landing_handler
from trainyard_ingest.main import EXIT_FAULT, EXIT_OK, run
from trainyard_ingest.use_cases.intake import RowIntake
from trainyard_ingest.use_cases.landing import Landing, landing_file

KEY = "landing/shop/2013/first file.csv"


class World:
    """A landing over fakes, with one dataset."""

    def __init__(self):
        self.clock = ManualClock()
        self.blobs = MemoryBlobs()
        self.warehouse = MemoryWarehouse(self.clock)
        self.warehouse.create("shop", Schema([Column("id", "int", nullable=False)]), actor="k")
        self.landing = Landing("bucket", self.blobs, self.warehouse, RowIntake(self.warehouse, SystemClock()))
        self.dead = MemoryQueue(self.clock)
        self.queue = MemoryQueue(self.clock, dead_letters=self.dead)
        self.stop = threading.Event()
        self.database_answers = True
        self.asked = []

    def consumer(self, handle=None):
        return Consumer(
            self.queue,
            handle or landing_handler(self.landing, lambda: self.asked.append(1)),
            ready=lambda: self.database_answers,
            stop=self.stop,
            clock=self.clock,
            visibility_seconds=60,
        )

    def batches(self):
        return self.warehouse.batches(self.warehouse.dataset("shop"), limit=100)


@pytest.fixture
def world():
    """A fresh world."""
    return World()


def _event(key, etag):
    record = {"eventName": "ObjectCreated:Put", "s3": {"object": {"key": quote_plus(key, safe="/"), "eTag": etag}}}
    return Outgoing("any", json.dumps({"Records": [record]}))


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("landing/shop/a.csv", ("shop", "csv")),
        ("landing/shop/2013/01/A.CSV", ("shop", "csv")),
        ("landing/shop/a.ndjson", ("shop", "ndjson")),
        ("landing/shop/a.jsonl", ("shop", "ndjson")),
        ("landing/shop/a.json", ("shop", "json")),
        ("landing/shop/a.txt", None),
        ("landing/shop/", None),
        ("landing/shop.csv", None),
        ("landing/Shop/a.csv", None),
        ("models/shop/a.csv", None),
        ("landing/shop/a\0.csv", None),
        ("landing/shop/\ud800.csv", None),
        ("landing/shop/" + "a" * 1_008 + ".csv", None),
        ("landing/shop/" + "a" * 1_007 + ".csv", ("shop", "csv")),
    ],
    ids=range(14),
)
def test_landing_keys(key, found):
    """Dataset and format come from the key; other keys are no landing files."""
    file = landing_file(key)
    assert (file and (file[0], file[1].name)) == found


def test_file_once(world):
    """A file becomes one batch, however often it is announced; written anew it becomes another."""
    etag = world.blobs.put(KEY, b"id\n1\n2\n")
    for _ in range(3):
        world.landing.take(KEY, etag)
    assert world.landing.sweep(lambda: False) == 0
    (batch,) = world.batches()
    assert (batch.source, batch.source_name, batch.state, batch.rows) == ("landing", KEY, "committed", 2)
    world.landing.take(KEY, world.blobs.put(KEY, b"id\n3\n"))
    assert [b.rows for b in world.batches()] == [1, 2]


def test_file_that_changed_or_went(world):
    """A notification of a file that is not as it was does nothing: the new one has its own."""
    etag = world.blobs.put(KEY, b"id\n1\n")
    world.blobs.put(KEY, b"id\n2\n")
    world.landing.take(KEY, etag)
    world.blobs.delete(KEY)
    world.landing.take(KEY, etag)
    assert world.batches() == []


@pytest.mark.parametrize(
    ("name", "body", "reason"),
    [
        ("a.csv", b"", "empty_body"),
        ("a.csv", b'id\n"1\n', "bad_csv"),
        ("a.csv", b"id\nx\n", "invalid_rows"),
        ("a.csv", b"more\n1\n", "invalid_rows"),
        ("a.json", b"{", "bad_json"),
        ("a.ndjson", b"[]\n", "invalid_rows"),
    ],
)
def test_file_that_cannot_be_a_batch(world, name, body, reason):
    """It is refused once, with the reason and the problems, and not tried again."""
    key = f"landing/shop/{name}"
    etag = world.blobs.put(key, body)
    world.landing.take(key, etag)
    world.landing.take(key, etag)
    assert world.landing.sweep(lambda: False) == 0
    (batch,) = world.batches()
    assert (batch.state, batch.source_name, batch.rows) == ("refused", key, 0)
    assert batch.reason.startswith(f"{reason}: ")
    assert bool(world.warehouse.rejects(batch, limit=5)) == (reason == "invalid_rows")


def test_sweep_finds_what_was_not_announced(world):
    """Files without notification are taken; ones that are no rows or have no dataset yet are left."""
    for number in range(3):
        world.blobs.put(f"landing/shop/{number}.csv", b"id\n%d\n" % number)
    world.blobs.put("landing/shop/readme.txt", b"hello")
    world.blobs.put("landing/later/1.csv", b"id\n1\n")
    assert world.landing.sweep(lambda: False) == 3
    assert world.landing.sweep(lambda: False) == 0
    world.warehouse.create("later", Schema([Column("id", "int")]), actor="k")
    assert world.landing.sweep(lambda: False) == 1


def test_sweep_stops_when_asked(world):
    """A stop is not kept waiting by a long list."""
    world.blobs.put("landing/shop/1.csv", b"id\n1\n")
    assert world.landing.sweep(lambda: True) == 0
    assert world.batches() == []


def test_notifications(world):
    """Each announced file is taken and its message settled; S3's test event asks for a sweep."""
    etag = world.blobs.put(KEY, b"id\n1\n")
    world.queue.send(
        [Outgoing("any", '{"Event": "s3:TestEvent"}'.ljust(40)), _event(KEY, etag), _event("other/x", "e")]
    )
    world.consumer().step()
    assert [b.rows for b in world.batches()] == [1]
    assert (world.queue.depth().total, world.asked) == (0, [1])


@pytest.mark.parametrize(
    ("said", "size"), [(None, None), (7, 7), (0, 0), (-1, None), (True, None), ("7", None), (2**70, None)]
)
def test_the_size_that_is_announced(said, size):
    """It is only for people who wait, so one that cannot be is as good as none."""
    record = json.loads(_event(KEY, "e").body)["Records"][0]
    record["s3"]["object"]["size"] = said
    assert created_objects(json.dumps({"Records": [record]})) == [(KEY, "e", size)]


@pytest.mark.parametrize("body", ["", "nonsense", "[]", "{}", '{"Records": 5}', '{"Records": [{"eventName": "x"}, 5]}'])
def test_not_a_notification(body):
    """What is not an S3 notification is a message that can never be handled."""
    with pytest.raises(MessageError):
        created_objects(body)


@pytest.mark.parametrize("etag", ["", "a b", "x\r\ny", "x\0", "é", "x" * 129])
def test_not_an_etag(etag):
    """What could not stand in a header is never asked for: no answer would ever come."""
    with pytest.raises(MessageError):
        created_objects(_event(KEY, etag).body)


def test_nesting_without_end():
    """JSON that is deeper than the stack is no notification, and ends nothing."""
    with pytest.raises(MessageError):
        created_objects("[" * 100_000)


def test_message_that_makes_the_handler_crash(world):
    """A fault in the handling of one message ends neither the loop nor those behind it; it becomes a dead letter."""
    handled = []

    def handle(message):
        if message.body == "bad":
            raise ZeroDivisionError
        handled.append(message.body)

    world.queue.send([Outgoing("any", "bad"), Outgoing("any", "good")])
    consumer = world.consumer(handle)
    for _ in range(7):
        consumer.step()
        world.clock.advance(61)
    assert handled == ["good"]
    assert (world.queue.depth().total, world.dead.depth().total) == (0, 1)


def test_poison_goes_to_the_dead_letters(world):
    """A message that can never be handled is given back until the queue gives it up; others pass it."""
    etag = world.blobs.put(KEY, b"id\n1\n")
    world.queue.send([Outgoing("any", "nonsense"), _event(KEY, etag)])
    consumer = world.consumer()
    for _ in range(7):
        consumer.step()
        world.clock.advance(61)
    assert (world.queue.depth().total, world.dead.depth().total) == (0, 1)
    assert len(world.batches()) == 1


def test_an_outage_does_not_use_up_receives(world):
    """While the database is away nothing is received, so nothing becomes a dead letter."""
    world.queue.send([_event(KEY, world.blobs.put(KEY, b"id\n1\n"))])
    world.database_answers = False
    for _ in range(10):
        with pytest.raises(TransientError):
            world.consumer().step()
    world.database_answers = True
    world.consumer().step()
    assert (len(world.batches()), world.queue.depth().total) == (1, 0)


def test_a_short_outage_is_sat_out(world):
    """A message that meets an outage is tried again while it is ours."""
    world.queue.send([Outgoing("any", "x")])
    left = [TransientError("away")] * 2

    def handle(_message):
        if left:
            raise left.pop()

    world.consumer(handle).step()
    assert world.queue.depth().total == 0


def test_a_long_outage_gives_the_message_up(world):
    """When its time is nearly over the message is left, to come back later."""
    world.queue.send([Outgoing("any", "x")])

    def handle(_message):
        world.clock.advance(50)
        raise TransientError("away")

    with pytest.raises(TransientError):
        world.consumer(handle).step()
    assert world.queue.depth().in_flight == 1


def test_messages_are_given_back_at_a_stop(world):
    """After a stop nothing more is begun: what was received goes back at once."""
    world.queue.send([Outgoing("any", "x")])
    world.consumer(lambda _message: world.stop.set()).step()
    world.queue.send([Outgoing("any", "y"), Outgoing("any", "z")])
    world.consumer(lambda _message: pytest.fail("begun")).step()
    assert (world.queue.depth().visible, world.queue.depth().in_flight) == (2, 0)


def test_sweeping_comes_back_until_it_worked(world):
    """A sweep that met an outage stays due; one that worked waits for its time or until it is asked."""
    world.blobs.put("landing/shop/1.csv", b"id\n1\n")
    sweeping = Sweeping(world.landing, world.stop, 3600)
    world.blobs.outage = TransientError("away")
    with pytest.raises(TransientError):
        sweeping.step()
    world.blobs.outage = None
    sweeping.step()
    assert len(world.batches()) == 1
    world.blobs.put("landing/shop/2.csv", b"id\n2\n")
    sweeping.soon()
    sweeping.step()
    assert len(world.batches()) == 2
    world.stop.set()
    sweeping.step()


def test_worker_ends_well_or_with_a_fault():
    """A stop that was asked for ends with 0; a fault in one loop stops all and ends with 1."""
    stop = threading.Event()
    assert run([Loop("one", stop.set, stop=stop)], stop) == EXIT_OK
    stop = threading.Event()

    def fault():
        raise RuntimeError("a fault")

    loops = [Loop("good", lambda: stop.wait(0.01), stop=stop), Loop("bad", fault, stop=stop)]
    assert run(loops, stop) == EXIT_FAULT
