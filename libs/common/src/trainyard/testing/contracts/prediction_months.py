"""How every store forgets predictions by whole months. The class needs a fixture ``log`` (:class:`MonthlyLog`)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from trainyard.contracts.upkeep import Forgotten

if TYPE_CHECKING:
    from trainyard.contracts.scheduling import Store

_INSTANT = timedelta(microseconds=1)


class MonthlyLog(Protocol):
    """A store, and what ingest would have written at some time."""

    @property
    def store(self) -> Store:
        """The store, without predictions."""
        ...

    def log(self, ident: str, at: datetime) -> None:
        """Log a prediction at that time."""
        ...

    def label(self, ident: str, at: datetime) -> None:
        """Give a label of that prediction, in the log or not, at that time."""
        ...

    def logged(self) -> list[tuple[int, str]]:
        """Return place and id of each prediction, in log order."""
        ...

    def labelled(self) -> list[str]:
        """Return the prediction of each label, in the order given."""
        ...


def now(log: MonthlyLog) -> datetime:
    """Return the store's time."""
    with log.store.begin() as records:
        return records.upkeep.now()


def month(log: MonthlyLog, back: int) -> datetime:
    """Return the first instant of the month that lies ``back`` months before the store's."""
    first = now(log).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    for _ in range(back):
        first = (first - _INSTANT).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return first


def forget(log: MonthlyLog, since: datetime) -> Forgotten:
    """Take one step with a bound that lies in the month of ``since``."""
    seconds = (now(log) - since).total_seconds() - 3_600
    with log.store.begin() as records:
        return records.upkeep.forget_predictions(older_than_seconds=seconds, limit=100)


class PredictionMonthsContract:
    """Whole months go, the oldest first, and labels after them."""

    def test_the_bound_is_the_month(self, log: MonthlyLog) -> None:
        """The last instant before a month goes with the month before; the month's first instant stays."""
        kept = month(log, 1)
        log.log("last", kept - _INSTANT)
        log.log("first", kept)
        assert forget(log, kept) == Forgotten(f"prediction_{kept - _INSTANT:%Y_%m}", 0)
        assert [ident for _, ident in log.logged()] == ["first"]
        assert forget(log, kept) == Forgotten(None, 0)

    def test_a_month_goes_when_it_is_over(self, log: MonthlyLog) -> None:
        """As long as the newest of a month must be kept, all of it stays; the current month stays whatever is asked."""
        log.log("old", month(log, 1))
        log.log("new", month(log, 0))
        assert forget(log, month(log, 0) - timedelta(days=1)) == Forgotten(None, 0)
        assert len(log.logged()) == 2
        with log.store.begin() as records:
            assert records.upkeep.forget_predictions(older_than_seconds=-1.0, limit=100).month is not None
            assert records.upkeep.forget_predictions(older_than_seconds=-1.0, limit=100) == Forgotten(None, 0)
        assert [ident for _, ident in log.logged()] == ["new"]

    def test_one_month_in_a_step(self, log: MonthlyLog) -> None:
        """The oldest goes first; what stays keeps its place, and the places go on."""
        months = [month(log, back) for back in (14, 13, 2, 0)]
        for number, at in enumerate(months):
            log.log(f"p{number}", at + timedelta(days=1) if number < 3 else at)
        (_, _, third, fourth) = log.logged()
        gone = [forget(log, month(log, 3)) for _ in range(3)]
        assert gone == [*(Forgotten(f"prediction_{at:%Y_%m}", 0) for at in months[:2]), Forgotten(None, 0)]
        assert log.logged() == [third, fourth]
        log.log("later", now(log))
        assert [ident for _, ident in log.logged()] == ["p2", "p3", "later"]
        assert log.logged()[-1][0] > fourth[0]

    def test_labels_follow(self, log: MonthlyLog) -> None:
        """Labels of what was forgotten go, in pieces; those of what is kept, and young ones of nothing yet, stay."""
        old, young = month(log, 2), month(log, 0)
        log.log("gone", old)
        log.log("kept", young)
        for ident, at in (
            ("gone", old),
            ("kept", old),
            ("gone", old),
            ("never", old),
            ("gone", young),
            ("soon", young),
        ):
            log.label(ident, at)
        assert _forget_labels(log) == 0, "nothing was forgotten yet"
        assert forget(log, young).month is not None
        assert _forget_labels(log, limit=1) == 1
        assert _forget_labels(log) == 2
        assert _forget_labels(log) == 0
        assert log.labelled() == ["kept", "gone", "soon"]


def _forget_labels(log: MonthlyLog, limit: int = 100) -> int:
    with log.store.begin() as records:
        return records.upkeep.forget("labels", older_than_seconds=0.0, keep_newest=0, limit=limit)
