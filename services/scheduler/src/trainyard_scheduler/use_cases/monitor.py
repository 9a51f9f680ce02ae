"""Watching served models: windows of predictions are cut, held against the version's reference, and raise alarms.

Everything about one window happens in one transaction that holds the model's watch: whoever is killed in it leaves
nothing behind, and of two schedulers one goes on to other models. Drift is computed once, when a window is cut: its
predictions never change. Quality is computed again whenever labels come, from the latest label of each prediction in
the order of the server: late, repeated and reordered labels end in the same table as labels in order.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from trainyard import drift, logs
from trainyard.crashpoints import crashpoint
from trainyard_scheduler.domain.monitoring import Finding, held_back, judge_drift, judge_quality
from trainyard_scheduler.domain.scoring import scores_of
from trainyard_scheduler.use_cases.rounds import do_all

if TYPE_CHECKING:
    from trainyard.clock import Clock
    from trainyard.contracts.monitoring import Reference, Sight, Span
    from trainyard.contracts.registry import ModelRecord
    from trainyard.contracts.scheduling import Records, Store

#: Versions of a model that are watched, the newest that ever served; windows of one model that one round looks at.
MOST_VERSIONS = 20
MOST_WINDOWS = 20
#: Labels that one round looks at, and the predictions that a window's drift is computed from.
MOST_LABELS = 10_000
MOST_ROWS = 20_000
#: A window by time is cut so long after its end: predictions come into the log a little later than they are made.
LATE_SECONDS = 60.0
#: A model is looked at so often without news: time ends windows too, and a policy may have changed.
LOOK_SECONDS = 10.0
_log = logs.get(__name__)


class Monitor:
    """Watches all served models, round after round: a quiet model costs a row of one statement."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        #: Model -> its newest prediction when it was last looked at to the end, and when that was.
        self._seen: dict[str, tuple[int, float]] = {}

    def step(self) -> int:
        """Look at the models that have news, or were not looked at for a while; return how many windows were computed.

        One with more windows than a round computes has its turn in the next round again. Labels of any model are news
        to all, until their watches have seen whose they are.

        Raises:
            TransientError: some models could not be looked at; the others were.
        """
        with self._store.begin() as records:
            sights = records.monitoring.sights()
        self._seen = {sight.model: self._seen[sight.model] for sight in sights if sight.model in self._seen}
        return sum(do_all([partial(self._look, sight) for sight in sights if self._has_news(sight)]))

    def _has_news(self, sight: Sight) -> bool:
        if sight.waiting or sight.model not in self._seen:
            return True
        predictions, at = self._seen[sight.model]
        return sight.predictions != predictions or self._clock.monotonic() - at >= LOOK_SECONDS

    def _look(self, sight: Sight) -> int:
        begun = self._clock.monotonic()
        windows, over = monitor_model(self._store, sight.model)
        if over:
            self._seen[sight.model] = (sight.predictions, begun)
        return windows


def monitor_model(store: Store, name: str) -> tuple[int, bool]:
    """Compute what is due of one model, until :data:`MOST_WINDOWS` are done.

    Returns how many windows that were, and whether nothing is left: not so while somebody else watches the model.
    """
    done = 0
    while done < MOST_WINDOWS:
        found = _one_step(store, name)
        if not found:
            return done, found is not None
        done += found
    return done, False


def _one_step(store: Store, name: str) -> int | None:
    """Cut the next window, else look at labels and at windows that waited; return how many windows were computed.

    None: somebody else watches the model at this moment.
    """
    with store.begin() as records:
        model = records.models.get(name)
        if model is None or model.champion is None:
            return 0
        mark = records.monitoring.hold(model.id)
        if mark is None:
            return None
        watch = Watch(records, model)
        return watch.cut() or watch.labels(mark) or watch.waited()


class Watch:
    """The watch over one model, held by one transaction."""

    def __init__(self, records: Records, model: ModelRecord) -> None:
        self._records = records
        self._room = records.monitoring
        self._model = model
        self._settings = model.policy.monitoring

    def cut(self) -> int:
        """Cut the next window of any version and compute it; return 1, or 0 when none is full."""
        for version in self._versions():
            span = self._next(version)
            if span is not None:
                crashpoint("K43")
                reference = self._room.reference(self._model.id, version)
                self._store("drift", span, self._drift(span, reference))
                self._quality(span, reference)
                return 1
        return 0

    def labels(self, mark: int) -> int:
        """Compute the windows again that got labels behind ``mark``; return how many."""
        upto = self._room.feedback_upto(mark, MOST_LABELS)
        if upto == mark:
            return 0
        spans = self._room.labelled(self._model.id, mark, upto)
        self._again(spans)
        self._room.advance(self._model.id, upto)
        return len(spans)

    def waited(self) -> int:
        """Compute the windows again that have waited long enough for labels; return how many."""
        spans = self._room.due(self._model.id, MOST_WINDOWS)
        self._again(spans)
        return len(spans)

    def _versions(self) -> list[int]:
        """Return the versions to watch, the champion first, however many newer ones have served before it."""
        champion = self._model.champion
        known = {champion, *self._room.versions(self._model.id, MOST_VERSIONS)}
        found = [version for version in known if version is not None]
        return sorted(found, key=lambda version: (version != champion, -version))

    def _next(self, version: int) -> Span | None:
        latest = self._room.recent(self._model.id, "drift", 1, version=version)
        last = latest[0].span if latest else None
        if self._settings.window is None:
            return self._room.cut_rows(self._model.id, version, last, self._settings.window_rows)
        return self._room.cut_time(self._model.id, version, last, self._settings.window, LATE_SECONDS)

    def _drift(self, span: Span, reference: Reference) -> Finding:
        if reference.profile is None:
            words = f"version {span.version} was made without a profile of its rows; the next training makes one"
            return Finding("not_enough_data", words, {"drifting": []})
        columns = drift.columns_of(reference.profile, self._room.inputs(self._model.id, span, MOST_ROWS))
        effects = drift.compare(reference.profile, columns)
        earlier = self._room.recent(self._model.id, "drift", self._settings.persistence - 1, version=span.version)
        finding = judge_drift(effects, span.rows, self._settings, [window.report for window in earlier])
        crashpoint("K44")
        return finding

    def _again(self, spans: list[Span]) -> None:
        for span in spans:
            self._quality(span, self._room.reference(self._model.id, span.version))

    def _quality(self, span: Span, reference: Reference) -> None:
        # Counted now: predictions of a window by time may have reached the log after it was cut.
        now = replace(span, rows=self._room.count(self._model.id, span))
        outputs, labels, chosen = [], [], 0
        for one in self._room.scored(self._model.id, now, MOST_ROWS):
            chosen += 1
            if one.label is not None:
                outputs.append(one.output)
                labels.append(one.label)
        crashpoint("K42")
        judge = partial(judge_quality, metric=self._model.policy.metric, settings=self._settings)
        finding = judge(
            scores_of(outputs, labels),
            predictions=now.rows,
            chosen=chosen,
            labels=len(labels),
            age=self._room.age(span),
            reference=reference,
        )
        self._store("quality", span, finding)

    def _store(self, detector: str, span: Span, finding: Finding) -> None:
        """Store the finding, and the alarm if it is one that the window has not raised yet."""
        model = self._model
        self._room.put(
            model.id, detector, span, outcome=finding.outcome, report=finding.report, again_in=finding.again_in
        )
        if finding.outcome != "alarm":
            return
        held = held_back(
            self._settings,
            self._records.alarms.spent(model.id),
            version=span.version,
            champion=model.champion,
        )
        new = self._records.alarms.add(
            model.id, detector, span.window_id, reason=finding.summary, numbers=finding.numbers, held=held
        )
        crashpoint("K45")
        if new:
            payload = {"model": model.name, "detector": detector, "window": span.window_id, "held_back": held}
            self._records.journal.announce("alarm.raised", f"model/{model.name}", payload)
            _log.warning("alarm.raised", model=model.name, detector=detector, reason=finding.summary, held=held)
