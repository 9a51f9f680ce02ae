"""Aliases by hand: moved, removed, rolled back, with what the journal and the list of deployments then say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from trainyard.clock import ManualClock
from trainyard.errors import ServiceError
from trainyard.testing.fakes import MemoryStore
from trainyard.testing.fakes.scheduling_registry import MemoryModels, MemoryVersions
from trainyard_scheduler.use_cases.answers import By
from trainyard_scheduler.use_cases.models import model_called, put_model
from trainyard_scheduler.use_cases.requests import ask
from trainyard_scheduler.use_cases.versions import alias_of, decide, remove_alias, roll_back, set_alias, version_of

if TYPE_CHECKING:
    from collections.abc import Callable

BY = By("operator", "trace")
COLUMNS = ({"name": "late", "type": "bool", "role": "label"}, {"name": "x", "type": "float"})


class Scene:
    """A model with three versions and no alias."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.store.state.add_dataset("flights", COLUMNS)
        with self.store.begin() as records:
            put_model(records, "late", {"dataset": "flights", "label": "late"}, BY)
        for _ in range(3):
            self.train()
        self.skip = (len(self.store.state.events), len(self.store.state.audit))

    def train(self, *, waits: bool = False) -> int:
        """Let a version come, which may wait for a person; return its number."""
        self.store.state.add_rows("flights", 5)
        with self.store.begin() as records:
            ident = ask(records, "late", {}, BY)[1].id
        self.store.state.claim(ident, lease_until=self.clock.now())
        return self.store.state.finish(ident, waits=waits)

    def do(self, change: Any, *given: Any, **named: Any) -> Any:
        """Make one change in a transaction."""
        with self.store.begin() as records:
            return change(records, *given, **named)

    def point(self, alias: str, version: int, expected_seq: int | None = None, model: str = "late", **more: Any) -> Any:
        """Move an alias by hand."""
        return self.do(set_alias, model, alias, version, expected_seq=expected_seq, reason="because", by=BY, **more)

    def aliases(self) -> dict[str, int]:
        """Return where the aliases point."""
        return {name: alias.version for (_, name), alias in self.store.state.aliases.items()}

    def deployments(self) -> list[Any]:
        """Return the moves, oldest first."""
        return [
            (d.alias, d.version, d.previous_version, d.seq, d.actor, d.reason) for _, d in self.store.state.deployments
        ]

    def refused(self, change: Any, *given: Any, **named: Any) -> tuple[str, str]:
        """Return code and message of the refusal."""
        with pytest.raises(ServiceError) as caught:
            self.do(change, *given, **named)
        return caught.value.code, caught.value.message


@pytest.fixture
def scene() -> Scene:
    """A fresh scene."""
    return Scene()


def test_an_alias_moves(scene: Scene, journal: Callable[..., Any]) -> None:
    """It points where it was told, as compare-and-set when asked; every move is told with actor and reason."""
    first = scene.point("shadow", 1, expected_seq=0)
    second = scene.point("shadow", 3, expected_seq=first.seq)
    assert (second.name, second.version, scene.aliases()) == ("shadow", 3, {"shadow": 3})
    code, message = scene.refused(set_alias, "late", "shadow", 1, expected_seq=first.seq, reason="", by=BY)
    assert (code, message[:40]) == ("conflict", "alias 'shadow' of model 'late' was moved"[:40])
    subject = "model/late/alias/shadow"
    moves = [
        {"version": 1, "previous_version": None, "seq": first.seq, "reason": "because", "weight": 1.0},
        {"version": 3, "previous_version": 1, "seq": second.seq, "reason": "because", "weight": 1.0},
    ]
    assert journal(scene.store, scene.skip) == (
        [("alias.moved", subject, details) for details in moves],
        [("operator", "alias.move", subject, details) for details in moves],
    )
    assert scene.deployments() == [
        ("shadow", 1, None, first.seq, "operator", "because"),
        ("shadow", 3, 1, second.seq, "operator", "because"),
    ]


def test_a_challenger_has_a_share_only_when_it_is_given_one(scene: Scene) -> None:
    """None at first, the given one after, none again for another version; each change is a move of its own."""
    first = scene.point("challenger", 1)
    given = scene.point("challenger", 1, weight=0.1)
    same = scene.point("challenger", 1)
    other = scene.point("challenger", 2)
    assert [one.weight for one in (first, given, same, other)] == [0.0, 0.1, 0.1, 0.0]
    assert [one.seq for one in (given, same, other)] == [first.seq + 1, first.seq + 1, first.seq + 2]
    assert [reason for *_, reason in scene.deployments()] == ["because", "10 % of the requests: because", "because"]


@pytest.mark.parametrize(
    ("alias", "weight"), [("champion", 0.5), ("stable", 1.0), ("challenger", 1.01), ("shadow", -1)]
)
def test_weights_are_of_challengers_and_shadows(scene: Scene, alias: str, weight: float) -> None:
    """Of no other alias, and from 0 to 1."""
    code, _ = scene.refused(set_alias, "late", alias, 1, expected_seq=None, reason="", by=BY, weight=weight)
    assert code == "bad_request"
    assert scene.aliases() == {}


def test_an_alias_is_removed(scene: Scene, journal: Callable[..., Any]) -> None:
    """It is gone, and the list of deployments says which version it left."""
    moved = scene.point("shadow", 2)
    scene.do(remove_alias, "late", "shadow", BY)
    assert scene.aliases() == {}
    assert scene.deployments()[-1] == ("shadow", None, 2, moved.seq, "operator", "removed")
    assert {model_id for model_id, _ in scene.store.state.deployments} == {scene.store.state.models[0].id}
    events, audit = journal(scene.store, scene.skip)
    details = {"version": 2, "seq": moved.seq}
    assert events[1:] == [("alias.removed", "model/late/alias/shadow", details)]
    assert audit[1:] == [("operator", "alias.remove", "model/late/alias/shadow", details)]


@pytest.mark.parametrize(("reason", "kept"), [("too slow", "rollback: too slow"), ("", "rollback")])
def test_rollback(scene: Scene, journal: Callable[..., Any], reason: str, kept: str) -> None:
    """The champion goes back to the previous one; twice is there and back again."""
    scene.point("champion", 1)
    scene.point("champion", 3)
    back = scene.do(roll_back, "late", reason, BY)
    assert (back.name, back.version, scene.aliases()) == ("champion", 1, {"champion": 1, "previous": 3})
    events, audit = journal(scene.store, scene.skip)
    details = {"version": 1, "previous_version": 3, "seq": back.seq, "reason": kept}
    assert events[-1] == ("alias.moved", "model/late/alias/champion", details)
    assert audit[-1] == ("operator", "alias.move", "model/late/alias/champion", details)
    again = scene.do(roll_back, "late", reason, BY, expected_seq=back.seq)
    assert scene.aliases() == {"champion": 3, "previous": 1}
    code, message = scene.refused(roll_back, "late", reason, BY, expected_seq=back.seq)
    assert (code, f"is {again.seq}, not {back.seq}" in message) == ("conflict", True)


def test_nothing_to_roll_back_to(scene: Scene) -> None:
    """Without a champion, without a previous version, and when both are the same, the answer says so."""
    nothing = "model 'late' has no previous version to roll back to"
    assert scene.refused(roll_back, "late", "", BY) == ("no_model", "model 'late' has no champion to roll back from")
    scene.point("champion", 2)
    assert scene.refused(roll_back, "late", "", BY) == ("conflict", nothing)
    scene.point("previous", 2)
    assert scene.refused(roll_back, "late", "", BY) == ("conflict", nothing)
    scene.point("previous", 1)
    assert scene.do(roll_back, "late", "", BY).version == 1


def test_what_is_not_there(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models, versions and aliases that are not there are named; a number that none can have asks nobody."""
    bad = ("bad_request", "an alias is a lower-case letter, then letters, digits or _, at most 48")
    named = {"expected_seq": None, "reason": "", "by": BY}
    assert scene.refused(set_alias, "late", "No Name", 1, **named) == bad
    assert scene.refused(set_alias, "late", "shadow", 9, **named) == (
        "unknown_version",
        "model 'late' has no version 9",
    )
    assert scene.refused(set_alias, "other", "shadow", 1, **named)[0] == "unknown_model"
    assert scene.refused(remove_alias, "other", "shadow", BY)[0] == "unknown_model"
    assert scene.refused(roll_back, "other", "", BY)[0] == "unknown_model"
    missing = ("unknown_alias", "model 'late' has no alias 'shadow'")
    assert scene.refused(remove_alias, "late", "shadow", BY) == missing
    with scene.store.begin() as records:
        model = model_called(records, "late")
    assert scene.refused(alias_of, model, "X" * 90) == ("unknown_alias", f"model 'late' has no alias {'X' * 80!r}")
    assert scene.do(version_of, model, 1).version == 1
    monkeypatch.setattr(MemoryVersions, "version", lambda *given: given[2])
    assert scene.do(version_of, model, 2**31 - 1) == 2**31 - 1
    for number in (0, -1, 2**31):
        message = f"model 'late' has no version {number}"
        assert scene.refused(version_of, model, number) == ("unknown_version", message)


def test_changes_hold_what_they_read(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Model and aliases are locked before anything is decided on them; a look locks nothing."""
    scene.point("champion", 1)
    scene.point("champion", 2)
    locked: list[tuple[str, bool]] = []
    get, alias = MemoryModels.get, MemoryVersions.alias

    def model(room: MemoryModels, name: str, *, lock: bool = False) -> Any:
        locked.append((name, lock))
        return get(room, name, lock=lock)

    def pointer(room: MemoryVersions, model_id: int, name: str, *, lock: bool = False) -> Any:
        locked.append((name, lock))
        return alias(room, model_id, name, lock=lock)

    monkeypatch.setattr(MemoryModels, "get", model)
    monkeypatch.setattr(MemoryVersions, "alias", pointer)
    scene.do(roll_back, "late", "", BY)
    assert locked[:3] == [("late", True), ("champion", True), ("previous", True)]
    locked.clear()
    scene.do(remove_alias, "late", "previous", BY)
    assert locked == [("late", True), ("previous", True)]
    locked.clear()
    scene.point("shadow", 1)
    assert locked[:2] == [("late", True), ("shadow", True)]
    locked.clear()
    found = scene.do(model_called, "late")
    assert scene.do(alias_of, found, "shadow").version == 1
    assert locked == [("late", False), ("shadow", False)]


def test_approved_version_becomes_champion(scene: Scene) -> None:
    """Who, when and why are kept with the version, in the audit log and in the list of deployments."""
    scene.point("champion", 1)
    number = scene.train(waits=True)
    scene.clock.advance(60)
    decided = scene.do(decide, "late", number, approve=True, reason="looked at", by=BY)
    assert (decided.approval.state, decided.approval.decided_by, decided.approval.reason) == (
        "approved",
        "operator",
        "looked at",
    )
    assert decided.approval.decided_at == scene.clock.now()
    assert decided.aliases == ("champion",)
    assert scene.aliases() == {"champion": number, "previous": 1}
    assert scene.deployments()[-1][-1] == "approved: looked at"
    actions = [entry.action for entry in scene.store.state.audit]
    assert actions[-2:] == ["version.approve", "alias.move"]
    code, message = scene.refused(decide, "late", number, approve=True, reason="", by=BY)
    assert (code, "is approved already" in message) == ("conflict", True)


def test_rejected_version_stays_where_it_is(scene: Scene) -> None:
    """A rejection moves nothing, holds whatever the champion is now, and is final."""
    number = scene.train(waits=True)
    scene.point("champion", 1)
    scene.do(decide, "late", number, approve=False, reason="", by=BY)
    assert scene.aliases() == {"champion": 1}
    assert scene.store.state.audit[-1].action == "version.reject"
    code, message = scene.refused(decide, "late", number, approve=True, reason="", by=BY)
    assert (code, "is rejected already" in message) == ("conflict", True)


def test_approval_is_of_the_comparison_that_was_made(scene: Scene) -> None:
    """After the champion has moved, an approval is refused with what to do; the version still waits."""
    number = scene.train(waits=True)
    scene.point("champion", 2)
    code, message = scene.refused(decide, "late", number, approve=True, reason="", by=BY)
    assert code == "conflict"
    assert f"trainyard promote late {number}" in message
    assert scene.do(lambda records: version_of(records, model_called(records, "late"), number)).approval.state == (
        "pending_approval"
    )


def test_nothing_to_decide(scene: Scene) -> None:
    """A version that never waited, and one that is not there, cannot be decided on."""
    assert scene.refused(decide, "late", 1, approve=True, reason="", by=BY)[0] == "conflict"
    assert scene.refused(decide, "late", 99, approve=True, reason="", by=BY)[0] == "unknown_version"
