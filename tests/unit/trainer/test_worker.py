"""The worker loop on fakes: what becomes of a message and of its request, whatever happens to the run."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from trainyard.contracts.queue import Outgoing
from trainyard.contracts.runs import MAX_ATTEMPTS
from trainyard.errors import TransientError
from trainyard.messages import DataArrived, TrainingRequest
from trainyard.schema import Column, Schema
from trainyard_trainer import workdir
from trainyard_trainer.domain import EXIT_DATA, EXIT_MEMORY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import World


def test_a_request_becomes_a_version(world: World) -> None:
    """Message, claim, training, artifact, version, promotion, and the message is gone."""
    request_id = world.request()
    assert world.trainer.step()
    assert world.row(request_id).state == "done"
    model = world.runs.models["flights"]
    assert model.aliases == {"champion": (1, 1)}
    assert world.blobs.get(model.versions[1].artifact_key)
    assert world.queue.depth().total == 0
    assert list(world.work_dir.iterdir()) == []
    assert [trial.kind for trial in model.versions[1].trials] == ["prior", "linear"]


def test_a_copy_goes_with_the_version(world: World) -> None:
    """The whole artifact where it is small enough, else none."""
    for limit in (1 << 20, 100):
        world.limit_copies(limit)
        world.request()
        assert world.trainer.step()
    first, second = world.runs.models["flights"].versions.values()
    assert (first.copy, second.copy) == (world.blobs.get(first.artifact_key).data, None)
    assert second.size_bytes > 100


def test_the_same_snapshot_again_gives_the_same_bytes(world: World) -> None:
    """Two requests for one snapshot store one object; the second version finds no row that the first has not seen."""
    for _ in range(2):
        world.request()
        world.trainer.step()
    first, second = world.runs.models["flights"].versions.values()
    assert first.snapshot_hash == second.snapshot_hash
    assert len(list(world.blobs.list("models/"))) == 2  # known_seq is part of the lineage
    assert not second.passed


def test_nothing_new_to_test_on(world: World) -> None:
    """In the order of time a version is tested on rows that came later: without any there is no version, but a reason.

    New rows that only correct known ones are none: an older version may have been fitted on what they replace.
    """
    schema = Schema([*world.schema.columns, Column("at", "timestamp", role="event_time")])
    timed = [{**row, "at": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=row["id"])} for row in world.rows()]
    world.snapshots._datasets.clear()
    world.snapshots.store(1, schema, timed)
    world.request()
    world.trainer.step()
    blocked = [world.request()]
    world.trainer.step()
    world.snapshots.store(1, schema, timed[:3])
    blocked.append(world.request(upto_seq=403))
    world.trainer.step()
    for request_id in blocked:
        row = world.row(request_id)
        assert (row.state, row.error) == ("blocked_by_data", "no new rows since version 1 to test on")
    assert list(world.runs.models["flights"].versions) == [1]
    assert len(world.children.made) == 1
    assert world.queue.depth().total == 0


def test_duplicate_of_a_settled_request_is_deleted(world: World) -> None:
    """A second message of a request that is done changes nothing and goes."""
    request_id = world.request()
    world.trainer.step()
    world.queue.send([TrainingRequest(request_id).outgoing()])
    world.trainer.step()
    assert world.queue.depth().total == 0
    assert len(world.runs.models["flights"].versions) == 1


def test_duplicate_of_a_live_request_is_hidden(world: World) -> None:
    """A message of a request that somebody else holds stays, out of sight for the rest of the lease."""
    request_id = world.request()
    world.runs.claim(request_id, worker="other", instance_id=None, instance_type=None, lease_seconds=40)
    world.trainer.step()
    assert (world.queue.depth().visible, world.queue.depth().in_flight) == (0, 1)
    world.clock.advance(39)
    assert world.queue.depth().visible == 0
    world.clock.advance(3)
    assert world.queue.depth().visible == 1
    assert world.row(request_id).attempt == 1


@pytest.mark.parametrize(
    "poison",
    [
        Outgoing("TrainingRequest", "not base64"),
        Outgoing("TrainingRequest", "x" * 200_000),
        Outgoing("Nonsense", "eA=="),
        DataArrived("d", "b", 1).outgoing(),
        TrainingRequest("../../etc/passwd").outgoing(),
        TrainingRequest("00000000-0000-4000-8000-000000000000").outgoing(),
    ],
    ids=["no base64", "large", "unknown type", "other type", "no uuid", "other environment"],
)
def test_poison_goes_to_the_dead_letters(world: World, poison: Outgoing) -> None:
    """What cannot be read is never deleted by us, never ends the loop, and does not hold up what is healthy."""
    world.queue.send([poison])
    request_id = world.request()
    for _ in range(2):
        world.trainer.step()
    assert world.row(request_id).state == "done"
    for _ in range(6):
        world.clock.advance(world.lease_seconds + 1)
        world.trainer.step()
    assert world.dead_letters.depth().total == 1
    assert world.queue.depth().total == 0


@pytest.mark.parametrize(("code", "error_class"), [(-9, "oom"), (EXIT_MEMORY, "oom"), (-11, "crash"), (1, "crash")])
def test_a_child_that_dies_fails_the_request_after_three(world: World, code: int, error_class: str) -> None:
    """Each death is recorded with its class, the request comes again with a new message, and the third is the last."""
    world.children.script = lambda _: code
    request_id = world.request()
    for attempt in range(1, MAX_ATTEMPTS + 1):
        world.trainer.step()
        row = world.row(request_id)
        assert (row.attempt, row.error_class) == (attempt, error_class)
        assert world.queue.depth().total == 0
        if attempt < MAX_ATTEMPTS:
            assert row.state == "queued"
            assert world.runs.posted == [request_id] * attempt
            world.queue.send([TrainingRequest(request_id).outgoing()])
    assert world.row(request_id).state == "failed"
    assert "Segmentation fault" in world.row(request_id).error
    assert [run.state for run in world.row(request_id).runs] == ["failed"] * MAX_ATTEMPTS


def test_a_child_that_hangs_is_killed(world: World) -> None:
    """A run that is far over its budget ends as 'timeout'."""
    world.lease_for_hours()
    world.children.script = lambda _: None
    request_id = world.request()
    world.trainer.step()
    assert world.row(request_id).error_class == "timeout"
    assert world.children.made[0].killed


def test_bad_data_fail_at_once(world: World) -> None:
    """Another attempt would find the same rows: there is none, and the words of the child are kept."""

    def no_model(directory: Path) -> int:
        workdir.write_json(directory, workdir.ERROR, {"message": "one class only"})
        return EXIT_DATA

    world.children.script = no_model
    request_id = world.request()
    world.trainer.step()
    row = world.row(request_id)
    assert (row.state, row.attempt, row.error_class, row.error) == ("failed", 1, "data", "one class only")
    assert world.queue.depth().total == 0


def test_deleted_dataset(world: World) -> None:
    """A request whose rows are gone for good is poison: it fails at once, and its message goes after that."""
    world.snapshots._datasets.clear()
    request_id = world.request()
    world.trainer.step()
    row = world.row(request_id)
    assert (row.state, row.attempt, row.error_class) == ("failed", 1, "poison")
    assert world.queue.depth().total == 0


def test_a_zombie_publishes_nothing(world: World) -> None:
    """A trainer whose lease was taken over while it trained writes no version, and leaves the message alone."""
    request_id = world.request()

    def stolen(directory: Path) -> int:
        world.row(request_id).lease_until = world.clock.monotonic() - 1
        world.runs.claim(
            request_id, worker="other", instance_id=None, instance_type=None, lease_seconds=world.lease_seconds
        )
        return world.children.learn(directory)

    world.children.script = stolen
    world.trainer.step()
    assert world.runs.models["flights"].versions == {}
    assert world.row(request_id).state == "running"
    assert [run.state for run in world.row(request_id).runs] == ["lost", "running"]
    assert world.queue.depth().total == 1


def test_stopped_while_training(world: World) -> None:
    """A spot notice in the middle: child killed, request queued uncounted with a new message, old message deleted."""

    def noticed(_: Path) -> None:
        world.stop.request("spot notice")

    world.children.script = noticed
    request_id = world.request()
    world.trainer.run()
    row = world.row(request_id)
    assert (row.state, row.attempt) == ("queued", 0)
    assert world.runs.posted == [request_id]
    assert world.queue.depth().total == 0
    assert world.children.made[0].killed
    assert world.children.closed
    assert row.runs[0].error == "spot notice"


def test_stopped_before_the_claim(world: World) -> None:
    """A message that arrives together with the wish to stop is given back at once, untouched."""
    request_id = world.request()
    world.stop.request("SIGTERM")
    assert not world.trainer.step()
    assert world.queue.depth().visible == 1
    assert world.row(request_id).attempt == 0


def test_an_artifact_that_does_not_predict_what_was_tested_is_refused(world: World) -> None:
    """The parent believes its own eyes: other answers than the child's, or other bytes, are never published."""

    def forged(directory: Path) -> int:
        code = world.children.learn(directory)
        answers = np.load(directory / workdir.CHECK)
        np.save(directory / workdir.CHECK, answers + 1e-12)
        return code

    def broken(directory: Path) -> int:
        code = world.children.learn(directory)
        artifact = directory / workdir.ARTIFACT
        artifact.write_bytes(artifact.read_bytes()[:-1])
        return code

    for script in (forged, broken):
        world.children.script = script
        request_id = world.request()
        world.trainer.step()
        assert world.row(request_id).error_class == "parity"
        assert world.row(request_id).state == "failed"
    assert list(world.blobs.list("")) == []


def test_lost_answer_to_the_publication(world: World) -> None:
    """When the COMMIT happened but its answer was lost, the record is looked up: one version, no second training."""
    request_id = world.request()
    world.runs.lose_answer = TransientError("connection reset")
    world.trainer.step()
    assert world.row(request_id).state == "done"
    assert len(world.runs.models["flights"].versions) == 1
    assert world.queue.depth().total == 0


def test_artifact_is_there_already(world: World, new_world: Callable[[str], World]) -> None:
    """The same bytes from an attempt that was cut short count as stored; other bytes under the key do not."""
    kept: dict[str, bytes] = {}

    def spy(directory: Path) -> int:
        code = world.children.learn(directory)
        kept["data"] = (directory / workdir.ARTIFACT).read_bytes()
        return code

    world.children.script = spy
    world.request()
    world.trainer.step()
    key = world.runs.models["flights"].versions[1].artifact_key
    again = new_world("again")
    again.blobs.put(key, kept["data"])
    first = again.request()
    again.trainer.step()
    assert again.row(first).state == "done"
    other = new_world("other")
    other.blobs.put(key, b"something else")
    second = other.request()
    other.trainer.step()
    assert other.row(second).error_class == "crash"
    assert other.runs.models["flights"].versions == {}


def test_champion_that_cannot_be_read_is_said_so(world: World) -> None:
    """Without the champion's artifact the challenger is judged alone, and the report says it in words."""
    world.request()
    world.trainer.step()
    first = world.runs.models["flights"].versions[1]
    world.blobs.delete(first.artifact_key)
    world.snapshots.store(1, world.schema, [{**row, "id": row["id"] + 400} for row in world.rows(seed=1)])
    request_id = world.runs.add(upto_seq=800, settings={"kinds": ["linear"], "gate": {"min_rows": 20}})
    world.queue.send([TrainingRequest(request_id).outgoing()])
    world.trainer.step()
    gate = world.runs.models["flights"].versions[2].gate
    assert "version 1 cannot be compared with: its artifact is missing" in gate["summary"]
    assert gate["champion_version"] == 1
    assert [check["name"] for check in gate["checks"]] == ["enough_rows", "beats_prior", "calibrated"]


def test_a_version_waits_where_the_policy_says_so(world: World) -> None:
    """With `approve` a first version that passes is published and waits; nothing is champion."""
    world.request(settings={"promotion": "approve"})
    world.trainer.step()
    model = world.runs.models["flights"]
    assert model.versions[1].passed
    assert (model.pending, model.aliases) == ({1: 0}, {})


def test_champion_is_compared_with(world: World) -> None:
    """The next version is judged against the champion on the same rows, which are reported for both."""
    world.request()
    world.trainer.step()
    world.snapshots.store(1, world.schema, [{**row, "id": row["id"] + 400} for row in world.rows(seed=1)])
    request_id = world.runs.add(upto_seq=800, settings={"kinds": ["linear"], "gate": {"min_rows": 20}})
    world.queue.send([TrainingRequest(request_id).outgoing()])
    world.trainer.step()
    gate = world.runs.models["flights"].versions[2].gate
    checks = ["enough_rows", "beats_prior", "beats_champion", "no_slice_worse", "calibrated"]
    assert [check["name"] for check in gate["checks"]] == checks
    assert gate["interval"]["lower"] <= gate["interval"]["gain"] <= gate["interval"]["upper"]
    assert gate["cost"]["size_bytes"] == world.runs.models["flights"].versions[2].size_bytes
    assert set(gate["metrics"]) == {"challenger", "champion", "prior"}
    assert "roc_auc" in gate["metrics"]["champion"]


def test_idle_trainer_ends_its_instance(world: World) -> None:
    """After a while without work, and with none anywhere, the instance is given back."""
    world.trainer.run()
    assert world.clock.monotonic() >= world.settings.idle_seconds
    assert world.stop.reason is None


def test_a_trainer_stays_while_a_request_is_open(world: World) -> None:
    """An empty queue is no proof: with an open request in the database (its message lost) the trainer stays."""
    world.request()
    world.queue.purge()
    assert not world.trainer.nothing_left()
    world.runs.requests.clear()
    assert world.trainer.nothing_left()


def test_outages_are_survived(world: World) -> None:
    """Queue, database or blobs may be away at any moment: nothing is lost, and work goes on when they are back."""
    request_id = world.request()
    clock_sleep = world.clock.sleep

    def recover(seconds: float) -> None:
        clock_sleep(seconds)
        if world.clock.monotonic() > 20:
            world.queue.outage = world.runs.outage = world.blobs.outage = world.snapshots.outage = None

    world.clock.sleep = recover  # type: ignore[method-assign]
    world.queue.outage = TransientError("SQS is away")
    world.blobs.outage = TransientError("S3 is away")
    world.snapshots.outage = TransientError("Postgres is away")
    world.trainer.run()
    assert world.row(request_id).state == "done"
    assert world.row(request_id).attempt == 1


def test_database_away_after_the_receive(world: World) -> None:
    """No attempt is burnt, and the message comes again."""
    request_id = world.request()
    world.runs.outage = TransientError("Postgres is away")
    with pytest.raises(TransientError):
        world.trainer.step()
    world.runs.outage = None
    assert world.row(request_id).attempt == 0
    world.clock.advance(world.lease_seconds + 1)
    world.trainer.step()
    assert world.row(request_id).state == "done"


def test_leftovers_of_a_killed_predecessor_are_removed(world: World) -> None:
    """The directory of a run that nobody finished does not stay on the disk."""
    leftover = world.work_dir / "run-old"
    leftover.mkdir(parents=True)
    (leftover / "c0.npy").write_bytes(b"x")
    world.trainer.run()
    assert not leftover.exists()


def test_time_rule_end_to_end(world: World, tmp_path: Path) -> None:
    """With an event time the second version is tested on rows behind everything the first one saw."""
    schema = Schema([*world.schema.columns, Column("at", "timestamp", role="event_time")])
    start = datetime(2024, 1, 1, tzinfo=UTC)
    world.snapshots.store(
        2, schema, [{**row, "at": start + timedelta(hours=i)} for i, row in enumerate(world.rows(800))]
    )
    world.snapshots._datasets[1] = world.snapshots._datasets[2]
    seen: list[dict[str, Any]] = []

    def spy(directory: Path) -> int:
        code = world.children.learn(directory)
        seen.append(json.loads((directory / workdir.REPORT).read_text()))
        shutil.copy(directory / workdir.CHECK_ROWS, tmp_path / "rows.npy")
        return code

    world.children.script = spy
    for upto in (400, 800):
        request_id = world.runs.add(upto_seq=upto, settings={"kinds": ["linear"], "gate": {"min_rows": 20}})
        world.queue.send([TrainingRequest(request_id).outgoing()])
        world.trainer.step()
        assert world.row(request_id).state == "done"
    first, second = (report["holdout"] for report in seen)
    assert (first["rule"], first["fit_upto_seq"], first["test_rows"]) == ("time", 320, 80)
    assert (second["fit_upto_seq"], second["test_from_seq"], second["test_rows"]) == (640, 641, 160)
    assert np.load(tmp_path / "rows.npy").min() >= 640
