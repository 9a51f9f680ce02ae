"""A prediction is on disk before it is answered, and reaches the queue whatever happens in between."""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import msgpack
import pytest

from trainyard.contracts.queue import MAX_BYTES
from trainyard.errors import TransientError
from trainyard.messages import PredictionLogged, decode
from trainyard.testing.models import sample_rows
from trainyard_predictor import domain
from trainyard_predictor.edges import outbox, shipper
from trainyard_predictor.edges.shipper import Shipper
from trainyard_predictor.edges.spool import FORGOTTEN_AT_ONCE, Spool, SpoolFullError
from trainyard_predictor.handler import Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import World

ROWS = sample_rows(3, seed=4)


def ids_of(body: bytes) -> list[str]:
    """Return the prediction ids of an answer."""
    return [row["prediction_id"] for row in json.loads(body)["rows"]]


def test_the_record_says_all(world: World) -> None:
    """Inputs as they were sent, the output as it was answered, who asked, by which trace, and when."""
    response = world.ask("flights", {"rows": ROWS}, x_request_id="trace-7")
    answer = json.loads(response.body)
    records = world.logged()
    assert [record["id"] for record in records] == ids_of(response.body)
    for record, row, got in zip(records, ROWS, answer["rows"], strict=True):
        assert record["latency_us"] >= 0
        assert {name: value for name, value in record.items() if name not in ("id", "latency_us")} == {
            "model": "flights",
            "version": 1,
            "key_id": world.key.split("_")[1],
            "trace_id": "trace-7",
            "inputs": row,
            "output": {"prediction": got["prediction"], "probabilities": got["probabilities"]},
            "predicted_at": "2026-01-01T00:00:00.000000+00:00",
        }


def test_an_idempotency_key_gives_the_same_ids(world: World) -> None:
    """A repeated request has the ids of the first; another key, another API key or another row has others."""
    first = ids_of(world.ask("flights", {"rows": ROWS}, idempotency_key="a").body)
    again = ids_of(world.ask("flights", {"rows": ROWS}, idempotency_key="a").body)
    other = ids_of(world.ask("flights", {"rows": ROWS}, idempotency_key="b").body)
    assert first == again
    assert len({*first, *other, *domain.repeatable_ids("another", "a", 3)}) == 9
    assert all(len(ident) == 35 and ident.startswith("pr_") for ident in first)


def test_the_queue_may_be_away(world: World) -> None:
    """Answers go on as if nothing were; afterwards every record arrives, and the disk is empty again."""
    world.queue.outage = TransientError("no route to SQS")
    sent = []
    for _ in range(5):
        response = world.ask("flights", {"rows": ROWS})
        assert response.status == 200
        assert b'"logged"' not in response.body
        sent += ids_of(response.body)
        world.service.background.ship()
    assert world.service.spool.waiting_bytes > 0
    world.queue.outage = None
    assert [record["id"] for record in world.logged()] == sent
    assert world.service.spool.waiting_bytes == 0
    assert list(world.config.spool_dir.glob("*.spool")) == []


def test_a_spool_that_cannot_be_written_is_confessed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a full disk predictions are still answered, each with `"logged": false`, and counted."""

    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(os, "write", full)
    response = world.ask("flights", {"rows": ROWS})
    assert response.status == 200
    assert [row["logged"] for row in json.loads(response.body)["rows"]] == [False] * 3
    monkeypatch.undo()
    assert b"trainyard_predictions_not_logged_total 3\n" in world.get("/metrics").body
    after = ids_of(world.ask("flights", {"rows": ROWS}).body)
    assert [record["id"] for record in world.logged()] == after


def test_a_record_that_was_half_written_is_taken_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short write leaves nothing behind, so that the next record is read whole."""
    real = os.write
    first = ids_of(world.ask("flights", {"rows": ROWS}).body)
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:20]))
    assert b'"logged":false' in world.ask("flights", {"rows": ROWS}).body
    monkeypatch.undo()
    last = ids_of(world.ask("flights", {"rows": ROWS}).body)
    assert [record["id"] for record in world.logged()] == first + last


def test_a_row_that_could_never_be_logged_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row whose record no queue message can carry gets 413 with its number."""
    largest = {"remark": "x" * 65_536, "carrier": "é" * 128}
    assert world.ask("flights", {"rows": [largest] * 10}).status == 200
    assert len(world.logged()) == 10
    monkeypatch.setattr(domain, "MAX_RECORD_BYTES", 65_536)
    response = world.ask("flights", {"rows": [{}, largest]})
    assert response.status == 413
    assert [detail["row"] for detail in json.loads(response.body)["error"]["details"]] == [2]
    assert world.logged() == []


def test_messages_fit_the_queue() -> None:
    """However large records are, each message stays under the queue's limit and none is lost or reordered."""
    records = [msgpack.packb({"id": f"pr_{n}", "x": "y" * size}) for n, size in enumerate([10, 130_000, 5, 100_000, 9])]
    answers = [[b] for b in records] + [[msgpack.packb({"id": f"pr_{n}", "x": "z" * 700}) for n in range(5, 1005)]]
    made = [(PredictionLogged.outgoing_of(message), count) for message, count in outbox.joined(answers)]
    assert all(message.size_bytes <= MAX_BYTES * 0.8 for message, _ in made)
    got = []
    for message, count in made:
        decoded = decode(message.type, message.body)
        assert isinstance(decoded, PredictionLogged)
        assert len(decoded.records) == count
        got += [record["id"] for record in decoded.records]
    assert got == [f"pr_{n}" for n in range(1005)]


def test_segments_of_the_dead_are_adopted_and_those_of_the_living_are_not(tmp_path: Path, world: World) -> None:
    """A lock tells them apart: what a closed (or dead) process left is shipped once, by one heir."""
    directory = tmp_path / "shared"
    living, gone = Spool(directory), Spool(directory)
    living.append([msgpack.packb({"id": "pr_living"})])
    gone.append([msgpack.packb({"id": "pr_gone"})])
    gone.append([msgpack.packb({"id": "pr_gone_too"})])
    assert Spool(directory).adopt() == 0
    gone.close()
    heir, late = Spool(directory), Spool(directory)
    assert (heir.adopt(), late.adopt()) == (1, 0)
    assert Shipper(heir, world.queue, world.blobs, world.clock).ship()
    assert [record["id"] for record in world.logged()] == ["pr_gone", "pr_gone_too"]
    assert Shipper(living, world.queue, world.blobs, world.clock).ship()
    assert [record["id"] for record in world.logged()] == ["pr_living"]
    assert list(directory.glob("*.spool")) == []


@pytest.mark.parametrize("cut", [1, 4, 7, 9, 30])
def test_a_cut_off_end_costs_only_itself(tmp_path: Path, world: World, cut: int) -> None:
    """A process killed in the middle of a write leaves a frame without an end: everything before it is shipped."""
    dead = Spool(tmp_path / "s")
    dead.append([msgpack.packb({"id": "pr_1"}), msgpack.packb({"id": "pr_2"})])
    dead.append([msgpack.packb({"id": "pr_3", "x": "y" * 50})])
    dead.close()
    path = next((tmp_path / "s").glob("*.spool"))
    path.write_bytes(path.read_bytes()[:-cut])
    heir = Spool(tmp_path / "s")
    heir.adopt()
    assert Shipper(heir, world.queue, world.blobs, world.clock).ship()
    assert [record["id"] for record in world.logged()] == ["pr_1", "pr_2"]
    assert list((tmp_path / "s").glob("*.spool")) == []


def test_a_damaged_frame_is_kept_for_people(tmp_path: Path, world: World) -> None:
    """Bytes that changed on disk end the segment; a copy stays beside it."""
    dead = Spool(tmp_path / "s")
    dead.append([msgpack.packb({"id": "pr_1"})])
    dead.append([msgpack.packb({"id": "pr_2"})])
    dead.close()
    path = next((tmp_path / "s").glob("*.spool"))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    heir = Spool(tmp_path / "s")
    heir.adopt()
    assert Shipper(heir, world.queue, world.blobs, world.clock).ship()
    assert [record["id"] for record in world.logged()] == ["pr_1"]
    assert {kept.suffix for kept in (tmp_path / "s").iterdir()} == {".damaged", ".sent"}


def test_the_spool_is_bounded_and_private(tmp_path: Path) -> None:
    """Beyond its limit the spool refuses, and nobody else on the machine can read what customers sent."""
    spool = Spool(tmp_path / "s", max_bytes=200, segment_bytes=64)
    for _ in range(4):
        spool.append([b"x" * 30])
    with pytest.raises(SpoolFullError):
        spool.append([b"x" * 30])
    assert spool.waiting_bytes == 4 * 41
    assert spool.writable
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o700
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in (tmp_path / "s").iterdir())
    spool.close()


def test_what_was_sent_is_deleted_a_little_at_a_time(tmp_path: Path, world: World) -> None:
    """After a day without a queue many segments are sent at once; two minutes later no round deletes them all."""
    spool = Spool(tmp_path / "s", segment_bytes=1)
    sending = Shipper(spool, world.queue, world.blobs, world.clock)
    for number in range(2 * FORGOTTEN_AT_ONCE + 3):
        spool.append([msgpack.packb({"id": f"pr_{number}"})])
    assert sending.ship()
    kept = []
    for _ in range(4):
        world.clock.advance(shipper.KEEP_SECONDS + 1)
        assert sending.ship()
        kept.append(len(list((tmp_path / "s").glob("*.sent"))))
    assert kept == [FORGOTTEN_AT_ONCE + 3, 3, 0, 0]
    spool.close()


def test_no_answer_waits_for_a_disk_that_is_slow_to_rename(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a sent segment gets its new name, records are appended."""
    spool = Spool(tmp_path / "s")
    spool.append([msgpack.packb({"id": "pr_1"})])
    real, appended = Path.rename, threading.Event()

    def slow(path: Path, target: Path) -> Path:
        if path.suffix == ".spool":
            other = threading.Thread(target=lambda: (spool.append([msgpack.packb({"id": "pr_2"})]), appended.set()))
            other.start()
            assert appended.wait(20)
        return real(path, target)

    monkeypatch.setattr(Path, "rename", slow)
    assert Shipper(spool, world.queue, world.blobs, world.clock).ship()
    assert spool.waiting_bytes
    spool.close()


@pytest.mark.parametrize(("policy", "status"), [("closed", 503), ("open", 200)])
def test_a_full_disk_counts_where_nothing_is_answered_without_a_record(
    made_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch, policy: str, status: int
) -> None:
    """Under `closed` requests had better go elsewhere; under `open` they are answered here as well as anywhere."""
    world = made_world(TRAINYARD_PREDICTION_LOG_POLICY=policy)

    def ready() -> int:
        return world.service.handler.handle(Request("GET", "/readyz", "", {"host": "localhost"})).status

    assert world.ask("flights", {"rows": ROWS}).status == 200
    assert ready() == 200
    real = os.statvfs
    full = lambda path: os.statvfs_result([*real(path)[:4], 0, *real(path)[5:]])  # noqa: E731 - room for others
    monkeypatch.setattr(os, "statvfs", full)
    assert ready() == status


@pytest.mark.parametrize("size", [70_000, 120_000])
def test_a_part_of_a_segment_may_be_sent_twice_but_never_lost(world: World, size: int) -> None:
    """When the queue refuses some messages of a call, the whole segment is sent again, with the same ids."""
    refused = iter([[0]])
    real = world.queue.send

    class Picky:
        made_at = world.queue.made_at

        def send(self, messages: list[object]) -> list[int]:
            failed = next(refused, [])
            real([m for n, m in enumerate(messages) if n not in failed])  # type: ignore[misc]
            return failed

    spool = world.service.spool
    spool.append([msgpack.packb({"id": f"pr_{n}", "x": "y" * size}) for n in range(2)])
    sender = Shipper(spool, Picky(), world.blobs, world.clock)  # type: ignore[arg-type]
    assert not sender.ship()
    assert sender.ship()
    assert {record["id"] for record in world.logged()} == {"pr_0", "pr_1"}


def test_many_records_go_by_way_of_the_store(world: World) -> None:
    """Beyond 200 KiB the queue has one pointer, however much lies behind it; a store that is away loses nothing."""
    rows = [ROWS[0] | {"remark": "x" * 4_000}] * 100
    ids = [ident for _ in range(5) for ident in ids_of(world.ask("flights", {"rows": rows}).body)]
    world.blobs.outage = TransientError("no route to S3")
    world.service.background.ship()
    assert world.queue.depth().total == 0
    world.blobs.outage = None
    world.service.background.ship()
    assert world.queue.depth().total == 1
    assert [record["id"] for record in world.logged()] == ids
    assert world.service.spool.waiting_bytes == 0


def test_what_a_lost_queue_held_is_sent_again(world: World) -> None:
    """A queue that was lost with its messages and made again gets them once more; one that stays gets them once."""
    first = ids_of(world.ask("flights", {"rows": ROWS}).body)
    assert world.service.background.ship() >= 0
    world.clock.advance(5)
    world.service.background.ship()
    assert world.queue.depth().total == 1
    world.queue.lose()
    world.clock.advance(5)
    world.service.background.ship()
    assert [record["id"] for record in world.logged()] == first
    assert list(world.config.spool_dir.glob("*.spool")) == []


def test_what_was_sent_is_kept_for_a_while_only(world: World) -> None:
    """A sent segment leaves the disk after its time, and does not count as waiting before."""
    world.ask("flights", {"rows": ROWS})
    world.service.background.ship()
    assert len(list(world.config.spool_dir.glob("*.sent"))) == 1
    assert world.service.spool.waiting_bytes == world.service.spool.directory_bytes() == 0
    world.clock.advance(shipper.KEEP_SECONDS + 1)
    world.service.background.ship()
    assert list(world.config.spool_dir.glob("*.sent")) == []


def test_what_a_dead_process_sent_of_late_is_sent_again(tmp_path: Path, world: World) -> None:
    """Nobody knows whether the queue of then is that of now, so the reader gets it twice rather than never."""
    dead, heir = Spool(tmp_path / "s"), Spool(tmp_path / "s")
    dead.append([b"x"])
    (segment,) = dead.waiting()
    dead.shipped(segment, at=0.0)
    assert heir.adopt() == 0
    dead.close()
    assert heir.adopt() == 1
    assert [list(found.answers()) for found in heir.waiting()] == [[[b"x"]]]
    heir.close()
