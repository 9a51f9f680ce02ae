"""What the scheduler's records do in every store. The class needs a fixture ``world`` (:class:`World`)."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from trainyard.auth import make_key, parse_key
from trainyard.contracts.idempotency import Repeatable
from trainyard.contracts.registry import NOT_TRAINED_HERE, Approval, ImportedVersion
from trainyard.contracts.requests import COUNTED_STATES, POLICY_ACTOR, NewRequest
from trainyard.contracts.runs import Line
from trainyard.errors import ServiceError
from trainyard.messages import DataArrived, TrainingRequest
from trainyard.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainyard.contracts.requests import RequestRecord
    from trainyard.contracts.scheduling import Records, Store


class World(Protocol):
    """A store without models, with a dataset ``flights`` without rows, and what other services do to it."""

    @property
    def store(self) -> Store:
        """The store."""
        ...

    def add_rows(self, rows: int) -> int:
        """Commit rows; return the number of the last."""
        ...

    def claim(self, request_id: str, *, lease_seconds: float = 60.0, instance_id: str | None = None) -> None:
        """Let a trainer hold the request; a negative lease has run out already."""
        ...

    def say(self, run_id: str, lines: Sequence[Line]) -> None:
        """Let the trainer of a run keep what it has said."""
        ...

    def finish(
        self,
        request_id: str,
        *,
        sha256: str = "ab" * 32,
        extract_key: str | None = None,
        report: Mapping[str, Any] | None = None,
        waits: bool = False,
    ) -> int:
        """Let the holder publish a version, with or without extract, report, wait for a person; return its number."""
        ...

    def rows_went(self, version: int) -> None:
        """Erase rows that this version, of every model, was trained on."""
        ...

    def drop_dataset(self) -> None:
        """Delete the dataset, whose models are deleted."""
        ...

    def label(self, model: str, prediction_id: str) -> None:
        """Log the prediction if it is new, and commit a label of it."""
        ...

    def end(self, request_id: str, state: str) -> None:
        """Let the request end as failed, or as blocked by data."""
        ...


def add_model(records: Records, name: str = "late") -> int:
    """Create a model; return its id."""
    dataset = records.models.dataset("flights", hold=True)
    assert dataset is not None
    assert records.models.add(name, dataset.id, label="late", task="auto", policy=Policy())
    model = records.models.get(name)
    assert model is not None
    return model.id


def new_request(model_id: int, upto_seq: int = 5, *, by: str = "test", priority: int = 0) -> NewRequest:
    """Return a request to be inserted."""
    return NewRequest(model_id, "by_hand", upto_seq, 5, Policy().settings(), by, "trace", priority)


def add_request(
    records: Records, model_id: int, upto_seq: int = 5, *, by: str = "test", priority: int = 0
) -> RequestRecord:
    """Insert a request."""
    request = records.requests.add(new_request(model_id, upto_seq, by=by, priority=priority))
    assert request is not None
    return request


class SchedulingContract:
    """Rooms one by one, then what holds for the transaction around them."""

    def test_model(self, world: World) -> None:
        """A model is created once under its name, found, listed, changed and deleted; its name is then free."""
        with world.store.begin() as records:
            number = add_model(records)
            dataset = records.models.dataset("flights")
            assert dataset is not None
            assert not records.models.add("late", dataset.id, label="late", task="auto", policy=Policy())
            records.models.change_policy(number, Policy(min_new_rows=7))
        with world.store.begin() as records:
            model = records.models.get("late", lock=True)
            assert model is not None
            assert (model.dataset, model.label, model.policy, model.champion) == (
                "flights",
                "late",
                Policy(min_new_rows=7),
                None,
            )
            add_model(records, "early")
            assert [m.name for m in records.models.page(5, None)] == ["early", "late"]
            assert [m.name for m in records.models.page(1, "early")] == ["late"]
            assert records.models.names(dataset="flights") == ["early", "late"]
            assert records.models.names(dataset="other") == []
            records.models.delete(number)
            assert records.models.get("late") is None
            assert add_model(records) != number
            assert records.models.dataset("nosuch") is None

    def test_a_reproduction_is_no_training(self, world: World) -> None:
        """It stands beside the requests for training, one of a model at a time, and no policy counts it."""
        with world.store.begin() as records:
            model = add_model(records)
            before = records.requests.standing(model, labels=True)
            again = replace(new_request(model, 0), reproduces=3)
            request = records.requests.add(again)
            assert request is not None
            assert (request.reproduces, request.upto_seq) == (3, 0)
            assert records.requests.add(replace(again, reproduces=4)) is None
            assert records.requests.reproducing(model) == request
            assert (records.requests.open_for(model), records.requests.newest(model, COUNTED_STATES)) == (None, None)
            assert add_request(records, model).reproduces is None
            assert records.requests.reproducing(model) == request
            found = records.requests.page_texts(5, None, model_id=model)
            assert {json.loads(text)["reproduces"] for _, text in found} == {None, 3}
        world.end(request.id, "failed")
        with world.store.begin() as records:
            open_one = records.requests.open_for(model)
            assert open_one is not None
            records.requests.cancel(open_one.id, at_once=True, why="enough")
            standing = records.requests.standing(model, labels=True)
            assert records.requests.reproducing(model) is None
            assert (standing.used_seq, standing.counted_at) == (before.used_seq, before.counted_at)
            assert standing.refused is not None
            assert (standing.refused.state, standing.refused.in_a_row) == ("cancelled", 1)

    def test_requests_coalesce(self, world: World) -> None:
        """There is one open request for a model and a snapshot; an ended one makes room."""
        with world.store.begin() as records:
            model = add_model(records)
            first = add_request(records, model)
            assert records.requests.add(new_request(model)) is None
            second = add_request(records, model, 6)
            assert records.requests.open_for(model, 5) == first
            assert records.requests.open_for(model, 7) is None
            assert records.requests.newest(model, COUNTED_STATES) == second
            records.requests.cancel(first.id, at_once=True, why="enough")
            cancelled = records.requests.get(first.id, lock=True)
            assert cancelled is not None
            assert (cancelled.state, cancelled.outcome, cancelled.finished_at is not None) == (
                "cancelled",
                "enough",
                True,
            )
            assert records.requests.newest(model, ("cancelled",)) == cancelled
            assert records.requests.add(new_request(model)) is not None

    def test_request_pages(self, world: World) -> None:
        """Pages run from the newest to the oldest without gap or repeat, of a model, of a state or of all."""
        with world.store.begin() as records:
            model, other = add_model(records), add_model(records, "early")
        made = []
        for upto in range(1, 6):
            with world.store.begin() as records:
                made.append(add_request(records, model, upto).id)
        with world.store.begin() as records:
            foreign = add_request(records, other).id
            records.requests.cancel(made[0], at_once=True, why="enough")
        seen: list[str] = []
        with world.store.begin() as records:
            while page := records.requests.page(2, seen[-1] if seen else None, model_id=model):
                seen += [request.id for request in page]
            assert [r.id for r in records.requests.page(9, None)] == [foreign, *seen]
            assert [r.id for r in records.requests.page(9, None, state="cancelled")] == made[:1]
            assert [r.id for r in records.requests.page(9, seen[2], model_id=model, state="queued")] == seen[3:4]
        assert seen == made[::-1]

    def test_pages_as_texts(self, world: World) -> None:
        """The JSON of a page holds what its records do, field by field."""
        with world.store.begin() as records:
            model = add_model(records)
        ids = [_request_of(world, model, upto, priority=upto) for upto in (1, 2, 3)]
        world.claim(ids[1])
        world.finish(ids[1])
        world.claim(ids[2])
        world.end(ids[2], "failed")
        with world.store.begin() as records:
            found = records.requests.page(9, None, model_id=model)
            texts = records.requests.page_texts(9, None, model_id=model)
            assert [ident for ident, _ in texts] == [record.id for record in found]
            for record, (_, text) in zip(found, texts, strict=True):
                fields = json.loads(text)
                times = {name: fields.pop(name) for name in ("created_at", "started_at", "finished_at")}
                expected = asdict(record)
                assert fields == {name: value for name, value in expected.items() if name not in times}
                for name, value in times.items():
                    assert (None if value is None else datetime.fromisoformat(value)) == expected[name]
            shown = {record.state: (record.outcome, record.version) for record in found}
            assert shown["done"] == ("version 1 came of it", 1)
            assert shown["queued"] == (None, None)
            assert records.requests.page_texts(9, found[0].id, model_id=model, state="queued")[0][0] == ids[0]

    def test_standing(self, world: World) -> None:
        """A model's standing is counted from its requests: which use rows up, which count, which were refused."""
        with world.store.begin() as records:
            model = add_model(records)
            fresh = records.requests.standing(model, labels=False)
            found = records.models.get("late")
            assert found is not None
            assert (fresh.last_seq, fresh.used_seq, fresh.trained_rows, fresh.new_labels) == (0, 0, None, None)
            assert (fresh.open_request, fresh.refused, fresh.asked_at) == (None, None, None)
            assert (fresh.counted_at, fresh.cron_upto) == (found.created_at, found.created_at)
        last = world.add_rows(10)
        with world.store.begin() as records:
            request = add_request(records, model, 4, by=POLICY_ACTOR)
        with world.store.begin() as records:
            now = records.requests.standing(model, labels=False)
            assert (now.last_seq, now.used_seq, now.open_request) == (last, 4, request.id)
            assert now.asked_at == request.created_at
            assert now.now >= request.created_at
        world.claim(request.id)
        world.finish(request.id)
        with world.store.begin() as records:
            done = records.requests.standing(model, labels=False)
            assert (done.open_request, done.trained_rows, done.counted_at) == (None, 4, request.created_at)

    def test_standing_after_failures(self, world: World) -> None:
        """Failed and cancelled requests in a row are counted until one ends well; their rows are new again."""
        with world.store.begin() as records:
            model = add_model(records)
        for upto, state in ((5, "failed"), (6, "cancelled")):
            with world.store.begin() as records:
                request = add_request(records, model, upto)
            world.claim(request.id)
            world.end(request.id, state)
        with world.store.begin() as records:
            standing = records.requests.standing(model, labels=False)
            refused, ended = standing.refused, records.requests.get(request.id)
            assert refused is not None
            assert ended is not None
            assert (refused.state, refused.upto_seq, refused.at, refused.in_a_row) == (
                "cancelled",
                6,
                ended.finished_at,
                2,
            )
            assert standing.used_seq == 0
            request = add_request(records, model, 7)
        world.claim(request.id)
        world.end(request.id, "blocked_by_data")
        with world.store.begin() as records:
            standing = records.requests.standing(model, labels=False)
            assert standing.refused is not None
            assert standing.refused.in_a_row == (0 if standing.counted_at == request.created_at else -1)
            assert standing.used_seq == 7

    def test_new_labels(self, world: World) -> None:
        """Distinct labelled predictions of the model are counted, since the last request that counts."""
        with world.store.begin() as records:
            model = add_model(records)
        for name, ident in (("late", "p1"), ("late", "p1"), ("late", "p2"), ("other", "p3")):
            world.label(name, ident)
        with world.store.begin() as records:
            assert records.requests.standing(model, labels=True).new_labels == 2
            request = add_request(records, model)
            assert records.requests.standing(model, labels=True).new_labels == 0
        world.label("late", "p1")
        with world.store.begin() as records:
            assert records.requests.standing(model, labels=True).new_labels == 1
            records.requests.cancel(request.id, at_once=True, why="enough")
            assert records.requests.standing(model, labels=True).new_labels == 2

    def test_cron_is_answered(self, world: World) -> None:
        """The mark moves to now, for this model only."""
        with world.store.begin() as records:
            model, other = add_model(records), add_model(records, "early")
        world.claim(_request_of(world, model))  # time passes
        with world.store.begin() as records:
            before = records.requests.standing(model, labels=False)
            records.requests.cron_answered(model)
        with world.store.begin() as records:
            after = records.requests.standing(model, labels=False)
            assert before.cron_upto < after.cron_upto <= after.now
            assert records.requests.standing(other, labels=False).cron_upto == before.cron_upto

    def test_position(self, world: World) -> None:
        """What waits is listed by age; lease, sends, attempts and their mean time are told."""
        with world.store.begin() as records:
            model = add_model(records)
        ids = []
        for upto, priority in ((1, 0), (2, 5), (3, 0), (4, 0)):
            with world.store.begin() as records:
                ids.append(add_request(records, model, upto, priority=priority).id)
            world.claim(_request_of(world, model, 50 + upto, priority=-100))  # time passes
        with world.store.begin() as records:
            records.outbox.post("training", TrainingRequest(ids[0]))
            records.requests.sent(ids[1:2])
        with world.store.begin() as records:
            assert [r.id for r in records.requests.open_requests() if not r.lease_live] == ids
            first, second = (records.requests.position(ident) for ident in ids[:2])
            assert (first.waiting, first.running, first.holder, first.lease_left) == (4, 4, None, None)
            assert (first.unsent, first.send_count, first.sent_ago) == (True, 0, None)
            assert (second.unsent, second.send_count, second.sent_ago is not None) == (False, 1, True)
            assert (first.mean_seconds, first.attempts) == (None, ())
            assert first.waited >= second.waited >= 0
        world.claim(ids[0])
        world.claim(ids[2], lease_seconds=-5)
        world.finish(ids[0])
        with world.store.begin() as records:
            done, lost = records.requests.position(ids[0]), records.requests.position(ids[2])
            assert [attempt.state for attempt in done.attempts] == ["done"]
            assert done.mean_seconds == pytest.approx(done.attempts[0].seconds)
            assert lost.holder == "test"
            assert lost.lease_left is not None
            assert lost.lease_left <= -5

    def test_neglected_requests(self, world: World) -> None:
        """Whose message may be lost is found: never sent, silent for long, sent to an older queue, lease run out."""
        with world.store.begin() as records:
            model = add_model(records)
            assert not records.requests.any_open()
            ids = [add_request(records, model, upto).id for upto in range(1, 5)]
            assert records.requests.any_open()
            records.requests.sent(ids[1:])
        world.claim(ids[2])
        with world.store.begin() as records:
            look = records.requests.neglected
            assert [r.id for r in look(silent_seconds=3600, sent_before=None)] == ids[:1]
            assert {r.id for r in look(silent_seconds=0, sent_before=None)} == {ids[0], ids[1], ids[3]}
            assert {r.id for r in look(silent_seconds=3600, sent_before=4e9)} == {ids[0], ids[1], ids[3]}
            assert [r.id for r in look(silent_seconds=3600, sent_before=0.0)] == ids[:1]
        world.claim(ids[3], lease_seconds=-5)
        with world.store.begin() as records:
            records.requests.sent(ids[:1])
            assert [r.id for r in records.requests.neglected(silent_seconds=3600, sent_before=None)] == []
        world.claim(ids[3], lease_seconds=0)
        with world.store.begin() as records:
            assert [r.id for r in records.requests.neglected(silent_seconds=3600, sent_before=None)] == ids[3:]

    def test_open_requests(self, world: World) -> None:
        """Whoever holds a lease is seen with its instance; sends are counted; ended requests are not listed."""
        with world.store.begin() as records:
            model = add_model(records)
            ids = [add_request(records, model, upto).id for upto in range(1, 5)]
            records.requests.sent(ids[:1])
        world.claim(ids[1], instance_id="i-1")
        world.claim(ids[2], lease_seconds=-5)
        world.claim(ids[3])
        world.finish(ids[3])
        with world.store.begin() as records:
            found = {request.id: request for request in records.requests.open_requests()}
            assert set(found) == set(ids[:3])
            queued, held, lost = (found[ident] for ident in ids[:3])
            assert (queued.lease_live, queued.send_count, queued.sent_at is not None) == (False, 1, True)
            assert (held.lease_live, held.instance_id, held.sent_ago) == (True, "i-1", None)
            assert lost.lease_live is False
            assert lost.lease_ended_ago is not None
            assert lost.lease_ended_ago >= 5
            assert set(records.requests.cancel_queued(model)) == set(ids[:3])
            states = [record.state for record in records.requests.page(9, None, model_id=model)]
            assert sorted(states) == ["cancelled", "cancelled", "done", "running"]

    def test_decisions(self, world: World) -> None:
        """Decisions keep their numbers, newest first; equal ones in a row are counted, with the numbers of the last."""
        with world.store.begin() as records:
            model, other = add_model(records), add_model(records, "early")
            room = records.requests
            assert room.decisions(model, 9, None) == []
            assert not room.decide_again(model, reason="1", numbers={})
            request = add_request(records, model)
            for number in range(3):
                room.decide(model, fired=number == 2, reason=f"{number}", numbers={"n": number}, request_id=request.id)
            newest = room.decisions(model, 1, None)[0]
            assert (newest.fired, newest.reason, dict(newest.numbers), newest.request_id, newest.times) == (
                True,
                "2",
                {"n": 2},
                request.id,
                1,
            )
            assert [d.reason for d in room.decisions(model, 9, newest.id)] == ["1", "0"]
            assert not room.decide_again(model, reason="2", numbers={})  # what fired is never the same again
            room.decide(model, fired=False, reason="3", numbers={"n": 3}, request_id=None)
            room.decide(other, fired=False, reason="x", numbers={}, request_id=None)
            assert not room.decide_again(model, reason="4", numbers={})
            assert room.decide_again(model, reason="3", numbers={"n": 4})
            again = room.decisions(model, 1, None)[0]
            assert (again.reason, dict(again.numbers), again.times) == ("3", {"n": 4}, 2)
            assert again.last_at >= again.at

    def test_runs_and_versions(self, world: World) -> None:
        """A finished request shows its run and its version."""
        model, ids = _two_finished(world)
        with world.store.begin() as records:
            runs = records.requests.runs("late", 9, None)
            assert [run.request_id for run in runs] == ids[::-1]
            assert records.requests.run(runs[0].id) == runs[0]
            assert records.requests.runs(None, 9, runs[0].id) == runs[1:]
            assert records.requests.runs("other", 9, None) == []
            assert [(v.version, v.request_id) for v in records.versions.versions(model, 9, None)] == [
                (2, ids[1]),
                (1, ids[0]),
            ]
            assert [v.version for v in records.versions.versions(model, 9, 2)] == [1]
            assert records.versions.version(model, 3) is None

    def test_what_runs_say(self, world: World) -> None:
        """Newest first, page by page; each run its own, and they go by their age."""
        _two_finished(world)
        said = [Line(n, datetime(2026, 1, 1, tzinfo=UTC), "info", "training", f"line {n}") for n in (1, 2, 3)]
        with world.store.begin() as records:
            newest, other = (run.id for run in records.requests.runs("late", 9, None))
        world.say(newest, said)
        with world.store.begin() as records:
            room = records.requests
            assert room.run_lines(newest, 2, None) == [said[2], said[1]]
            assert room.run_lines(newest, 2, 2) == [said[0]]
            assert room.run_lines(other, 2, None) == []
            forget = partial(records.upkeep.forget, "lines", keep_newest=0)
            assert forget(older_than_seconds=1e10, limit=9) == 0
            assert [forget(older_than_seconds=-1.0, limit=2) for _ in range(3)] == [2, 1, 0]
            assert room.run_lines(newest, 9, None) == []

    def test_reports(self, world: World) -> None:
        """A version's report is returned as it was stored; one without, and no version at all, have none."""
        with world.store.begin() as records:
            model, other = add_model(records), add_model(records, "other")
            ids = [add_request(records, model, upto).id for upto in (1, 2)]
        report = {"form": 1, "metrics": {"roc_auc": {"value": 0.75, "low": None}}, "names": ["ü", "<b>"]}
        for ident, found in zip(ids, (report, None), strict=True):
            world.claim(ident)
            world.finish(ident, report=found)
        with world.store.begin() as records:
            reports = [records.versions.report(model, number) for number in (1, 2, 3)]
            assert reports == [report, None, None]
            assert records.versions.report(other, 1) is None

    def test_approval(self, world: World) -> None:
        """A version that waits is decided on once, with who, when and why; one that does not wait never is."""
        with world.store.begin() as records:
            model = add_model(records)
            ids = [add_request(records, model, upto).id for upto in (1, 2, 3)]
        for ident, waits in zip(ids, (False, True, True), strict=True):
            world.claim(ident)
            world.finish(ident, waits=waits)
            if not waits:
                with world.store.begin() as records:
                    records.versions.point(model, "champion", 1)
        with world.store.begin() as records:
            versions = records.versions
            found = [versions.version(model, number) for number in (1, 2)]
            assert [None if one is None else one.approval for one in found] == [None, Approval("pending_approval", 1)]
            assert not versions.decide(model, 1, approve=True, actor="a", reason="r")
            assert versions.decide(model, 2, approve=True, actor="a", reason="seen")
            assert not versions.decide(model, 2, approve=False, actor="b", reason="late")
            assert versions.decide(model, 3, approve=False, actor="b", reason="no")
        with world.store.begin() as records:
            listed = [version.approval for version in records.versions.versions(model, 9, None)]
            third, second, first = listed
            assert first is None
            assert second is not None
            assert third is not None
            assert (second.state, second.decided_by, second.reason) == ("approved", "a", "seen")
            assert (third.state, third.decided_by, third.reason) == ("rejected", "b", "no")
            assert second.decided_at is not None

    def test_imported_versions(self, world: World) -> None:
        """One that was fitted elsewhere takes the next number, has no run, is found by its bytes and may serve."""
        world.add_rows(5)
        with world.store.begin() as records:
            model = add_model(records)
            request = add_request(records, model)
        world.claim(request.id)
        world.finish(request.id)
        origin = {"library": "xgboost", "version": "3.2.0"}
        with world.store.begin() as records:
            made = records.versions.add_imported(
                model, ImportedVersion("models/late/b.msgpack", "cd" * 32, 7, origin, 2e-9)
            )
            assert (made.version, made.request_id, made.run_id, made.fence) == (2, None, None, None)
            assert (made.sha256, made.size_bytes, made.upto_seq, made.passed) == ("cd" * 32, 7, 0, False)
            assert (made.gate["imported"], made.not_reproducible) == (origin, NOT_TRAINED_HERE)
            assert made.metrics == {"parity": 2e-9}
        with world.store.begin() as records:
            assert records.versions.with_bytes(model, "cd" * 32) == made
            assert records.versions.with_bytes(model, "ef" * 32) is None
            assert [v.version for v in records.versions.versions(model, 5, None)] == [2, 1]
            records.versions.point(model, "champion", 2)
            assert [(a.version, a.sha256, a.size) for a in records.versions.published()] == [(2, "cd" * 32, 7)]
            assert records.requests.standing(model, labels=False).trained_rows != 0

    def test_aliases(self, world: World) -> None:
        """An alias rises in seq with every move, over a removal too; the version and the list name it."""
        model, _ = _two_finished(world)
        with world.store.begin() as records:
            versions = records.versions
            seqs = []
            for number in (1, 2):
                moved = versions.point(model, "champion", number)
                versions.deployed(model, moved, previous_version=None, removed=False, actor="a", reason="r")
                seqs.append(moved.seq)
            current = versions.alias(model, "champion", lock=True)
            assert current is not None
            assert (current.version, versions.aliases(model)) == (2, [current])
            found = versions.version(model, 2)
            assert found is not None
            assert found.aliases == ("champion",)
            (published,) = versions.published()
            assert (published.model, published.alias, published.version, published.sha256, published.seq) == (
                "late",
                "champion",
                2,
                found.sha256,
                current.seq,
            )
            assert [(v.model, v.version) for v in versions.published_versions()] == [("late", 1), ("late", 2)]
            assert versions.published_versions()[1].sha256 == found.sha256
            versions.remove_alias(model, "champion")
            versions.deployed(model, current, previous_version=2, removed=True, actor="a", reason="r")
            assert versions.published() == []
            assert versions.deployed_at(model, versions.deployments(model, 1, None)[0].at) == []
            seqs.append(versions.point(model, "champion", 1).seq)
            assert seqs == sorted(set(seqs))
            assert [d.version for d in versions.deployments(model, 9, None)] == [None, 2, 1]

    def test_outbox(self, world: World) -> None:
        """Messages come in order to whoever takes them first, until they are marked or given back."""
        with world.store.begin() as records:
            assert records.outbox.oldest_seconds() == 0
            records.outbox.post("training", TrainingRequest("a"))
            records.outbox.post("arrived", DataArrived("flights", "b", 1), delay_seconds=5)
        with world.store.begin() as records:
            first, second = records.outbox.take(5, hold_seconds=60)
            assert (first.queue, first.outgoing) == ("training", TrainingRequest("a").outgoing())
            assert (second.queue, second.outgoing.delay_seconds) == ("arrived", 5)
            assert records.outbox.oldest_seconds() >= 0
        with world.store.begin() as records:
            assert records.outbox.take(5, hold_seconds=60) == []
            records.outbox.mark_sent([first.id])
            records.outbox.give_back([second.id])
            assert records.outbox.take(5, hold_seconds=-1) == [second]
            assert records.outbox.take(5, hold_seconds=60) == [second]
            assert records.outbox.waiting("training") == []
            assert records.outbox.waiting("arrived") == [second.outgoing]
            records.outbox.mark_sent([second.id])
            assert records.outbox.oldest_seconds() == 0

    def test_tally(self, world: World) -> None:
        """Requests, runs and messages are counted by state and queue; nothing open has waited for no time."""
        upto = world.add_rows(9)
        with world.store.begin() as records:
            assert records.tallies.tally().request_oldest_seconds == 0
            model = add_model(records)
            held, ended, queued = (add_request(records, model, upto - back).id for back in range(3))
            records.outbox.post("training", TrainingRequest(queued))
        world.claim(held)
        world.claim(ended)
        world.end(ended, "failed")
        with world.store.begin() as records:
            waited = records.outbox.oldest_seconds()
            tally = records.tallies.tally()
        assert (tally.requests, tally.runs["running"]) == ({"running": 1, "failed": 1, "queued": 1}, 1)
        assert sum(tally.runs.values()) == 2
        assert (tally.outbox, tally.launches) == ({"training": 1}, {})
        assert 0 < waited <= tally.request_oldest_seconds

    def test_outbox_limit(self, world: World) -> None:
        """The limit holds for each queue on its own: a long one does not keep another from moving."""
        with world.store.begin() as records:
            for name in "abc":
                records.outbox.post("training", TrainingRequest(name))
            records.outbox.post("arrived", DataArrived("flights", "b", 1))
        with world.store.begin() as records:
            queues = [message.queue for message in records.outbox.take(2, hold_seconds=60)]
            assert queues == ["training", "training", "arrived"]

    def test_keys(self, world: World) -> None:
        """A key is registered once, listed, live until it is revoked."""
        parsed = parse_key(make_key())
        assert parsed is not None
        with world.store.begin() as records:
            made = records.keys.add(parsed, name="me", scopes=["read"], expires_in_days=1)
            assert made is not None
            assert records.keys.add(parsed, name="again", scopes=["admin"]) is None
            assert records.keys.page(5, None) == [made]
            assert records.keys.page(5, made.id) == []
            (live,) = records.keys.live()
            assert (live.key_id, live.secret_sha256, live.scopes) == (made.id, parsed.secret_sha256, ("read",))
            records.keys.revoke(made.id)
            assert records.keys.live() == []
            revoked = records.keys.get(made.id)
            assert revoked is not None
            assert revoked.revoked_at is not None

    def test_answers(self, world: World) -> None:
        """The first answer comes back for the same body, and another body is refused."""
        post = Repeatable("POST /x", "key", "once", "body")
        with world.store.begin() as records:
            assert records.answers.first(post) is None
            records.answers.keep(post, 201, "{}")
        with world.store.begin() as records:
            assert records.answers.first(post) == (201, "{}")
            with pytest.raises(ServiceError, match="key_reused"):
                records.answers.first(Repeatable("POST /x", "key", "once", "other"))

    def test_journal(self, world: World) -> None:
        """Events come in order behind an id; audit entries newest first."""
        with world.store.begin() as records:
            before = records.journal.last_event()
            records.journal.announce("a.b", "c/d", {"x": 1})
            records.journal.announce("e.f", "g/h", {})
            for number in range(2):
                records.journal.audit(actor="me", action=f"do.{number}", subject="it", details={"n": number})
        with world.store.begin() as records:
            found = records.journal.events(before, 9)
            assert [(event.kind, event.subject, dict(event.payload)) for event in found] == [
                ("a.b", "c/d", {"x": 1}),
                ("e.f", "g/h", {}),
            ]
            assert records.journal.last_event() == found[-1].id
            newest, oldest = records.journal.audit_page(2, None)
            assert (newest.action, dict(newest.details), oldest.action) == ("do.1", {"n": 1}, "do.0")
            assert oldest in records.journal.audit_page(9, newest.id)

    def test_rollback(self, world: World) -> None:
        """A block that raises leaves nothing behind."""
        with pytest.raises(RuntimeError, match="no"):
            _change_and_fail(world)
        with world.store.begin() as records:
            assert records.models.names() == []
            assert records.outbox.take(1, hold_seconds=60) == []
            assert records.journal.last_event() == 0


def _request_of(world: World, model: int, upto_seq: int = 5, *, priority: int = 0) -> str:
    with world.store.begin() as records:
        return add_request(records, model, upto_seq, priority=priority).id


def _two_finished(world: World) -> tuple[int, list[str]]:
    """Return a model whose two requests have each made a version, and the requests, oldest first."""
    with world.store.begin() as records:
        model = add_model(records)
        ids = [add_request(records, model, upto).id for upto in (1, 2)]
    for ident in ids:
        world.claim(ident)
        world.finish(ident)
    return model, ids


def _change_and_fail(world: World) -> None:
    with world.store.begin() as records:
        add_model(records)
        records.outbox.post("training", TrainingRequest("a"))
        records.journal.announce("a", "b", {})
        raise RuntimeError("no")
