"""What the rooms of watching do in every store. The class needs a fixture ``watched`` (:class:`WatchedWorld`)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from trainyard.contracts.monitoring import Reference, Sight, Spent
from trainyard.contracts.prediction_log import ShadowScore

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainyard.contracts.monitoring import Span
    from trainyard.contracts.scheduling import Records, Store

#: A whole hour long ago.
HOUR = datetime(2026, 3, 1, 12, tzinfo=UTC)
REFERENCE = Reference({"v": 1, "rows": 3, "features": {}}, {"roc_auc": 0.8}, 250)


class WatchedWorld(Protocol):
    """A store with a model of which version 1 is the champion, and what the other services do to it."""

    @property
    def store(self) -> Store:
        """The store."""
        ...

    @property
    def model_id(self) -> int:
        """The model."""
        ...

    def refer(self, reference: Reference) -> None:
        """Give version 1 this profile and these metrics."""
        ...

    def log(
        self, ident: str, *, version: int = 1, at: datetime = HOUR, inputs: Mapping[str, Any] | None = None
    ) -> None:
        """Log a prediction of the model; its output is ``{"prediction": ident}``."""
        ...

    def label(self, ident: str, label: Any) -> None:
        """Give the label of a prediction."""
        ...

    def compare(self, scores: Sequence[ShadowScore]) -> None:
        """Log comparisons with shadows."""
        ...


def _cut(records: Records, world: WatchedWorld, rows: int, last: Span | None = None) -> Span:
    span = records.monitoring.cut_rows(world.model_id, 1, last, rows)
    assert span is not None
    return span


class MonitoringContract:
    """Windows by count and by time, labels in any order, alarms once."""

    def test_versions_and_reference(self, watched: WatchedWorld) -> None:
        """The champion is watched, and held against what its training left."""
        with watched.store.begin() as records:
            assert records.monitoring.versions(watched.model_id, 5) == [1]
            assert records.monitoring.versions(watched.model_id, 0) == []
            assert records.monitoring.reference(watched.model_id, 1).profile is None
        watched.refer(REFERENCE)
        with watched.store.begin() as records:
            assert records.monitoring.reference(watched.model_id, 1) == REFERENCE

    def test_windows_by_count(self, watched: WatchedWorld) -> None:
        """Every so many predictions of a version, in the order of the log, are a window; the rest waits."""
        for number in range(5):
            watched.log(f"p{number}", at=HOUR + timedelta(minutes=5 - number), inputs={"x": number})
            watched.log(f"other{number}", version=2)
        with watched.store.begin() as records:
            room = records.monitoring
            first = _cut(records, watched, 2)
            assert (first.window_id, first.number, first.rows, first.cut) == ("v1-after-0", 0, 2, "rows")
            assert (first.began_at, first.ended_at) == (HOUR + timedelta(minutes=4), HOUR + timedelta(minutes=5))
            second = _cut(records, watched, 2, first)
            assert (second.number, second.after_seq) == (1, first.last_seq)
            assert room.cut_rows(watched.model_id, 1, second, 2) is None
            assert [row["x"] for row in room.inputs(watched.model_id, second, 10)] == [2, 3]
            assert room.age(first) > 0

    def test_windows_by_time(self, watched: WatchedWorld) -> None:
        """Whole multiples of the length with a prediction in them are windows, by the prediction's time."""
        for ident, minutes in [("a", 90), ("b", 10), ("c", 59), ("d", 60), ("e", 200)]:
            watched.log(ident, at=HOUR + timedelta(minutes=minutes), inputs={"x": ident})
        with watched.store.begin() as records:
            room, spans = records.monitoring, []
            last = None
            while (last := room.cut_time(watched.model_id, 1, last, 3600.0, 60.0)) is not None:
                spans.append(last)
            assert [(span.number, span.began_at, span.rows) for span in spans] == [
                (0, HOUR, 2),
                (1, HOUR + timedelta(hours=1), 2),
                (2, HOUR + timedelta(hours=3), 1),
            ]
            assert spans[0].ended_at == spans[1].began_at
            assert [row["x"] for row in room.inputs(watched.model_id, spans[1], 10)] == ["a", "d"]
            assert spans[0].window_id == f"v1-3600s-{HOUR.timestamp():.0f}"
            assert room.cut_time(watched.model_id, 1, None, 3600.0, 1e9) is None
            assert room.cut_time(watched.model_id, 7, None, 3600.0, 60.0) is None

    def test_labels(self, watched: WatchedWorld) -> None:
        """A prediction has its latest label, also one that came before it; labels of windows are found by place."""
        watched.label("p1", label=False)
        watched.label("nowhere", label=True)
        for number in range(4):
            watched.log(f"p{number}")
        watched.label("p0", "no")
        watched.label("p0", "yes")
        with watched.store.begin() as records:
            room = records.monitoring
            first = _cut(records, watched, 2)
            second = _cut(records, watched, 2, first)
            for span in (first, second):
                room.put(watched.model_id, "drift", span, outcome="steady", report={})
                room.put(watched.model_id, "quality", span, outcome="steady", report={})
            scored = [
                (one.output["prediction"], one.has_label, one.label) for one in room.scored(watched.model_id, first, 9)
            ]
            assert scored == [("p0", True, "yes"), ("p1", True, False)]
            assert [one.has_label for one in room.scored(watched.model_id, second, 9)] == [False, False]
            assert room.waiting_labels(10) == 1
            assert room.waiting_labels(2) == 0
            seen = room.feedback_upto(0, 1)
            assert 0 < seen < room.feedback_upto(0, 10)
            upto = room.feedback_upto(seen, 10)
            assert room.feedback_upto(upto, 10) == upto
            assert room.labelled(watched.model_id, 0, upto) == [first]
            assert room.labelled(watched.model_id, upto, upto) == []
        watched.label("p3", label=True)
        with watched.store.begin() as records:
            assert records.monitoring.labelled(watched.model_id, upto, upto + 1_000) == [second]

    def test_labels_of_windows_by_time(self, watched: WatchedWorld) -> None:
        """A window by time has the labels of its predictions, also of one that was logged after it was cut."""
        watched.log("a")
        with watched.store.begin() as records:
            span = records.monitoring.cut_time(watched.model_id, 1, None, 3600.0, 60.0)
            assert span is not None
            records.monitoring.put(watched.model_id, "quality", span, outcome="not_enough_data", report={})
        watched.log("late", at=HOUR + timedelta(minutes=1))
        watched.label("late", label=True)
        with watched.store.begin() as records:
            room = records.monitoring
            assert room.labelled(watched.model_id, 0, room.feedback_upto(0, 10)) == [span]
            assert (span.rows, room.count(watched.model_id, span)) == (1, 2)
            assert [one.label for one in room.scored(watched.model_id, span, 9)] == [None, True]

    def test_an_even_choice(self, watched: WatchedWorld) -> None:
        """Of a long window as many predictions as asked for are read, from all of it, and by everybody the same; also
        when another version answers in turn, so that every second place of the log is none of its own.
        """
        for number in range(40):
            watched.log(f"p{number}", inputs={"x": number})
            watched.log(f"other{number}", version=2)
        with watched.store.begin() as records:
            room, span = records.monitoring, _cut(records, watched, 40)
            assert room.count(watched.model_id, span) == 40
            for most in (10, 20, 30):
                chosen = [row["x"] for row in room.inputs(watched.model_id, span, most)]
                scored = [one.output["prediction"] for one in room.scored(watched.model_id, span, most)]
                assert scored == [f"p{number}" for number in chosen]
                assert chosen == sorted(chosen)
                for half in ([x for x in chosen if x < 20], [x for x in chosen if x >= 20]):
                    assert abs(len(half) - most / 2) <= 2
            for most in (40, 41):
                assert [row["x"] for row in room.inputs(watched.model_id, span, most)] == list(range(40))

    def test_what_no_window_has(self, watched: WatchedWorld) -> None:
        """The newest predictions behind a window by count or by time, in order and no more than asked; versions too."""
        for number in range(5):
            watched.log(f"p{number}", at=HOUR + timedelta(minutes=30 * number))
        watched.log("other", version=3)
        watched.label("p3", "no")
        watched.label("p3", "yes")
        with watched.store.begin() as records:
            room, model = records.monitoring, watched.model_id

            def behind(last: Span | None, most: int = 9, version: int = 1) -> list[str]:
                return [one.output["prediction"] for one in room.unwatched(model, version, last, most)]

            assert room.answering(model, 9) == [3, 1]
            assert room.answering(model, 1) == [3]
            first = _cut(records, watched, 2)
            assert behind(None) == ["p0", "p1", "p2", "p3", "p4"]
            assert behind(None, 2) == ["p3", "p4"]
            assert behind(first) == ["p2", "p3", "p4"]
            assert behind(first, 1) == ["p4"]
            assert (behind(None, version=3), behind(None, version=2)) == (["other"], [])
            hour = room.cut_time(model, 1, None, 3600.0, 60.0)
            assert hour is not None
            assert behind(hour) == ["p2", "p3", "p4"]
            assert behind(hour, 2) == ["p3", "p4"]
            found = list(room.unwatched(model, 1, first, 9))
            assert [(one.has_label, one.label) for one in found] == [(False, None), (True, "yes"), (False, None)]
            assert [one.at for one in found] == [HOUR + timedelta(minutes=30 * number) for number in (2, 3, 4)]

    def test_what_is_seen_from_afar(self, watched: WatchedWorld) -> None:
        """The newest prediction of a served model, and whether labels or windows wait for the watch."""

        def sight() -> Sight:
            with watched.store.begin() as records:
                (found,) = records.monitoring.sights()
            return found

        name, empty = sight().model, sight()
        assert empty == Sight(name, 0, waiting=False)
        for number in range(3):
            watched.log(f"p{number}")
        logged = sight()
        assert logged.predictions > 0
        assert not logged.waiting
        watched.label("p0", 1)
        assert sight() == Sight(name, logged.predictions, waiting=True)
        with watched.store.begin() as records:
            records.monitoring.hold(watched.model_id)
            records.monitoring.advance(watched.model_id, records.monitoring.feedback_upto(0, 10))
        assert sight() == logged
        for seconds, due in ((3_600.0, False), (-1.0, True)):
            with watched.store.begin() as records:
                span = _cut(records, watched, 3)
                again: dict[str, Any] = {"outcome": "not_enough_data", "report": {}, "again_in": seconds}
                records.monitoring.put(watched.model_id, "quality", span, **again)
            assert sight() == Sight(name, logged.predictions, waiting=due)
        with watched.store.begin() as records:
            records.versions.remove_alias(watched.model_id, "champion")
        with watched.store.begin() as records:
            assert records.monitoring.sights() == []

    def test_mark(self, watched: WatchedWorld) -> None:
        """The mark starts at nothing, moves on and never back."""
        with watched.store.begin() as records:
            assert records.monitoring.hold(watched.model_id) == 0
            records.monitoring.advance(watched.model_id, 7)
            records.monitoring.advance(watched.model_id, 5)
        with watched.store.begin() as records:
            assert records.monitoring.hold(watched.model_id) == 7

    def test_put(self, watched: WatchedWorld) -> None:
        """A window is stored once and replaced; the newest come first; what is due again is found."""
        for number in range(3):
            watched.log(f"p{number}")
        with watched.store.begin() as records:
            room = records.monitoring
            last, spans = None, []
            for _ in range(3):
                last = _cut(records, watched, 1, last)
                spans.append(last)
                room.put(watched.model_id, "quality", last, outcome="not_enough_data", report={"n": 1}, again_in=-1.0)
            assert room.due(watched.model_id, 2) == spans[:2]
            room.put(watched.model_id, "quality", spans[0], outcome="steady", report={"n": 2})
            room.put(watched.model_id, "quality", spans[1], outcome="steady", report={"n": 2}, again_in=60.0)
            assert room.due(watched.model_id, 5) == spans[2:]
        with watched.store.begin() as records:
            found = records.monitoring.recent(watched.model_id, "quality", 5, version=1)
            assert [one.span for one in found] == spans[::-1]
            assert [(one.outcome, one.report) for one in found[1:]] == [("steady", {"n": 2})] * 2
            assert records.monitoring.recent(watched.model_id, "quality", 2) == found[:2]
            assert records.monitoring.recent(watched.model_id, "drift", 5) == []
            assert records.monitoring.recent(watched.model_id, "quality", 5, version=2) == []

    def test_alarms(self, watched: WatchedWorld) -> None:
        """A window raises one alarm for each detector; a held one is settled at once and spends nothing."""
        watched.log("p0")
        watched.log("p1")
        with watched.store.begin() as records:
            alarms = records.alarms
            nothing = alarms.spent(watched.model_id)
            assert nothing == Spent(0, None, nothing.now)
            first = _cut(records, watched, 1)
            second = _cut(records, watched, 1, first)
            for span in (first, second):
                for detector in ("drift", "quality"):
                    records.monitoring.put(watched.model_id, detector, span, outcome="alarm", report={})

            def add(span: Span, detector: str, held: str | None = None) -> bool:
                return alarms.add(
                    watched.model_id, detector, span.window_id, reason="far", numbers={"psi": 1.5}, held=held
                )

            assert add(first, "drift")
            assert not add(first, "drift")
            assert add(first, "quality", "held back: twice a day is enough")
            assert add(second, "drift")
        with watched.store.begin() as records:
            alarms = records.alarms
            spent = alarms.spent(watched.model_id)
            assert spent.today == 2
            assert spent.last_at is not None
            assert timedelta(0) <= spent.now - spent.last_at < timedelta(hours=1)
            newest, held, oldest = alarms.page(watched.model_id, 5)
            assert (oldest.detector, oldest.window_id, oldest.reason) == ("drift", first.window_id, "far")
            assert (oldest.numbers, oldest.outcome, oldest.request_id) == ({"psi": 1.5}, None, None)
            assert held.outcome == "held back: twice a day is enough"
            assert alarms.open(watched.model_id) == [oldest, newest]
            alarms.settle([oldest.id, held.id], outcome="told", request_id=None)
            assert [one.id for one in alarms.open(watched.model_id)] == [newest.id]
            assert [one.outcome for one in alarms.page(watched.model_id, 2)] == [None, held.outcome]

    def test_glances(self, watched: WatchedWorld) -> None:
        """A glance at a model is what each room tells first of it alone; no model, no glance."""
        for number in range(6):
            watched.log(f"p{number}")
        with watched.store.begin() as records:
            (model,) = records.models.page(5, None)
            bare = records.glances.of([model], windows=2, hours=24)[0]
            assert (bare.model, bare.decision, bare.alarm, bare.drift, bare.judged) == (model, None, None, None, [])
            last = None
            for number in range(3):
                last = _cut(records, watched, 2, last)
                for detector in ("drift", "quality"):
                    records.monitoring.put(model.id, detector, last, outcome="alarm", report={"labels": number})
                records.alarms.add(model.id, "drift", last.window_id, reason=f"{number}", numbers={}, held=None)
                records.requests.decide(model.id, fired=False, reason=f"{number}", numbers={}, request_id=None)
        with watched.store.begin() as records:
            rooms = records.monitoring
            assert records.glances.of([], windows=2, hours=24) == []
            (glance,) = records.glances.of([model], windows=2, hours=24)
            assert [glance.version] == records.versions.versions(model.id, 1, None)
            assert [glance.decision] == records.requests.decisions(model.id, 1, None)
            assert [glance.alarm] == records.alarms.page(model.id, 1)
            assert [glance.drift] == rooms.recent(model.id, "drift", 1)
            assert len(glance.judged) == 2
            assert list(glance.judged) == rooms.recent(model.id, "quality", 2)
            assert list(glance.traffic) == rooms.traffic(model.id, 24)

    def test_shadows(self, watched: WatchedWorld) -> None:
        """The newest comparisons are averaged for each pair of versions of the model; old ones are forgotten."""

        def score(number: int, difference: float, **others: Any) -> ShadowScore:
            given = {"model": "late", "version": 1, "shadow_version": 2, "changed": difference > 0, **others}
            return ShadowScore(f"p{number}", difference=difference, scored_at=HOUR + timedelta(seconds=number), **given)

        watched.compare([score(0, 9.0), score(1, -0.5), score(2, 0.25), score(3, 0.25), score(4, 1.0, version=3)])
        watched.compare([score(5, 7.0, model="early")])
        with watched.store.begin() as records:
            newer, older = records.monitoring.shadows(watched.model_id, 4)
            assert (newer.version, newer.shadow_version, newer.rows, newer.changed) == (3, 2, 1, 1.0)
            assert (older.rows, older.mean_difference) == (3, 0.0)
            assert older.mean_absolute_difference == pytest.approx(1 / 3)
            assert older.changed == pytest.approx(2 / 3)
            assert (older.first_at, older.last_at) == (HOUR + timedelta(seconds=1), HOUR + timedelta(seconds=3))
            assert _forget(records, "shadows", 86_400.0) == 0
            assert _forget(records, "shadows", limit=4) == 4
            assert [one.version for one in records.monitoring.shadows(watched.model_id, 4)] == [3]
            assert _forget(records, "shadows") == 2
            assert records.monitoring.shadows(watched.model_id, 4) == []

    def test_what_is_forgotten(self, watched: WatchedWorld) -> None:
        """Settled alarms go, then windows that no alarm refers to; the newest window stays, and its alarm with it."""
        for number in range(6):
            watched.log(f"p{number}")
        spans: list[Span] = []
        with watched.store.begin() as records:
            for _ in range(3):
                spans.append(_cut(records, watched, 2, spans[-1] if spans else None))
                for detector in ("drift", "quality"):
                    records.monitoring.put(watched.model_id, detector, spans[-1], outcome="alarm", report={})
            for span, held in zip(spans, ("no", None, "no"), strict=True):
                records.alarms.add(watched.model_id, "drift", span.window_id, reason="far", numbers={}, held=held)
        with watched.store.begin() as records:
            assert [_forget(records, kind, 86_400.0) for kind in ("alarms", "windows")] == [0, 0]
            assert _forget(records, "windows", limit=1) == 1
            assert _forget(records, "windows") == 1  # the two of quality; alarms hold those of drift
            assert _forget(records, "alarms") == 1
            assert _forget(records, "windows") == 1
            alarms = records.alarms.page(watched.model_id, 9)
            assert [alarm.window_id for alarm in alarms] == [spans[2].window_id, spans[1].window_id]
            records.alarms.settle([alarms[1].id], outcome="told", request_id=None)
        with watched.store.begin() as records:
            assert [_forget(records, kind) for kind in ("alarms", "windows")] == [1, 1]
            assert [_forget(records, kind) for kind in ("alarms", "windows")] == [0, 0]
            for detector in ("drift", "quality"):
                left = records.monitoring.recent(watched.model_id, detector, 9)
                assert [window.span.number for window in left] == [2]


def _forget(records: Records, kind: str, older_than_seconds: float = -1.0, limit: int = 9) -> int:
    """Forget records of a kind; everything is older than what is still to come."""
    return records.upkeep.forget(kind, older_than_seconds=older_than_seconds, keep_newest=0, limit=limit)
