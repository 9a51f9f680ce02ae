"""Each check on a world in memory: every kind of damage is named, and what is no damage is not."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.unit.doctor.scene import ALIAS, ARTIFACT, KEY, LAUNCH, SHA256, Scene

from trainyard.contracts.queue import Outgoing, Received
from trainyard.doctor import Limits
from trainyard.doctor.evidence import (
    Audit,
    JudgedVersion,
    Ledger,
    LedgerGap,
    Leftover,
    Leftovers,
    LeftRun,
    OpenWork,
    Predictions,
    Session,
    StandingAlias,
    StoredVersion,
    Traffic,
    Unsummed,
    Versions,
    WorkerRow,
)
from trainyard.messages import DataArrived, TrainingRequest
from trainyard.model import encode
from trainyard.testing.models import sample_model

MESSAGE = Outgoing("training_request", "body")
DAY = 86_400.0
OPEN, ENDED = str(uuid.uuid4()), str(uuid.uuid4())
OF_OPEN, OF_ENDED, OF_NOBODY = (TrainingRequest(ident).outgoing() for ident in (OPEN, ENDED, str(uuid.uuid4())))


@pytest.fixture
def scene() -> Scene:
    """A sound world."""
    return Scene()


def judged(version: int, **changes: object) -> JudgedVersion:
    """Return a version judged by time, on rows from 9 after a fit up to 8."""
    holdout = {"rule": "time", "fit_upto_seq": 8, "test_from_seq": 9}
    return replace(JudgedVersion("late", version, f"r{version}", 1, 1, "done", holdout), **changes)  # type: ignore[arg-type]


# --- I1, I9 ---


def test_ledger(scene: Scene) -> None:
    """Rows, checksums and strays are told apart."""
    scene.database.ledger_answer = Ledger(
        [LedgerGap("d", "b1", 10, 9, "5", "4"), LedgerGap("d", "b2", 10, 10, "5", "4")],
        ["dataset e: its table is gone"],
    )
    assert scene.problems() == {
        "I1": [
            "dataset d: batch b1 has 9 rows where the ledger has 10",
            "dataset d: batch b2 has rows of checksum 4 where the ledger has 5",
            "dataset e: its table is gone",
        ]
    }


def test_checksums_that_are_not_taken(scene: Scene) -> None:
    """A checksum comes after the batch: it may be missing for an hour, and is then said to be."""
    scene.database.ledger_answer = Ledger(unsummed=[Unsummed("d", 2, 3_599.0)])
    assert scene.problems() == {}
    assert scene.examine()["I1"].notes == ["dataset d: 2 batches have no checksum yet"]
    scene.database.ledger_answer = Ledger(unsummed=[Unsummed("d", 1_000, 7_200.0)])
    assert scene.problems() == {"I1": ["dataset d: 1,000 batches have no checksum, the oldest for 120 minutes"]}


def test_audit(scene: Scene) -> None:
    """A broken chain is passed on."""
    scene.database.audit_answer = Audit(["audit entries 2 to 2 are missing"])
    assert scene.problems() == {"I9": ["audit entries 2 to 2 are missing"]}


# --- I2, I3 ---


def test_requests(scene: Scene) -> None:
    """A stuck request is named with its reason; the others are counted by what they wait for."""
    scene.database.open_answer = [
        OpenWork("r1", "late", "queued", "it was not sent for an hour", stuck=True),
        OpenWork("r2", "late", "queued", "it waits for a trainer", stuck=False),
        OpenWork("r3", "late", "queued", "it waits for a trainer", stuck=False),
        OpenWork("r4", "late", "running", "a trainer works on it", stuck=False),
    ]
    check = scene.examine()["I2"]
    assert check.problems == ["request r1 of model late is queued: it was not sent for an hour"]
    assert check.notes == ["2 open: it waits for a trainer", "1 open: a trainer works on it"]


@pytest.mark.parametrize(
    ("versions", "said"),
    [
        ([judged(1, fence=2)], "carries fence 2, but its request r1 is done with fence 1"),
        ([judged(1, request_state="failed")], "its request r1 is failed"),
        (
            [judged(1), judged(2, holdout={"rule": "time", "fit_upto_seq": 2, "test_from_seq": 8})],
            "version 2 of model late was judged on rows from 8, but version 1 was fitted on rows up to 8",
        ),
        (
            [judged(1), judged(2, holdout={"rule": "key"})],
            "version 2 of model late was judged under the rule 'key', version 1 under 'time'",
        ),
    ],
)
def test_dishonest_versions(scene: Scene, versions: list[JudgedVersion], said: str) -> None:
    """A version of a fence that did not win, or judged on fitted rows, is named."""
    scene.database.versions_answer = Versions(versions, len(versions))
    (problem,) = scene.problems()["I3"]
    assert said in problem


def test_advice_for_dishonest_versions(scene: Scene) -> None:
    """Training again does not change an old version, and that is said; a record that was changed is another matter."""
    scene.database.versions_answer = Versions([judged(1, fence=2)], 1, ["request r has 2 versions"])
    (counted, _), (judged_wrong, _) = scene.examine()["I3"].mends
    assert "until its record is restored" in counted
    assert "trainyard alias set MODEL ALIAS VERSION" in judged_wrong
    assert "until its model is deleted" in judged_wrong


def test_honest_versions(scene: Scene) -> None:
    """Later versions test on later rows; a rule without bounds has none to compare."""
    later = judged(2, holdout={"rule": "time", "fit_upto_seq": 20, "test_from_seq": 21})
    scene.database.versions_answer = Versions([judged(1), later, judged(1, model="m", holdout={})], 3)
    assert scene.problems() == {}


def test_miscounted_versions(scene: Scene) -> None:
    """What the database says about numbers of versions is passed on, and the sample named."""
    scene.database.versions_answer = Versions([], 4, ["request r has 2 versions"])
    check = scene.examine()["I3"]
    assert check.problems == ["request r has 2 versions"]
    assert check.notes == ["looked at the newest 0 of 4 versions"]


# --- I4 ---


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (None, f"there is no object {KEY}"),
        (ARTIFACT[:-1] + b"x", "is not the file that was registered"),
    ],
)
def test_damaged_artifact(scene: Scene, data: bytes | None, said: str) -> None:
    """A lost or changed artifact is named with the alias that leads to it."""
    if data is None:
        scene.blobs.delete(KEY)
    else:
        scene.blobs.put(KEY, data)
    (problem,) = scene.problems()["I4"]
    assert problem.startswith("alias champion of model late (version 1): ")
    assert said in problem


@pytest.mark.parametrize(
    ("data", "said"), [(b"no model", "does not load"), (encode(sample_model(name="other")), "is a model called other")]
)
def test_artifact_that_is_no_model_of_ours(scene: Scene, data: bytes, said: str) -> None:
    """The registered bytes themselves may be wrong."""
    alias = replace(ALIAS, sha256=hashlib.sha256(data).hexdigest(), size=len(data))
    scene.blobs.put(KEY, data)
    scene.database.aliases_answer = [StandingAlias(alias, 60.0)]
    assert any(said in problem for problem in scene.problems()["I4"])


def test_alias_object(scene: Scene) -> None:
    """A lost, unreadable or differing alias object is named once the publisher has had its time."""
    scene.publish(replace(ALIAS, seq=2))
    assert scene.problems()["I4"] == [
        "alias champion of model late (version 1): aliases/late/champion says version 1, seq 2; the database says 1, 1"
    ]
    scene.database.aliases_answer = [StandingAlias(ALIAS, 1.0)]
    assert scene.problems() == {}
    scene.database.aliases_answer = [StandingAlias(ALIAS, 60.0)]
    scene.blobs.put("aliases/late/champion", b"x")
    assert "cannot be read" in scene.problems()["I4"][0]
    scene.blobs.delete("aliases/late/champion")
    assert "there is no object aliases/late/champion" in scene.problems()["I4"][0]


def test_artifacts_are_loaded_once_champions_first(scene: Scene) -> None:
    """Aliases share an artifact's test; beyond the limit the rest is counted."""
    other = replace(ALIAS, alias="shadow", key=KEY + "x")
    same = replace(ALIAS, alias="previous")
    scene.database.aliases_answer = [StandingAlias(other, 1.0), StandingAlias(ALIAS, 60.0), StandingAlias(same, 1.0)]
    check = scene.examine(Limits(artifacts=1))["I4"]
    assert check.passed
    assert check.notes == ["loaded 1 artifacts, champions' first; 1 more were not loaded"]


# --- I5 ---


def test_message_without_work(scene: Scene) -> None:
    """A quiet system holds no messages: not in flight either in the training queue."""
    scene.training.send([MESSAGE])
    scene.arrived.send([MESSAGE])
    assert scene.problems()["I5"] == [
        "queue training holds 1 messages (1 visible), and no request has been open for 120 s",
        "queue arrived holds 1 messages (1 visible), and the scheduler has not taken any for 120 s",
    ]
    scene.training.receive(limit=1, wait_seconds=0, visibility_seconds=60)
    scene.arrived.receive(limit=1, wait_seconds=0, visibility_seconds=60)
    assert scene.problems()["I5"] == [
        "queue training holds 1 messages (1 in flight), and no request has been open for 120 s"
    ]


@pytest.mark.parametrize(
    "traffic",
    [
        Traffic(open_requests=1, quiet={"arrived": 1.0}),
        Traffic(quiet={"training": 119.0, "arrived": 119.0}),
        Traffic(waiting={"training": 1, "arrived": 1}, oldest_waiting=1.0),
    ],
)
def test_a_working_system_may_hold_messages(scene: Scene, traffic: Traffic) -> None:
    """Open requests, recent traces of work and waiting outbox rows explain messages."""
    scene.training.send([MESSAGE])
    scene.arrived.send([MESSAGE])
    scene.database.traffic_answers = [traffic]
    assert scene.problems() == {}


def test_the_second_look_decides(scene: Scene) -> None:
    """A message that came just before the doctor is no problem when its reader takes it within seconds."""
    scene.arrived.send([MESSAGE])
    scene.database.traffic_answers = [Traffic(), Traffic(quiet={"arrived": 0.5})]
    before = scene.clock.monotonic()
    assert scene.problems() == {}
    assert scene.clock.monotonic() - before == 5.0


def test_outbox_and_dead_letters(scene: Scene) -> None:
    """A relay that stands still, and each queue with dead letters, are named."""
    scene.database.traffic_answers = [Traffic(waiting={"training": 2, "arrived": 1}, oldest_waiting=130.0)]
    scene.dead.send([MESSAGE, MESSAGE])
    check = scene.examine()["I5"]
    assert check.problems == [
        "3 messages wait in the database to be sent, the oldest for 130 s",
        "queue training has 2 dead letters: 2 training_request, first sent 0 s ago",
    ]
    scene.dead.receive(limit=2, wait_seconds=0, visibility_seconds=60)
    assert scene.examine()["I5"].problems[1] == "queue training has 2 dead letters: hidden just now"


@pytest.mark.parametrize(
    ("letters", "helps", "helps_not"),
    [
        ([MESSAGE], ["purge", "trainyard-training-dlq", "TRAINYARD_QUEUE_TRAINING", "14 days"], ["redrive", "--limit"]),
        ([OF_ENDED], ["purge", "are no lost work"], ["redrive"]),
        ([OF_OPEN], ["trainyard queue redrive training"], ["purge", "another environment"]),
        ([OF_NOBODY], ["another environment's"], ["redrive", "purge"]),
        ([MESSAGE, OF_OPEN], ["trainyard queue redrive training", "purge"], []),
        ([OF_ENDED] * 11, ["purge", "trainyard queue dlq training --limit 100"], ["redrive"]),
    ],
)
def test_what_helps_against_dead_letters(
    scene: Scene, letters: list[Outgoing], helps: list[str], helps_not: list[str]
) -> None:
    """Only letters behind which work waits are to be sent back; for the others it is said how they leave."""
    scene.database.requests = {OPEN: True, ENDED: False}
    scene.dead.send(letters)
    mend = scene.examine()["I5"].mend
    assert all(words in mend for words in helps)
    assert not any(words in mend for words in helps_not)


def test_dead_letters_outside_the_training_queue(scene: Scene) -> None:
    """What its reader refused can be sent back to the queue it came from."""
    scene.queues["arrived"][1].send([DataArrived("flights", "b", 1).outgoing()])
    assert "trainyard queue redrive arrived" in scene.examine()["I5"].mend


def test_letter_without_type(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a letter does not say is left out; it is given back to whoever looks next."""
    scene.dead.send([MESSAGE])
    receive = scene.dead.receive

    def bare(**how: int) -> list[Received]:
        return [replace(letter, type="") for letter in receive(**how)]

    monkeypatch.setattr(scene.dead, "receive", bare)
    for _ in range(2):
        assert scene.problems()["I5"] == ["queue training has 1 dead letter: 1 without a type, first sent 0 s ago"]


def test_ages_of_dead_letters(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The youngest and the oldest, by the clock of the database; a service that keeps no time is no obstacle."""
    scene.dead.send([MESSAGE])
    scene.clock.advance(7_110)
    scene.dead.send([MESSAGE])
    scene.clock.advance(90)
    scene.database.time += timedelta(seconds=7_200)
    said = "queue training has 2 dead letters: 2 training_request"
    assert scene.problems()["I5"] == [f"{said}, first sent 1.5 min to 2 h ago"]
    receive = scene.dead.receive

    def timeless(**how: int) -> list[Received]:
        return [replace(letter, sent_at=None) for letter in receive(**how)]

    monkeypatch.setattr(scene.dead, "receive", timeless)
    assert scene.problems()["I5"] == [said]


def test_no_queues(scene: Scene) -> None:
    """Who names no queue is told that none was looked at."""
    scene.queues.clear()
    check = scene.examine()["I5"]
    assert (check.state, check.notes) == ("passed", ["no queue was named: none was looked at"])


# --- I6 ---


def test_prediction_log(scene: Scene) -> None:
    """Doubled, foreign and unlogged predictions are problems, parked labels are counted."""
    scene.database.predictions_answer = Predictions(
        9, 10, doubled=["p1"], strangers=[("late", 7, 3)], relabelled=["p2"], parked=4, parked_oldest=3_700.0
    )
    scene.machine.segments = [Leftover("a.spool", 300.0), Leftover("b.spool", 1.0)]  # type: ignore[union-attr]
    check = scene.examine()["I6"]
    assert check.problems == [
        "prediction p1 stands in the log more than once",
        "prediction p2 has more than one current label",
        "3 predictions were logged for version 7 of model late, which does not exist",
        "segment a.spool of the prediction log has waited for 300 s",
    ]
    assert check.notes == [
        "4 labels name a prediction that is not in the log, the oldest for 3,700 s",
        "looked at the newest 9 of 10 predictions",
        "1 segments of the prediction log are about to be sent",
    ]


def test_other_machines(scene: Scene) -> None:
    """Files on other machines are not looked at, and that is said."""
    scene.machine = None
    checks = scene.examine()
    assert "other machines" in checks["I6"].notes[0]
    assert "other machines" in checks["I8"].notes[0]


# --- I7 ---


def test_version_without_object(scene: Scene) -> None:
    """A version needs its object, of its size."""
    scene.database.stored_answer = [StoredVersion("late", 1, KEY, 5), StoredVersion("late", 2, KEY + "x", 5)]
    assert scene.problems()["I7"] == [
        f"version 1 of model late: {KEY} has {len(ARTIFACT):,} bytes, registered were 5",
        f"version 2 of model late: there is no object {KEY}x",
    ]


def test_a_deleted_model_needs_no_object(scene: Scene) -> None:
    """Nothing leads to its versions any more; their artifacts, as far as there are any, still belong to them."""
    stored = StoredVersion("late", 2, KEY + "x", 5, deleted=True)
    scene.database.stored_answer = [*scene.database.stored_answer, stored]
    assert scene.problems() == {}


def test_advice_for_a_lost_artifact(scene: Scene) -> None:
    """What really helps is said, each problem with its own advice, and that the check stays as it is until then."""
    scene.blobs.delete(KEY)
    scene.blobs.put("models/readme.txt", b"x")
    checks = scene.examine()
    for ident in ("I4", "I7"):
        assert "bucket's versions" not in checks[ident].mend
        assert "from a backup of the bucket" in checks[ident].mend
        assert "trainyard alias set MODEL ALIAS VERSION" in checks[ident].mend
    (lost, own), (stranger, other) = checks["I7"].mends
    assert "named here until its object is, or until its model is deleted" in lost
    assert own == [f"version 1 of model late: there is no object {KEY}"]
    assert "remove it by hand" in stranger
    assert other == ["models/readme.txt is an object that no version refers to"]


def test_advice_for_a_file_that_never_worked(scene: Scene) -> None:
    """A backup holds the same bytes, so none is advised."""
    data = b"no model"
    alias = replace(ALIAS, sha256=hashlib.sha256(data).hexdigest(), size=len(data))
    scene.blobs.put(KEY, data)
    scene.database.aliases_answer = [StandingAlias(alias, 60.0)]
    scene.publish(alias)
    mend = scene.examine()["I4"].mend
    assert "no backup helps" in mend
    assert "from a backup" not in mend


def test_object_that_came_after_the_listing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """An object that the listing has missed is looked for by its key."""
    listed = scene.blobs.list
    monkeypatch.setattr(scene.blobs, "list", lambda prefix: iter(()) if prefix == "models/" else listed(prefix))
    assert scene.problems() == {}


@pytest.mark.parametrize(
    ("age", "busy", "note"),
    [
        (25 * 3600.0, frozenset(), "1 unreferenced artifacts are younger than a day, or are about to be swept"),
        (27 * 3600.0, frozenset({"late"}), "1 unreferenced artifacts stay while their models have open requests"),
        (27 * 3600.0, frozenset({"other"}), None),
    ],
)
def test_unreferenced_artifact(scene: Scene, age: float, busy: frozenset[str], note: str | None) -> None:
    """An orphan is a problem once the sweeper should have taken it."""
    orphan = KEY.replace(SHA256, "0" * 64)
    scene.blobs.put(orphan, b"x")
    scene.clock.advance(age)
    scene.database.time, scene.database.busy = scene.clock.now(), busy
    check = scene.examine()["I7"]
    if note is None:
        assert check.problems == [f"{orphan} has had no version for 27 h"]
    else:
        assert (check.problems, check.notes) == ([], [note])


@pytest.mark.parametrize(
    "key", ["models/readme.txt", "models/Late/x.msgpack", "models/late/x", "models/late/1.msgpack"]
)
def test_foreign_object(scene: Scene, key: str) -> None:
    """What is no artifact of ours is named at once, for the sweeper leaves it alone."""
    scene.blobs.put(key, b"x")
    assert scene.problems()["I7"] == [f"{key} is an object that no version refers to"]


def test_published_objects(scene: Scene) -> None:
    """Missing, differing and surplus objects of models and versions are named after a second look."""
    scene.blobs.delete("catalogue/late")
    scene.blobs.put("versions/late/1", b"x" * len(scene.blobs.get("versions/late/1").data))
    scene.blobs.put("aliases/gone/champion", b"x")
    assert scene.problems()["I7"] == [
        "aliases/gone/champion is an object of something that does not exist",
        "catalogue/late is missing",
        "versions/late/1 is not what the database says",
    ]
    assert scene.problems(Limits(objects=1))["I7"][1:] == ["and 2 more"]


def test_objects_that_are_published_meanwhile(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the publisher mends within seconds is no problem."""
    scene.blobs.delete("catalogue/late")
    monkeypatch.setattr(scene.clock, "sleep", lambda _: scene.blobs.put("catalogue/late", b""))
    assert scene.problems() == {}


def test_another_etag_is_no_difference(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bucket with keys of its own has other etags: the bytes decide; an object that goes meanwhile is looked for."""
    listed = scene.blobs.list
    monkeypatch.setattr(scene.blobs, "list", lambda prefix: (replace(info, etag="?") for info in listed(prefix)))
    assert scene.problems() == {}
    kept = list(listed("versions/"))
    scene.blobs.delete("versions/late/1")
    monkeypatch.setattr(
        scene.blobs,
        "list",
        lambda prefix: [replace(info, etag="?") for info in (kept if prefix == "versions/" else listed(prefix))],
    )
    assert scene.problems()["I7"] == ["versions/late/1 is not what the database says"]


# --- I8 ---


def test_sessions_and_runs(scene: Scene) -> None:
    """Sessions, prepared transactions and runs that were left are named."""
    scene.database.leftovers_answer = replace(
        scene.database.leftovers_answer,
        sessions=[
            Session(7, "psql", "has been idle inside a transaction", 90.0),
            Session(8, "", "has held an advisory lock and done nothing", 80.0),
            Session(None, "me", "called x has waited for its end", 70.0),
        ],
        runs=[LeftRun("u1", "r1", "done")],
    )
    check = scene.examine()["I8"]
    assert check.problems == [
        "session 7 (psql) has been idle inside a transaction for 90 s",
        "session 8 (without a name) has held an advisory lock and done nothing for 80 s",
        "a prepared transaction called x has waited for its end for 70 s",
        "run u1 counts as running, but its request r1 is done",
    ]
    assert "pg_terminate_backend" in check.mend
    assert "ROLLBACK PREPARED" in check.mend


def test_instance_of_no_launch(scene: Scene) -> None:
    """An instance that the ledger does not know is named at once."""
    scene.database.leftovers_answer = Leftovers()
    assert scene.problems()["I8"] == [
        f"instance {scene.instance_id} (c7i.large, running) belongs to no launch of the ledger"
    ]


@pytest.mark.parametrize(
    ("state", "age", "worker", "said"),
    [
        ("ended", 301.0, None, "still runs, 301 s after its launch ended"),
        ("failed", 301.0, None, "still runs, 301 s after its launch failed"),
        ("ended", 299.0, None, None),
        ("launched", 299.0, None, None),
        ("launched", 301.0, None, "has had no trainer for 301 s"),
        ("launched", 301.0, ("ended", 181.0), "has had no trainer for 301 s"),
        ("launched", 301.0, ("ended", 10.0), None),
        ("launched", 301.0, ("busy", 179.0), None),
        ("launched", 100.0, ("idle", 181.0), "worker host:1 on instance"),
    ],
)
def test_instances(scene: Scene, state: str, age: float, worker: tuple[str, float] | None, said: str | None) -> None:
    """An instance has a launch that is open and a trainer that speaks, or has had too little time for either."""
    row = None if worker is None else WorkerRow("host:1", scene.instance_id, *worker)
    scene.know(state=state, age=age, worker=row)
    found = scene.problems().get("I8", [])
    assert len(found) == (said is not None)
    assert said is None or said in found[0]


def test_the_last_word_counts(scene: Scene) -> None:
    """Of several trainers of an instance the one that spoke last counts; trainers without one are nobody's cost."""
    silent = WorkerRow("host:1", scene.instance_id, "busy", 900.0)
    for workers in ([silent, replace(silent, id="host:2", silent=1.0)], [replace(silent, silent=1.0), silent]):
        scene.database.leftovers_answer = replace(
            scene.database.leftovers_answer, workers=[*workers, WorkerRow("x:1", None, "busy", 900.0)]
        )
        assert scene.problems() == {}


@pytest.mark.parametrize(
    ("state", "age", "named"), [("asked", 301.0, True), ("launched", 299.0, False), ("ended", 999.0, False)]
)
def test_launch_without_instance(scene: Scene, state: str, age: float, named: bool) -> None:
    """An open launch has an instance, after a while."""
    scene.fleet.terminate([scene.instance_id])  # type: ignore[union-attr]
    scene.know(state=state, age=age)
    expected = [f"launch {LAUNCH} has been '{state}' for {age:.0f} s and no instance of it runs"]
    assert scene.problems().get("I8", []) == (expected if named else [])


def test_work_directories(scene: Scene) -> None:
    """The directory of an instance that is gone is left over after a while."""
    assert scene.machine is not None
    scene.machine.directories = [Leftover(scene.instance_id, 900.0), Leftover("i-a", 299.0), Leftover("i-b", 301.0)]
    assert scene.problems()["I8"] == ["the work directory of instance i-b, which is gone, was last written 301 s ago"]
    scene.fleet = None
    check = scene.examine()["I8"]
    assert (check.state, check.notes) == ("passed", ["no fleet was named: instances were not looked at"])
