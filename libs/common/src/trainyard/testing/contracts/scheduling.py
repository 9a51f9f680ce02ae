"""What the scheduler's records do in every store. The class needs a fixture ``world`` (:class:`World`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest

from trainyard.auth import make_key, parse_key
from trainyard.contracts.idempotency import Repeatable
from trainyard.contracts.requests import COUNTED_STATES, NewRequest
from trainyard.errors import ServiceError
from trainyard.messages import DataArrived, TrainingRequest
from trainyard.policy import Policy

if TYPE_CHECKING:
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

    def finish(self, request_id: str) -> int:
        """Let the holder publish a version; return its number."""
        ...


def add_model(records: Records, name: str = "late") -> int:
    """Create a model; return its id."""
    dataset = records.models.dataset("flights", hold=True)
    assert dataset is not None
    assert records.models.add(name, dataset.id, label="late", task="auto", policy=Policy())
    model = records.models.get(name)
    assert model is not None
    return model.id


def new_request(model_id: int, upto_seq: int = 5) -> NewRequest:
    """Return a request to be inserted."""
    return NewRequest(model_id, "by_hand", upto_seq, 5, Policy().settings(), "test", "trace")


def add_request(records: Records, model_id: int, upto_seq: int = 5) -> RequestRecord:
    """Insert a request."""
    request = records.requests.add(new_request(model_id, upto_seq))
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
            records.requests.cancel(first.id, at_once=True)
            cancelled = records.requests.get(first.id, lock=True)
            assert cancelled is not None
            assert (cancelled.state, cancelled.finished_at is not None) == ("cancelled", True)
            assert records.requests.newest(model, ("cancelled",)) == cancelled
            assert records.requests.add(new_request(model)) is not None

    def test_request_pages(self, world: World) -> None:
        """Pages run from the newest to the oldest without gap or repeat."""
        with world.store.begin() as records:
            model = add_model(records)
        made = []
        for upto in range(1, 6):
            with world.store.begin() as records:
                made.append(add_request(records, model, upto).id)
        seen: list[str] = []
        with world.store.begin() as records:
            while page := records.requests.page(model, 2, seen[-1] if seen else None):
                seen += [request.id for request in page]
        assert seen == made[::-1]

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
            states = [record.state for record in records.requests.page(model, 9, None)]
            assert sorted(states) == ["cancelled", "cancelled", "done", "running"]

    def test_decisions(self, world: World) -> None:
        """Decisions keep their numbers, newest first."""
        with world.store.begin() as records:
            model = add_model(records)
            assert records.requests.latest_decision(model) is None
            request = add_request(records, model)
            for number in range(3):
                records.requests.decide(
                    model, fired=number == 2, reason=f"{number}", numbers={"n": number}, request_id=request.id
                )
            newest = records.requests.latest_decision(model)
            assert newest is not None
            assert (newest.fired, newest.reason, dict(newest.numbers), newest.request_id) == (
                True,
                "2",
                {"n": 2},
                request.id,
            )
            assert [d.reason for d in records.requests.decisions(model, 9, newest.id)] == ["1", "0"]

    def test_runs_and_versions(self, world: World) -> None:
        """A finished request shows its run and its version."""
        with world.store.begin() as records:
            model = add_model(records)
            ids = [add_request(records, model, upto).id for upto in (1, 2)]
        for ident in ids:
            world.claim(ident)
            world.finish(ident)
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

    def test_aliases(self, world: World) -> None:
        """An alias rises in seq with every move, over a removal too; the version and the list name it."""
        with world.store.begin() as records:
            model = add_model(records)
            ids = [add_request(records, model, upto).id for upto in (1, 2)]
        for ident in ids:
            world.claim(ident)
            world.finish(ident)
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
        """Messages come in order, until they are marked."""
        with world.store.begin() as records:
            records.outbox.post("training", TrainingRequest("a"))
            records.outbox.post("arrived", DataArrived("flights", "b", 1))
        with world.store.begin() as records:
            first, second = records.outbox.take(5)
            assert (first.queue, first.outgoing) == ("training", TrainingRequest("a").outgoing())
            records.outbox.mark_sent([first.id])
            assert records.outbox.take(5) == [second]
            assert records.outbox.waiting("training") == []
            assert records.outbox.waiting("arrived") == [second.outgoing]
            assert records.outbox.forget_sent(older_than_seconds=3600) == 0

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
            assert records.outbox.take(1) == []
            assert records.journal.last_event() == 0


def _change_and_fail(world: World) -> None:
    with world.store.begin() as records:
        add_model(records)
        records.outbox.post("training", TrainingRequest("a"))
        records.journal.announce("a", "b", {})
        raise RuntimeError("no")
