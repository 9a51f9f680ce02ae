"""What keeping the house does in every store. The class needs a fixture ``world`` (of the scheduling contract)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainyard.alias_object import artifact_key, extract_key
from trainyard.contracts.fleet import Instance, LaunchSpec
from trainyard.contracts.idempotency import Repeatable
from trainyard.contracts.launches import CAPACITY
from trainyard.contracts.upkeep import ReleasedExtract
from trainyard.messages import TrainingRequest
from trainyard.testing.contracts.scheduling import add_model, add_request

if TYPE_CHECKING:
    from trainyard.contracts.upkeep import Upkeep
    from trainyard.testing.contracts.scheduling import World

_DAY = 86_400.0
#: Everything is older than what is still to come.
_ALL = -1.0


def _forget(upkeep: Upkeep, kind: str, older_than_seconds: float, keep: int = 0, limit: int = 100) -> int:
    return upkeep.forget(kind, older_than_seconds=older_than_seconds, keep_newest=keep, limit=limit)


class UpkeepContract:
    """Each kind by age, by number and in batches; what must not go stays."""

    def test_events(self, world: World) -> None:
        """Old ones go, oldest first and not too many at once; the newest stay; numbers are never used again."""
        with world.store.begin() as records:
            for number in range(6):
                records.journal.announce("kind", "subject", {"number": number})
            last = records.journal.last_event()
        with world.store.begin() as records:
            assert _forget(records.upkeep, "events", _DAY) == 0
            assert _forget(records.upkeep, "events", _ALL, keep=4, limit=1) == 1
            assert _forget(records.upkeep, "events", _ALL, keep=4) == 1
            assert _forget(records.upkeep, "events", _ALL, keep=4) == 0
            assert [event.payload["number"] for event in records.journal.events(0, 10)] == [2, 3, 4, 5]
            assert _forget(records.upkeep, "events", _ALL, limit=3) == 3
            records.journal.announce("kind", "subject", {"number": 6})
            assert records.journal.last_event() == last + 1

    def test_messages(self, world: World) -> None:
        """Only what was sent goes."""
        with world.store.begin() as records:
            for name in ("a", "b", "c"):
                records.outbox.post("training", TrainingRequest(name))
            records.outbox.mark_sent([message.id for message in records.outbox.take(2, hold_seconds=60)])
        with world.store.begin() as records:
            assert _forget(records.upkeep, "messages", _DAY) == 0
            assert _forget(records.upkeep, "messages", _ALL, limit=1) == 1
            assert _forget(records.upkeep, "messages", _ALL) == 1
            assert records.outbox.waiting("training") == [TrainingRequest("c").outgoing()]

    def test_answers(self, world: World) -> None:
        """A forgotten answer's key is free again."""
        post = Repeatable("POST /x", "key", "k", "sha")
        with world.store.begin() as records:
            records.answers.keep(post, 201, "{}")
        with world.store.begin() as records:
            assert _forget(records.upkeep, "answers", _DAY) == 0
            assert records.answers.first(post) == (201, "{}")
            assert _forget(records.upkeep, "answers", _ALL) == 1
            assert records.answers.first(post) is None

    def test_decisions(self, world: World) -> None:
        """Of each model the newest stay."""
        with world.store.begin() as records:
            models = [add_model(records), add_model(records, "early")]
            for number in range(4):
                for model in models[: 1 + (number < 2)]:
                    reason = f"not fired: {number}"
                    records.requests.decide(
                        model, fired=False, reason=reason, numbers={"number": number}, request_id=None
                    )
        with world.store.begin() as records:
            assert _forget(records.upkeep, "decisions", _DAY) == 0
            assert _forget(records.upkeep, "decisions", _ALL, keep=3) == 1
            assert [len(records.requests.decisions(model, 9, None)) for model in models] == [3, 2]
            assert records.requests.decisions(models[0], 9, None)[-1].reason == "not fired: 1"
            assert _forget(records.upkeep, "decisions", _ALL, limit=2) == 2
            assert _forget(records.upkeep, "decisions", _ALL) == 3

    def test_launches(self, world: World) -> None:
        """Open launches stay."""
        with world.store.begin() as records:
            spec = LaunchSpec(("c7i.large",), spot=True)
            _, failed, ended = (records.launches.ask(spec, "a request waits") for _ in range(3))
            records.launches.failed(failed, CAPACITY, "no capacity")
            records.launches.launched(ended, Instance("i-1", ended, "c7i.large", "running"), None)
            records.launches.ended([ended], "gone")
        with world.store.begin() as records:
            assert _forget(records.upkeep, "launches", _DAY) == 0
            assert _forget(records.upkeep, "launches", _ALL, limit=1) == 1
            assert _forget(records.upkeep, "launches", _ALL) == 1
            assert len(records.launches.open()) == 1

    def test_unreferenced(self, world: World) -> None:
        """The key of a version's artifact is referenced, also when its model was deleted; the order stays."""
        world.add_rows(5)
        with world.store.begin() as records:
            model = add_model(records)
            request = add_request(records, model)
        world.claim(request.id)
        world.finish(request.id)
        with world.store.begin() as records:
            (version,) = records.versions.published_versions()
            key = artifact_key(version.model, version.sha256)
            records.models.delete(model)
            assert records.upkeep.unreferenced(["z", key, "a"]) == ["z", "a"]
            assert records.upkeep.unreferenced([]) == []

    def test_extracts_of_rows_that_went(self, world: World) -> None:
        """Marked versions lose theirs, some at a time and once; the object is referenced while a sound one has it."""
        keys = [extract_key("late", digit * 64) for digit in "ab"]
        world.add_rows(5)
        with world.store.begin() as records:
            model = add_model(records)
        for upto, key in enumerate([keys[0], keys[0], keys[1], None, keys[1]], start=1):
            with world.store.begin() as records:
                request = add_request(records, model, upto)
            world.claim(request.id)
            world.finish(request.id, extract_key=key)
        with world.store.begin() as records:
            assert records.upkeep.release_extracts(limit=9) == []
            assert records.upkeep.unreferenced(keys) == []
        for version in (1, 2, 3, 4):
            world.rows_went(version)
        first, second, third = (
            ReleasedExtract("late", number, key) for number, key in ((1, keys[0]), (2, keys[0]), (3, keys[1]))
        )
        with world.store.begin() as records:
            assert records.upkeep.release_extracts(limit=1) == [first]
            assert records.upkeep.unreferenced(keys) == []
            assert records.upkeep.release_extracts(limit=9) == [second, third]
            assert records.upkeep.release_extracts(limit=9) == []
            assert records.upkeep.unreferenced(keys) == [keys[0]]
            found = [records.versions.version(model, number) for number in (1, 5)]
            assert [None if one is None else one.extract_key for one in found] == [None, keys[1]]

    def test_extracts_of_a_dataset_that_went(self, world: World) -> None:
        """Whose dataset is deleted has no extract any more; nobody needs to mark it."""
        key = extract_key("late", "a" * 64)
        world.add_rows(5)
        with world.store.begin() as records:
            model = add_model(records)
            request = add_request(records, model)
        world.claim(request.id)
        version = world.finish(request.id, extract_key=key)
        with world.store.begin() as records:
            records.models.delete(model)
            assert records.upkeep.release_extracts(limit=9) == []
        world.drop_dataset()
        with world.store.begin() as records:
            assert records.upkeep.release_extracts(limit=9) == [ReleasedExtract("late", version, key)]
            assert records.upkeep.unreferenced([key]) == [key]

    def test_still(self, world: World) -> None:
        """A model is still while none of its requests is open; a name without a model is."""
        world.add_rows(5)
        with world.store.begin() as records:
            model = add_model(records)
            add_model(records, "early")
            assert records.upkeep.still("late")
            request = add_request(records, model)
            assert not records.upkeep.still("late")
            assert records.upkeep.still("early")
            assert records.upkeep.still("nosuch")
        world.claim(request.id)
        with world.store.begin() as records:
            assert not records.upkeep.still("late")
        world.finish(request.id)
        with world.store.begin() as records:
            assert records.upkeep.still("late")

    def test_now(self, world: World) -> None:
        """The time is aware and goes on."""
        with world.store.begin() as records:
            first = records.upkeep.now()
            assert first.tzinfo is not None
            assert records.upkeep.now() >= first
