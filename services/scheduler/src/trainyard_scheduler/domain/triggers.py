"""When to train: a policy held against the situation.

Any trigger that is met asks for a training; then four things may hold it back, in this order: an open request, no new
rows to learn from, a failed request for the same rows or a fresh failure, and the policy's ``min_interval``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from trainyard.cron import next_due
from trainyard.durations import in_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from trainyard.contracts.monitoring import Alarm
    from trainyard.contracts.requests import Standing
    from trainyard.policy import Policy

#: After a failed or cancelled request nothing fires for this long, twice as long after the next one, at most an hour.
RETRY_SECONDS, MAX_RETRY_SECONDS = 60.0, 3600.0
#: The policy key that listens to each detector.
ALARM_KEYS = {"drift": "on_drift", "quality": "on_quality_drop"}
#: How a request that gave nothing ended, behind "the request".
_ENDED = {"failed": "failed", "cancelled": "was cancelled"}


@dataclass(frozen=True)
class Verdict:
    """Whether to train, why, and the numbers behind it.

    Attributes:
        trigger: the first trigger that is met, in the order of the policy's keys; None when the verdict is not to.
        reason: one sentence.
        numbers: JSON object: ``new_rows``, ``min_new_rows``, ``upto_seq``, and ``triggers`` with one object for each
            trigger that the policy sets. Times stand as such, not as ages: equal situations give equal numbers.
        served: alarms that the request will answer.
        unserved: alarms that nothing will come of, each with the reason.
        cron_answered: the cron time that was due is over with, by a request or without.
    """

    fired: bool
    reason: str
    numbers: Mapping[str, Any]
    trigger: str | None = None
    served: tuple[int, ...] = ()
    unserved: Mapping[int, str] = field(default_factory=dict)
    cron_answered: bool = False

    @property
    def new_rows(self) -> int:
        """Rows that no request has used."""
        rows: int = self.numbers["new_rows"]
        return rows

    @property
    def settles(self) -> bool:
        """True when the verdict changes more than the list of decisions."""
        return self.fired or self.cron_answered or bool(self.unserved)


@dataclass(frozen=True)
class _Trigger:
    """One configured trigger: its policy key, whether it is met, in words and in numbers."""

    key: str
    met: bool
    words: str
    numbers: Mapping[str, Any]


@dataclass(frozen=True)
class _Hold:
    """What keeps met triggers back. ``for_rows``: until rows come, so a cron time that was due is done with; of the
    alarms of each detector the newest waits.
    """

    code: str
    words: str
    for_rows: bool = False
    until: datetime | None = None


def evaluate(policy: Policy, now: Standing, alarms: Sequence[Alarm] = ()) -> Verdict:
    """Decide whether the policy asks for a training. ``alarms``: the open ones of the model."""
    new_rows = max(now.last_seq - now.used_seq, 0)
    heard = [alarm for alarm in alarms if getattr(policy, ALARM_KEYS[alarm.detector])]
    unheard = {
        alarm.id: f"no request: the policy's {ALARM_KEYS[alarm.detector]} is off"
        for alarm in alarms
        if alarm not in heard
    }
    triggers = _triggers(policy, now, new_rows, heard)
    numbers: dict[str, Any] = {
        "new_rows": new_rows,
        "min_new_rows": policy.min_new_rows,
        "upto_seq": now.last_seq,
        "triggers": {trigger.key: {**trigger.numbers, "met": trigger.met} for trigger in triggers},
    }
    if not triggers:
        said = "not fired: the policy trains by hand only (it sets no trigger)"
        return Verdict(False, said, numbers, unserved=unheard)
    met = [trigger for trigger in triggers if trigger.met]
    words = "; ".join(trigger.words for trigger in met or triggers)
    if not met and now.open_request is None:
        return Verdict(False, f"not fired: {words}", numbers, unserved=unheard)
    hold = _hold(policy, now, new_rows, words, alarm=bool(heard))
    if hold is not None:
        numbers["held_by"] = hold.code
        if hold.until is not None:
            numbers["held_until"] = _time(hold.until)
        superseded = _superseded(heard) if hold.for_rows else {}
        cron_over = hold.for_rows and any(trigger.key == "cron" for trigger in met)
        said = f"not fired: {hold.words}"
        return Verdict(False, said, numbers, unserved={**unheard, **superseded}, cron_answered=cron_over)
    return Verdict(
        fired=True,
        reason=f"fired: {words}",
        numbers={**numbers, "trigger": met[0].key},
        trigger=met[0].key,
        served=tuple(alarm.id for alarm in heard),
        unserved=unheard,
        cron_answered=any(trigger.key == "cron" for trigger in met),
    )


def _superseded(alarms: Sequence[Alarm]) -> dict[int, str]:
    """Return the alarms, oldest first, behind which a newer one of the same detector waits for rows."""
    newest = {alarm.detector: alarm for alarm in alarms}
    return {
        alarm.id: f"no request: superseded by the alarm in {newest[alarm.detector].window_id}, which waits for new rows"
        for alarm in alarms
        if alarm is not newest[alarm.detector]
    }


def _hold(policy: Policy, now: Standing, new_rows: int, words: str, *, alarm: bool) -> _Hold | None:
    if now.open_request is not None:
        return _Hold("open_request", f"a request is open already; {_waiting(new_rows)}")
    if new_rows == 0:
        said = "waiting for new rows" if alarm else "there are no new rows to learn from"
        return _Hold("no_new_rows", f"{said}, though {words}", for_rows=True)
    if now.refused is not None:
        if now.refused.upto_seq >= now.last_seq:
            said = f"the request for these rows {_ENDED[now.refused.state]}; waiting for newer rows"
            return _Hold("refused", said, for_rows=True)
        pause = min(RETRY_SECONDS * 2.0 ** min(now.refused.in_a_row - 1, 30), MAX_RETRY_SECONDS)
        until = now.refused.at + timedelta(seconds=pause)
        if now.refused.in_a_row and now.now < until:
            said = f"the last request {_ENDED[now.refused.state]}; held back until {_time(until)}, though {words}"
            return _Hold("retry_pause", said, until=until)
    if now.asked_at is not None:
        until = now.asked_at + timedelta(seconds=policy.min_interval)
        if now.now < until:
            said = f"min_interval of {in_words(policy.min_interval)} holds back until {_time(until)}, though {words}"
            return _Hold("min_interval", said, until=until)
    return None


def _triggers(policy: Policy, now: Standing, new_rows: int, alarms: Sequence[Alarm]) -> list[_Trigger]:
    """Return the configured triggers in the order of the policy's keys."""
    found = []
    if policy.min_new_rows is not None:
        found.append(_count("min_new_rows", new_rows, policy.min_new_rows, "row"))
    if policy.min_new_labels is not None:
        found.append(_count("min_new_labels", now.new_labels or 0, policy.min_new_labels, "label"))
    if policy.min_fraction_new is not None:
        found.append(_fraction(policy.min_fraction_new, now.trained_rows, new_rows))
    if policy.max_age is not None:
        found.append(_age(policy.max_age, now))
    if policy.cron is not None:
        found.append(_cron(policy.cron, now))
    found += [_alarm(detector, alarms) for detector, key in ALARM_KEYS.items() if getattr(policy, key)]
    return found


def _count(key: str, value: int, threshold: int, what: str) -> _Trigger:
    words = f"{value:,} of {threshold:,} new {what if threshold == 1 else what + 's'}"
    return _Trigger(key, value >= threshold, words, {"value": value, "threshold": threshold})


def _fraction(threshold: float, trained_rows: int | None, new_rows: int) -> _Trigger:
    numbers: dict[str, Any] = {"value": None, "threshold": threshold, "trained_rows": trained_rows}
    if not trained_rows:
        words = "no trained snapshot yet to measure min_fraction_new by"
        return _Trigger("min_fraction_new", False, words, numbers)
    value = new_rows / trained_rows
    words = f"new rows are {value:.2%} of the {trained_rows:,} last trained on, {threshold:.2%} needed"
    return _Trigger("min_fraction_new", value >= threshold, words, {**numbers, "value": round(value, 6)})


def _age(threshold: float, now: Standing) -> _Trigger:
    due = now.counted_at + timedelta(seconds=threshold)
    met = now.now >= due
    words = f"max_age of {in_words(threshold)} {'was' if met else 'is'} reached at {_time(due)}"
    numbers = {"threshold": threshold, "since": _time(now.counted_at), "due_at": _time(due)}
    return _Trigger("max_age", met, words, numbers)


def _cron(expression: str, now: Standing) -> _Trigger:
    due = next_due(expression, now.cron_upto)
    met = due <= now.now
    words = f"cron {expression} {'was due' if met else 'is due next'} at {_time(due)}"
    return _Trigger("cron", met, words, {"expression": expression, "due_at": _time(due)})


def _alarm(detector: str, alarms: Sequence[Alarm]) -> _Trigger:
    mine = [alarm for alarm in alarms if alarm.detector == detector]
    windows = ", ".join(alarm.window_id for alarm in mine)
    words = f"{detector} alarm in {windows}" if mine else f"no new {detector} alarm"
    return _Trigger(ALARM_KEYS[detector], bool(mine), words, {"alarms": [alarm.id for alarm in mine]})


def _waiting(rows: int) -> str:
    return f"{rows:,} new rows wait" if rows != 1 else "1 new row waits"


def _time(at: datetime) -> str:
    return at.isoformat(timespec="seconds")
