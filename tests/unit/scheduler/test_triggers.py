"""When to train: every trigger, what holds it back, and what becomes of alarms and cron times."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from trainyard.contracts.monitoring import Alarm
from trainyard.contracts.requests import Refused, Standing
from trainyard.cron import cron_problem, next_due
from trainyard.policy import Policy
from trainyard_scheduler.domain.triggers import evaluate

if TYPE_CHECKING:
    from collections.abc import Iterator

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
QUIET = Standing(
    now=NOON,
    last_seq=0,
    used_seq=0,
    trained_rows=None,
    new_labels=None,
    counted_at=NOON - timedelta(hours=1),
    asked_at=None,
    cron_upto=NOON - timedelta(hours=1),
    open_request=None,
    refused=None,
)
SOME = replace(QUIET, last_seq=5)
ROWS = Policy(min_new_rows=1000)
NONE = Policy(min_new_rows=None)
FAILED = Refused("failed", 5000, NOON - timedelta(days=1), 1)
DRIFT = Alarm(7, "drift", "v3/12", "far off", {}, NOON, None, None)
DROP = Alarm(8, "quality", "v3/9", "worse", {}, NOON, None, None)


@pytest.mark.parametrize(
    ("standing", "fired", "reason"),
    [
        (QUIET, False, "not fired: 0 of 1,000 new rows"),
        (replace(QUIET, last_seq=812), False, "not fired: 812 of 1,000 new rows"),
        (replace(QUIET, last_seq=1000), True, "fired: 1,000 of 1,000 new rows"),
        (replace(QUIET, last_seq=5000, used_seq=4001), False, "not fired: 999 of 1,000 new rows"),
        (replace(QUIET, last_seq=5000, used_seq=4000), True, "fired: 1,000 of 1,000 new rows"),
        (
            replace(QUIET, last_seq=5000, open_request="r"),
            False,
            "not fired: a request is open already; 5,000 new rows wait",
        ),
        (
            replace(QUIET, last_seq=1, open_request="r"),
            False,
            "not fired: a request is open already; 1 new row waits",
        ),
        (
            replace(QUIET, last_seq=5000, refused=FAILED),
            False,
            "not fired: the request for these rows failed; waiting for newer rows",
        ),
        (
            replace(QUIET, last_seq=5000, refused=replace(FAILED, state="cancelled")),
            False,
            "not fired: the request for these rows was cancelled; waiting for newer rows",
        ),
        (replace(QUIET, last_seq=5001, refused=FAILED), True, "fired: 5,001 of 1,000 new rows"),
    ],
)
def test_new_rows(standing: Standing, fired: bool, reason: str) -> None:
    """It fires at the threshold, counted from the last used row, never beside an open request, never twice in vain."""
    verdict = evaluate(ROWS, standing)
    assert (verdict.fired, verdict.reason) == (fired, reason)
    assert verdict.new_rows == standing.last_seq - standing.used_seq
    assert verdict.trigger == ("min_new_rows" if fired else None)


def test_used_rows_are_never_negative() -> None:
    """A dataset that was made anew has fewer rows than were used."""
    assert evaluate(ROWS, replace(QUIET, last_seq=3, used_seq=9)).new_rows == 0


def test_by_hand() -> None:
    """Without a trigger nothing fires by itself."""
    verdict = evaluate(NONE, replace(QUIET, last_seq=10**9))
    assert (verdict.fired, verdict.numbers["triggers"], verdict.settles) == (False, {}, False)
    assert verdict.reason == "not fired: the policy trains by hand only (it sets no trigger)"


def test_all_triggers_speak() -> None:
    """The sentence and the numbers have every configured trigger, in the order of the policy's keys."""
    policy = Policy(
        min_new_rows=1000,
        min_new_labels=50,
        min_fraction_new=0.5,
        max_age=7200.0,
        cron="0 2 * * *",
        on_drift=True,
        on_quality_drop=True,
    )
    verdict = evaluate(policy, replace(QUIET, last_seq=812, new_labels=3, trained_rows=2000))
    assert verdict.reason == (
        "not fired: 812 of 1,000 new rows; 3 of 50 new labels;"
        " new rows are 40.60% of the 2,000 last trained on, 50.00% needed;"
        " max_age of 2 h is reached at 2026-03-01T13:00:00+00:00;"
        " cron 0 2 * * * is due next at 2026-03-02T02:00:00+00:00; no new drift alarm; no new quality alarm"
    )
    assert verdict.numbers == {
        "new_rows": 812,
        "min_new_rows": 1000,
        "upto_seq": 812,
        "triggers": {
            "min_new_rows": {"value": 812, "threshold": 1000, "met": False},
            "min_new_labels": {"value": 3, "threshold": 50, "met": False},
            "min_fraction_new": {"value": 0.406, "threshold": 0.5, "trained_rows": 2000, "met": False},
            "max_age": {
                "threshold": 7200.0,
                "since": "2026-03-01T11:00:00+00:00",
                "due_at": "2026-03-01T13:00:00+00:00",
                "met": False,
            },
            "cron": {"expression": "0 2 * * *", "due_at": "2026-03-02T02:00:00+00:00", "met": False},
            "on_drift": {"alarms": [], "met": False},
            "on_quality_drop": {"alarms": [], "met": False},
        },
    }
    assert list(verdict.numbers["triggers"]) == [
        "min_new_rows",
        "min_new_labels",
        "min_fraction_new",
        "max_age",
        "cron",
        "on_drift",
        "on_quality_drop",
    ]


@pytest.mark.parametrize(
    ("policy", "standing", "fired", "words"),
    [
        (replace(NONE, min_new_labels=50), replace(SOME, new_labels=49), False, "49 of 50 new labels"),
        (replace(NONE, min_new_labels=50), replace(SOME, new_labels=50), True, "50 of 50 new labels"),
        (replace(NONE, min_new_labels=1), SOME, False, "0 of 1 new label"),
        (
            replace(NONE, min_fraction_new=0.5),
            SOME,
            False,
            "no trained snapshot yet to measure min_fraction_new by",
        ),
        (
            replace(NONE, min_fraction_new=0.5),
            replace(SOME, trained_rows=11),
            False,
            "new rows are 45.45% of the 11 last trained on, 50.00% needed",
        ),
        (
            replace(NONE, min_fraction_new=0.5),
            replace(SOME, trained_rows=10),
            True,
            "new rows are 50.00% of the 10 last trained on, 50.00% needed",
        ),
        (replace(NONE, max_age=3601.0), SOME, False, "max_age of 1 h is reached at 2026-03-01T12:00:01+00:00"),
        (replace(NONE, max_age=3600.0), SOME, True, "max_age of 1 h was reached at 2026-03-01T12:00:00+00:00"),
        (replace(NONE, cron="1 12 * * *"), SOME, False, "cron 1 12 * * * is due next at 2026-03-01T12:01:00+00:00"),
        (replace(NONE, cron="0 12 * * *"), SOME, True, "cron 0 12 * * * was due at 2026-03-01T12:00:00+00:00"),
        (replace(NONE, cron="0 11 * * *"), SOME, False, "cron 0 11 * * * is due next at 2026-03-02T11:00:00+00:00"),
    ],
)
def test_each_trigger(policy: Policy, standing: Standing, fired: bool, words: str) -> None:
    """Each trigger fires at its threshold and not below it."""
    verdict = evaluate(policy, standing)
    assert (verdict.fired, verdict.reason) == (fired, f"{'fired' if fired else 'not fired'}: {words}")


def test_any_of() -> None:
    """One trigger that is met is enough; the first in order gives the reason, the numbers have all."""
    policy = Policy(min_new_rows=1000, max_age=60.0, cron="0 12 * * *")
    verdict = evaluate(policy, SOME)
    assert (verdict.trigger, verdict.numbers["trigger"]) == ("max_age", "max_age")
    assert verdict.reason.startswith("fired: max_age of 1 min was reached at ")
    assert "cron 0 12 * * * was due" in verdict.reason
    assert "of 1,000 new rows" not in verdict.reason
    assert verdict.numbers["triggers"]["min_new_rows"]["met"] is False
    assert verdict.settles


def test_missed_cron_times_are_one() -> None:
    """However many times were missed, one is due; once it was answered the next one is waited for."""
    policy = replace(NONE, cron="*/5 * * * *")
    missed = replace(SOME, cron_upto=NOON - timedelta(days=3))
    verdict = evaluate(policy, missed)
    assert (verdict.fired, verdict.trigger, verdict.cron_answered) == (True, "cron", True)
    assert not evaluate(policy, replace(SOME, cron_upto=NOON)).fired


@pytest.mark.parametrize(
    ("changes", "code", "answered"),
    [
        ({"open_request": "r"}, "open_request", False),
        ({"last_seq": 0}, "no_new_rows", True),
        ({"refused": replace(FAILED, upto_seq=5)}, "refused", True),
        ({"refused": replace(FAILED, upto_seq=4, at=NOON)}, "retry_pause", False),
        ({"asked_at": NOON}, "min_interval", False),
    ],
)
def test_cron_and_alarms_under_a_hold(changes: dict[str, object], code: str, answered: bool) -> None:
    """What waits for time to pass stays due; where only rows help, the cron time is over and the alarm waits."""
    policy = Policy(min_new_rows=None, cron="0 12 * * *", on_drift=True, min_interval=60.0)
    verdict = evaluate(policy, replace(SOME, **changes), [DRIFT])  # type: ignore[arg-type]
    assert not verdict.fired
    assert verdict.numbers["held_by"] == code
    assert verdict.cron_answered is answered
    assert verdict.settles is answered
    assert (verdict.served, verdict.unserved, verdict.trigger) == ((), {}, None)


def test_a_hold_answers_no_cron_time_that_was_not_due() -> None:
    """The mark moves only when a time was due."""
    policy = Policy(min_new_rows=None, cron="1 12 * * *", max_age=60.0)
    assert not evaluate(policy, QUIET).cron_answered


def test_no_new_rows() -> None:
    """There is nothing to learn from without new rows, whatever else is due, and the sentence says so."""
    verdict = evaluate(replace(NONE, max_age=60.0), QUIET)
    assert verdict.reason == (
        "not fired: there are no new rows to learn from, though max_age of 1 min was reached at"
        " 2026-03-01T11:01:00+00:00"
    )


@pytest.mark.parametrize(("in_a_row", "pause"), [(1, 60), (2, 120), (3, 240), (6, 1920), (7, 3600), (99, 3600)])
def test_failures_never_make_a_hot_loop(in_a_row: int, pause: int) -> None:
    """After failures in a row every trigger pauses, twice as long each time, though new rows stream in."""
    policy = Policy(min_new_rows=1, max_age=1.0, cron="* * * * *", on_drift=True)
    ended = NOON - timedelta(seconds=pause)
    refused = Refused("cancelled", 4, ended + timedelta(seconds=1), in_a_row)
    held = evaluate(policy, replace(SOME, refused=refused), [DRIFT])
    assert (held.fired, held.numbers["held_by"]) == (False, "retry_pause")
    assert held.numbers["held_until"] == "2026-03-01T12:00:01+00:00"
    assert held.reason.startswith(
        "not fired: the last request was cancelled; held back until 2026-03-01T12:00:01+00:00, though 5 of 1 new row;"
    )
    assert evaluate(policy, replace(SOME, refused=replace(refused, at=ended)), [DRIFT]).fired


def test_a_failure_before_a_success_is_forgotten() -> None:
    """Failures that were followed by a training that ended well hold nothing back."""
    refused = Refused("failed", 4, NOON, 0)
    assert evaluate(Policy(min_new_rows=5), replace(SOME, refused=refused)).fired


def test_min_interval() -> None:
    """Nothing fires before the pause since the policy's last request is over."""
    policy = Policy(min_new_rows=5, min_interval=90.0)
    held = evaluate(policy, replace(SOME, asked_at=NOON - timedelta(seconds=89)))
    assert held.reason == (
        "not fired: min_interval of 1.5 min holds back until 2026-03-01T12:00:01+00:00, though 5 of 5 new rows"
    )
    assert (held.numbers["held_by"], held.numbers["held_until"]) == ("min_interval", "2026-03-01T12:00:01+00:00")
    assert evaluate(policy, replace(SOME, asked_at=NOON - timedelta(seconds=90))).fired


@pytest.mark.parametrize(
    ("rows", "numbers"),
    [
        (None, {"value": None, "threshold": 0.5, "trained_rows": None, "met": False}),
        (0, {"value": None, "threshold": 0.5, "trained_rows": 0, "met": False}),
        (30, {"value": 0.166667, "threshold": 0.5, "trained_rows": 30, "met": False}),
        (10, {"value": 0.5, "threshold": 0.5, "trained_rows": 10, "met": True}),
    ],
)
def test_numbers_of_a_fraction(rows: int | None, numbers: dict[str, object]) -> None:
    """The share is told to a millionth, and as nothing where nothing was trained on."""
    verdict = evaluate(replace(NONE, min_fraction_new=0.5), replace(SOME, trained_rows=rows), [])
    assert verdict.numbers["triggers"] == {"min_fraction_new": numbers}


def test_alarms() -> None:
    """Alarms that the policy listens to ask for a training; the request answers all of them."""
    policy = replace(NONE, on_drift=True, on_quality_drop=True)
    verdict = evaluate(policy, SOME, [DRIFT, DROP])
    assert (verdict.trigger, verdict.served, verdict.unserved) == ("on_drift", (7, 8), {})
    assert verdict.reason == "fired: drift alarm in v3/12; quality alarm in v3/9"
    assert verdict.numbers["triggers"]["on_drift"] == {"alarms": [7], "met": True}
    another = evaluate(policy, SOME, [DRIFT, replace(DRIFT, id=9, window_id="v3/13")])
    assert another.reason == "fired: drift alarm in v3/12, v3/13"
    only = evaluate(policy, SOME, [DROP])
    assert (only.trigger, only.served) == ("on_quality_drop", (8,))


def test_alarms_that_nobody_listens_to() -> None:
    """An alarm whose key is off is answered with that, whatever else happens; it is no trigger."""
    off = {7: "no request: the policy's on_drift is off"}
    for policy, fired in (
        (NONE, False),
        (replace(NONE, min_new_rows=5), True),
        (replace(NONE, min_new_rows=6), False),
        (replace(NONE, max_age=1.0, min_interval=0.0), True),
    ):
        verdict = evaluate(policy, SOME, [DRIFT])
        assert (verdict.fired, dict(verdict.unserved), verdict.served) == (fired, off, ())
        assert verdict.settles
    held = evaluate(replace(NONE, min_new_rows=5), replace(SOME, open_request="r"), [DRIFT])
    assert dict(held.unserved) == off


@pytest.mark.parametrize("standing", [QUIET, replace(SOME, refused=replace(FAILED, upto_seq=5))])
def test_alarms_wait_for_rows(standing: Standing) -> None:
    """Without rows to learn from the newest alarm of each detector waits; those before it are settled as superseded."""
    policy = replace(NONE, on_drift=True, on_quality_drop=True)
    later = replace(DRIFT, id=9, window_id="v3/13")
    verdict = evaluate(policy, standing, [DRIFT, DROP, later])
    assert not verdict.fired
    assert "waiting for new" in verdict.reason
    words = "no request: superseded by the alarm in v3/13, which waits for new rows"
    assert (dict(verdict.unserved), verdict.served, verdict.settles) == ({7: words}, (), True)
    waiting = evaluate(policy, standing, [DROP, later])
    assert (dict(waiting.unserved), waiting.settles) == ({}, False)
    fired = evaluate(policy, replace(standing, last_seq=6), [DROP, later])
    assert (fired.trigger, fired.served) == ("on_drift", (8, 9))


def test_alarms_that_wait_say_so() -> None:
    """The decision says what is waited for, and for which windows."""
    verdict = evaluate(replace(NONE, on_drift=True), QUIET, [DRIFT])
    assert verdict.reason == "not fired: waiting for new rows, though drift alarm in v3/12"
    assert verdict.numbers["held_by"] == "no_new_rows"


def test_alarms_that_wait_for_time_supersede_nothing() -> None:
    """Behind an open request all of them wait: its rows may be all that there are, or not."""
    later = replace(DRIFT, id=9, window_id="v3/13")
    verdict = evaluate(replace(NONE, on_drift=True), replace(SOME, open_request="r"), [DRIFT, later])
    assert (dict(verdict.unserved), verdict.settles) == ({}, False)


def test_alarms_are_served_by_any_trigger() -> None:
    """A request that fires for another reason answers the alarms as well."""
    verdict = evaluate(Policy(min_new_rows=5, on_drift=True), SOME, [DRIFT])
    assert (verdict.trigger, verdict.served) == ("min_new_rows", (7,))


@pytest.mark.parametrize(
    "expression", ["0 0 31 2 *", "61 * * * *", "* * * * MOO", "5-1 * * * *", "*/0 * * * *", "0 0 */29 2 0#5"]
)
def test_cron_that_cannot_be(expression: str) -> None:
    """What is no time, or never comes, is a problem with words; what is one is not."""
    assert cron_problem(expression)
    with pytest.raises(ValueError, match=r"\w"):
        next_due(expression, NOON)


def test_cron_times() -> None:
    """The next time lies behind the start."""
    assert next_due("0 12 * * *", NOON) == NOON + timedelta(days=1)
    assert cron_problem("0 2 * * MON-FRI") is None


_STEP = "a step is a whole number from 1 to {}, behind *, a value or a range"
_DAYS = " (0 and 7 are Sunday), SUN to SAT, 5L (the last Friday) or 5#2 (the second)"


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("0 12 * * *", None),
        ("*/59 */23 */31 */12 */7", None),
        ("5/10,1-9/2,7 0 L JAN,jul/3 5L", None),
        ("0 0 LW * 5#2,MON-FRI", None),
        ("0 0 30 2 *", "it never comes true: such a day is in none of its months"),
        ("0 0 */29 2 0#5", "it never comes true: such a day is in none of its months"),
        ("0 0 31 4,6 *", "it never comes true: such a day is in none of its months"),
        ("x", "it has 1 field, not five: minute, hour, day of month, month, day of week"),
        ("0 0 * * * *", "it has 6 fields, not five: minute, hour, day of month, month, day of week"),
        ("61 * * * *", "minute '61': its values are 0 to 59"),
        ("60 24 * * *", "minute '60': its values are 0 to 59"),
        ("0 24 * * *", "hour '24': its values are 0 to 23"),
        ("0 0 0 * *", "day of month '0': its values are 1 to 31, L (the last) or LW (the last from Monday to Friday)"),
        ("0 0 * 13 *", "month '13': its values are 1 to 12 or JAN to DEC"),
        ("0 0 * * MOO", "day of week 'MOO': its values are 0 to 7" + _DAYS),
        ("0 0 * * 8", "day of week '8': its values are 0 to 7" + _DAYS),
        ("5-1 * * * *", "minute '5-1': its values are 0 to 59"),
        ("1,,2 * * * *", "minute '1,,2': its values are 0 to 59"),
        (f"{'9' * 5000} * * * *", f"minute '{'9' * 40}': its values are 0 to 59"),
        ("*/99 * * * *", "minute '*/99': " + _STEP.format(59)),
        ("1,*/60 * * * *", "minute '1,*/60': " + _STEP.format(59)),
        ("*/0 * * * *", "minute '*/0': " + _STEP.format(59)),
        ("*/ * * * *", "minute '*/': " + _STEP.format(59)),
        ("* */24 * * *", "hour '*/24': " + _STEP.format(23)),
        ("* * */32 * *", "day of month '*/32': " + _STEP.format(31)),
        ("* * * */13 *", "month '*/13': " + _STEP.format(12)),
        ("* * * * */8", "day of week '*/8': " + _STEP.format(7)),
        ("* * * * 5l/2", "day of week '5l/2': " + _STEP.format(7)),
        ("* * * * 5#1/2", "day of week '5#1/2': " + _STEP.format(7)),
        (f"*/{'1' * 99} * * * *", f"minute '*/{'1' * 38}': " + _STEP.format(59)),
    ],
)
def test_what_is_wrong_with_a_cron_expression(expression: str, problem: str | None) -> None:
    """The field is named, with what may stand there; a step that is larger than its field is none."""
    assert cron_problem(expression) == problem


@pytest.fixture
def tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine's zone is nine hours ahead of UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("tokyo")
def test_cron_is_utc() -> None:
    """Whatever zone the clock or the machine speaks in, the hours of the expression are UTC's."""
    after = datetime(2026, 6, 1, 13, tzinfo=timezone(timedelta(hours=2)))
    assert next_due("0 12 * * *", after) == datetime(2026, 6, 1, 12, tzinfo=UTC)
    assert next_due("0 12 * * *", after).utcoffset() == timedelta(0)
