"""Forgetting and sweeping on fakes, with a clock that is moved by hand."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from trainyard.clock import ManualClock
from trainyard.contracts.upkeep import Upload
from trainyard.errors import TransientError
from trainyard.messages import TrainingRequest
from trainyard.testing.contracts.scheduling import add_model, add_request
from trainyard.testing.fakes import MemoryAttendance, MemoryBlobs, MemoryStore
from trainyard.testing.fakes.upkeep import MemoryUploads
from trainyard_scheduler.use_cases import forget as forgetting
from trainyard_scheduler.use_cases import sweep as sweeping
from trainyard_scheduler.use_cases.forget import Keep, forget, forget_predictions
from trainyard_scheduler.use_cases.sweep import SWEEP_AFTER_SECONDS, Sweeper

if TYPE_CHECKING:
    from collections.abc import Callable

DAY = 86_400.0


class House:
    """A store with a model, a bucket, and the sweeper."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.store.state.add_dataset("flights", ())
        self.store.state.add_rows("flights", 5)
        self.blobs = MemoryBlobs(self.clock)
        self.uploads = MemoryUploads()
        self.sweeper = Sweeper(self.store, self.blobs, self.uploads, keep_batch_days=30)
        with self.store.begin() as records:
            self.model = add_model(records)

    def orphan(self, digit: str, model: str = "late") -> str:
        """Store an artifact that no version refers to; return its key."""
        key = f"models/{model}/{digit * 64}.msgpack"
        self.blobs.put(key, b"x")
        return key

    def trained(self, digit: str) -> str:
        """Let a trainer publish a version with an extract; return the extract's key."""
        key = f"extracts/late/{digit * 64}.parquet"
        self.blobs.put(key, b"x")
        request = self.request()
        self.store.state.claim(request, lease_until=self.clock.now())
        self.store.state.finish(request, extract_key=key)
        return key

    def request(self) -> str:
        """Open a request for the model; return its id."""
        with self.store.begin() as records:
            return add_request(records, self.model).id

    def stored(self) -> list[str]:
        """Return the keys in the bucket."""
        return [info.key for info in self.blobs.list("")]

    def events(self, count: int) -> None:
        """Record events."""
        with self.store.begin() as records:
            for _ in range(count):
                records.journal.announce("kind", "subject", {})


@pytest.fixture
def house() -> House:
    """An orderly one."""
    return House()


# --- forgetting ---


def test_each_kind_has_its_own_time(house: House) -> None:
    """What is older than its kind's days goes, the newest stay as many as were asked for; the sum is returned."""
    house.events(3)
    with house.store.begin() as records:
        records.outbox.post("training", TrainingRequest("a"))
        records.outbox.mark_sent([message.id for message in records.outbox.take(9, hold_seconds=60)])
    MemoryAttendance(house.store).seen("h:1", None, None, "idle", None)
    keeps = [Keep("events", 2.0, newest=1), Keep("messages", 1.0), Keep("workers", 1.0)]
    house.clock.advance(1.0 * DAY)
    assert forget(house.store, keeps) == 0
    house.clock.advance(1.0)
    assert forget(house.store, keeps) == 2
    assert house.store.state.outbox == []
    assert house.store.state.workers == {}
    house.clock.advance(1.0 * DAY)
    assert forget(house.store, keeps) == 2
    assert len(house.store.state.events) == 1


@pytest.mark.parametrize(("rows", "gone", "transactions"), [(9, 8, 4), (8, 8, 4), (7, 7, 4), (4, 4, 3), (0, 0, 1)])
def test_batches(house: House, monkeypatch: pytest.MonkeyPatch, rows: int, gone: int, transactions: int) -> None:
    """A kind goes in batches of a transaction each, until one is not full; a step ends after some, the next goes on."""
    monkeypatch.setattr(forgetting, "BATCH", 2)
    monkeypatch.setattr(forgetting, "MOST_BATCHES", 4)
    house.events(rows)
    house.clock.advance(DAY)
    opened = 0
    begin = house.store.begin

    def counted():
        nonlocal opened
        opened += 1
        return begin()

    monkeypatch.setattr(house.store, "begin", counted)
    assert forget(house.store, [Keep("events", 0.5)]) == gone
    assert opened == transactions


def test_default_bounds() -> None:
    """A transaction is short, and a step has an end."""
    assert (forgetting.BATCH, forgetting.MOST_BATCHES) == (1_000, 20)
    assert Keep("events", 1.0).newest == 0


# --- sweeping ---


def test_an_old_orphan_is_removed_and_audited(house: House) -> None:
    """A day and an hour after its write, not before; the audit log and the stream name it."""
    key = house.orphan("a")
    house.clock.advance(SWEEP_AFTER_SECONDS)
    assert house.sweeper.step() == 0
    house.clock.advance(1.0)
    assert house.sweeper.step() == 1
    assert house.stored() == []
    entry = house.store.state.audit[-1]
    assert (entry.actor, entry.action, entry.subject) == ("scheduler", "artifact.sweep", "model/late")
    assert entry.details == {"objects": 1, "keys": [key]}
    event = house.store.state.events[-1]
    assert (event.kind, event.subject, event.payload) == ("artifact.swept", "model/late", {"objects": 1})
    assert house.sweeper.step() == 0


def test_the_wait_is_more_than_a_day() -> None:
    """Never younger than a day, whatever the clocks of database and store differ by within the hour."""
    assert SWEEP_AFTER_SECONDS == 25 * 3600.0


def test_what_a_version_refers_to_stays(house: House) -> None:
    """Also when the model was deleted."""
    request = house.request()
    house.store.state.claim(request, lease_until=house.clock.now())
    house.store.state.finish(request, sha256="a" * 64)
    key, orphan = house.orphan("a"), house.orphan("b")
    with house.store.begin() as records:
        records.models.delete(house.model)
    house.clock.advance(2 * DAY)
    assert house.sweeper.step() == 1
    assert house.stored() == [key]
    assert orphan not in house.stored()


def test_a_model_that_is_trained_keeps_its_orphans(house: House) -> None:
    """A run that is still to come may find its bytes there; other models' orphans go, the rest when it has ended."""
    mine, other = house.orphan("a"), house.orphan("a", "other")
    request = house.request()
    house.clock.advance(2 * DAY)
    assert house.sweeper.step() == 1
    assert house.stored() == [mine]
    assert other not in house.stored()
    assert [entry.subject for entry in house.store.state.audit] == ["model/other"]
    house.store.state.end(request, "failed")
    assert house.sweeper.step() == 1
    assert house.stored() == []


def test_a_version_that_comes_between_listing_and_lock(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are looked up again under the model's lock; when all are referenced by then, nothing is said."""
    house.orphan("a")
    house.clock.advance(2 * DAY)
    listed = house.blobs.list

    def publish_meanwhile(prefix: str):
        yield from listed(prefix)
        # the listing's own page has not been looked up yet when its iterator ends: look it up, then publish
        monkeypatch.undo()

    monkeypatch.setattr(house.blobs, "list", publish_meanwhile)
    loose = house.sweeper._loose()
    key = next(loose)
    request = house.request()
    house.store.state.claim(request, lease_until=house.clock.now())
    house.store.state.finish(request, sha256="a" * 64)
    assert house.sweeper._sweep("late", [key]) == 0
    assert house.stored() == [key]
    assert house.store.state.audit == []


def test_strangers_stay(house: House) -> None:
    """An object under models/ that is no artifact of ours is not the sweeper's to remove."""
    for key in ("models/readme.txt", "models/late/x.msgpack", "aliases/late/champion"):
        house.blobs.put(key, b"x")
    house.clock.advance(9 * DAY)
    assert house.sweeper.step() == 0
    assert len(house.stored()) == 3


def test_a_step_has_an_end(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most so many objects and uploads go in one step, the next goes on; pages of the listing hide none."""
    monkeypatch.setattr(sweeping, "MOST", 3)
    monkeypatch.setattr(sweeping, "_PAGE", 2)
    for digit in "abcdef0":
        house.orphan(digit)
    house.uploads.begun = [Upload(f"k{n}", str(n), house.clock.now()) for n in range(4)]
    house.clock.advance(2 * DAY)
    assert [house.sweeper.step() for _ in range(4)] == [6, 4, 1, 0]
    assert (house.stored(), house.uploads.begun) == ([], [])


def test_the_store_goes_away_in_between(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was removed before an outage is audited; the step fails, and the next one goes on."""
    first, second = house.orphan("a"), house.orphan("b")
    house.clock.advance(2 * DAY)
    delete = house.blobs.delete

    def failing(key: str) -> None:
        if key == second:
            raise TransientError("S3 is away")
        delete(key)

    monkeypatch.setattr(house.blobs, "delete", failing)
    with pytest.raises(TransientError, match="S3 is away"):
        house.sweeper.step()
    assert house.store.state.audit[-1].details == {"objects": 1, "keys": [first]}
    monkeypatch.undo()
    assert house.sweeper.step() == 1
    assert house.stored() == []


def test_nothing_removed_before_an_outage_is_not_audited(house: House) -> None:
    """An audit entry says what happened, and nothing did."""
    house.orphan("a")
    house.clock.advance(2 * DAY)
    key = next(house.sweeper._loose())
    house.blobs.outage = TransientError("S3 is away")
    with pytest.raises(TransientError):
        house.sweeper._sweep("late", [key])
    assert (house.store.state.audit, house.store.state.events) == ([], [])


def test_uploads(house: House) -> None:
    """An upload is aborted after a day and an hour, not before."""
    old = Upload("landing/a", "1", house.clock.now())
    new = Upload("landing/a", "2", house.clock.now() + timedelta(seconds=1))
    house.uploads.begun = [new, old]
    house.clock.advance(SWEEP_AFTER_SECONDS)
    assert house.sweeper.step() == 0
    house.clock.advance(1.0)
    assert house.sweeper.step() == 1
    assert house.uploads.begun == [new]


# --- extracts ---


def test_the_extract_of_rows_that_went_is_removed(house: House) -> None:
    """The record first, audited with the key, then the object, in one step; another version's extract stays."""
    gone, kept = house.trained("a"), house.trained("b")
    house.store.state.rows_went(1)
    house.clock.advance(1.0)
    assert house.sweeper.step() == 1
    assert house.stored() == [kept]
    assert [version.extract_key for _, version in house.store.state.versions] == [None, kept]
    release, sweep = house.store.state.audit
    assert (release.actor, release.action, release.subject) == ("scheduler", "extract.release", "model/late")
    assert release.details == {"version": 1, "extract_key": gone}
    assert (sweep.action, sweep.details) == ("artifact.sweep", {"objects": 1, "keys": [gone]})
    assert house.sweeper.step() == 0
    assert len(house.store.state.audit) == 2


def test_an_extract_that_a_sound_version_shares_stays(house: House) -> None:
    """Equal rows are one object: while one version has them and they are all there, it is not removed."""
    key = house.trained("a")
    house.trained("a")
    house.store.state.rows_went(1)
    house.clock.advance(1.0)
    assert house.sweeper.step() == 0
    assert house.stored() == [key]
    house.store.state.rows_went(2)
    assert house.sweeper.step() == 1
    assert house.stored() == []


def test_dying_between_the_record_and_the_object(house: House) -> None:
    """What lost its last version is found by any later step, once the store answers."""
    key = house.trained("a")
    house.store.state.rows_went(1)
    house.clock.advance(1.0)
    house.blobs.outage = TransientError("S3 is away")
    with pytest.raises(TransientError):
        house.sweeper.step()
    assert [version.extract_key for _, version in house.store.state.versions] == [None]
    house.blobs.outage = None
    assert house.stored() == [key]
    assert house.sweeper.step() == 1
    assert house.stored() == []


def test_dying_between_the_object_and_the_commit(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The object is gone, its removal is not audited, its release is; nothing is left to do."""
    house.trained("a")
    house.store.state.rows_went(1)
    house.clock.advance(1.0)
    delete = house.blobs.delete

    def killed(key: str) -> None:
        delete(key)
        raise KeyboardInterrupt

    monkeypatch.setattr(house.blobs, "delete", killed)
    with pytest.raises(KeyboardInterrupt):
        house.sweeper.step()
    monkeypatch.undo()
    assert house.sweeper.step() == 0
    assert house.stored() == []
    assert [entry.action for entry in house.store.state.audit] == ["extract.release"]


def test_extracts_wait_for_open_requests_only(house: House) -> None:
    """A run may have stored one that it has not named yet: it stays while the request is open, and no longer."""
    key = "extracts/late/" + "a" * 64 + ".parquet"
    request = house.request()
    house.blobs.put(key, b"x")
    house.clock.advance(1.0)
    assert house.sweeper.step() == 0
    assert house.stored() == [key]
    house.store.state.end(request, "failed")
    assert house.sweeper.step() == 1
    assert house.stored() == []


# --- what is said ---


def test_what_forgetting_says(house: House, said: Callable[..., Any]) -> None:
    """A line for each kind of which something went."""
    house.events(3)
    house.clock.advance(DAY)
    forget(house.store, [Keep("messages", 0.5), Keep("events", 0.5)])
    assert said() == [("INFO", "records.forgotten", {"kind": "events", "rows": 3})]


def test_what_sweeping_says(house: House, said: Callable[..., Any]) -> None:
    """A line for each model, for what waits, and for each upload."""
    for digit in "ab":
        house.orphan(digit)
    house.orphan("a", "other")
    house.uploads.begun = [Upload("landing/a", "1", house.clock.now())]
    house.request()
    house.clock.advance(2 * DAY)
    house.sweeper.step()
    assert said() == [
        ("INFO", "sweep.postponed", {"model": "late", "objects": 2, "reason": "it has open requests"}),
        ("INFO", "sweep.removed", {"model": "other", "objects": 1}),
        ("INFO", "sweep.aborted_upload", {"key": "landing/a"}),
    ]


# --- months of predictions ---


def test_months_of_predictions_and_their_labels(house: House) -> None:
    """Every month that is over its time goes, one in a transaction, then its labels; the sum is returned."""
    state, now = house.store.state, house.clock.now()
    for days in (800, 600, 500, 1):
        state.log("late", 1, {}, {"prediction": 1}, ident=f"p{days}", logged_at=now - timedelta(days=days))
        state.label(f"p{days}", 1, at=now - timedelta(days=days))
    assert forget_predictions(house.store, 400.0) == 6
    assert [row.id for _, row in house.store.state.numbered()] == ["p1"]
    assert [ident for ident, _ in house.store.state.given()] == ["p1"]
    assert forget_predictions(house.store, 400.0) == 0


def test_batch_jobs_whose_time_is_over(house: House) -> None:
    """What the predictor keeps of them and what they made goes; files that were dropped are other people's."""
    keys = ["batch/in/late/a.csv", "batch/jobs/bj_1", "batch/keys/k", "batch/out/late/bj_1/a.csv", "batch/uploads/bj_1"]
    for key in keys:
        house.blobs.put(key, b"x")
    house.clock.advance(29 * DAY)
    house.blobs.put("batch/jobs/bj_0", b"x")
    house.sweeper.step()
    assert house.stored() == sorted([*keys, "batch/jobs/bj_0"])
    house.clock.advance(2 * DAY)
    assert house.sweeper.step() == 4
    assert house.stored() == ["batch/in/late/a.csv", "batch/jobs/bj_0"]
