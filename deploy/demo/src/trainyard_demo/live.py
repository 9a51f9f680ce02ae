"""How good the predictions were once the truth was known: computed twice by different ways, and compared.

By hand: the prediction log (``GET /v1/predictions``) joined with the rows that arrived later. By the service:
``GET /v1/models/late/quality``, which joins the same log with the feedback, window by window.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isclose
from typing import TYPE_CHECKING, Any

from trainyard_demo.errors import DemoError
from trainyard_demo.figures import auc, log_loss
from trainyard_demo.plan import MODEL

if TYPE_CHECKING:
    from trainyard_demo.user import Asked, User

    Json = dict[str, Any]

_EQUAL = 1e-6
#: Closed windows that the service shows, the newest of all versions.
_SHOWN = 20


@dataclass(frozen=True)
class Live:
    """Figures of one month's predictions."""

    predictions: int
    auc: float
    log_loss: float


class Truth:
    """Everything that was asked and everything that arrived, over the whole story."""

    def __init__(self) -> None:
        self.late: dict[str, bool] = {}
        self._flight: dict[str, str] = {}
        self._answered: dict[str, float] = {}

    def remember(self, asked: Asked, late: dict[str, bool]) -> None:
        """Add a month: what was asked, and the labels of the rows that arrived after."""
        self.late |= late
        self._flight |= asked.flight
        self._answered |= asked.late

    def check(self, user: User, asked: Asked, *, patience: float) -> Live:
        """Return the month's figures from the log, after proving that log, answers, feedback and service agree.

        Raises:
            DemoError: the log is not complete in time, or something differs; says what.
        """
        by_version = {version: self._complete_log(user, version, asked, patience) for version in asked.versions}
        for version in by_version:
            self._compare_with_service(user, version, patience)
        month = [p for log in by_version.values() for p in log if p["id"] in asked.flight]
        truth = [self.late[self._flight[p["id"]]] for p in month]
        late = [p["output"]["probabilities"]["true"] for p in month]
        return Live(len(month), auc(truth, late), log_loss(truth, late))

    def _complete_log(self, user: User, version: int, asked: Asked, patience: float) -> list[Json]:
        """Return the version's log, once every prediction of the month is in it with its label."""
        wanted = sum(v == version for v in asked.version.values())

        def complete() -> list[Json] | None:
            log = [p for p in user.client.predictions(MODEL, version) if p["id"] in self._flight]
            labelled = sum(p["id"] in asked.flight and p["label"] is not None for p in log)
            return log if labelled == wanted else None

        log: list[Json] = user.until(complete, seconds=patience, what=f"the log of version {version}'s predictions")
        for p in log:
            if p["output"]["probabilities"]["true"] != self._answered[p["id"]]:
                raise DemoError(f"the log says another probability for prediction {p['id']} than the answer did")
            if p["label"] is not self.late[self._flight[p["id"]]]:
                raise DemoError(f"the log says another outcome for prediction {p['id']} than its row")
        return log

    def _compare_with_service(self, user: User, version: int, patience: float) -> None:
        """Hold the windows of the version that the service shows, closed ones and the open one, against the log."""
        log = list(user.client.predictions(MODEL, version))

        def looked_at() -> list[tuple[Json, list[Json]]]:
            parts = _parts(user.client.watched(MODEL), version, log)
            return parts if all(window["labels"] == len(_labelled(part)) for window, part in parts) else []

        parts: list[tuple[Json, list[Json]]] = user.until(
            looked_at,
            seconds=patience,
            what=f"windows with all predictions and labels of version {version}; of closed windows the service shows"
            f" the newest {_SHOWN}, of all versions",
        )
        for window, part in parts:
            self._compare(version, window["metrics"], _labelled(part))

    def _compare(self, version: int, theirs: Json, part: list[Json]) -> None:
        truth = [self.late[self._flight[p["id"]]] for p in part]
        late = [p["output"]["probabilities"]["true"] for p in part]
        ours = {"log_loss": log_loss(truth, late)} if part else {}
        if len(set(truth)) == 2:
            ours["roc_auc"] = auc(truth, late)
        for name, figure in ours.items():
            said = theirs.get(name)
            if said is None or not isclose(said, figure, abs_tol=_EQUAL):
                raise DemoError(f"{name} of version {version} is {figure} by our count and {said} by the service's")


def _parts(watched: Json, version: int, log: list[Json]) -> list[tuple[Json, list[Json]]]:
    """Return the version's windows, oldest first, each with its part of the log, which is in the same order.

    None are returned while the windows and the log do not fit together: a prediction came in, or a window was closed.
    """
    closed = sorted((w for w in watched["live"] if w["version"] == version), key=lambda w: w["number"])
    opened = [w for w in watched["windows"] if w["version"] == version]
    behind = 0
    if closed:  # They are of equal length, so the number of the oldest one that is shown says where it begins.
        behind = closed[0]["number"] * closed[0]["predictions"]
    elif len(watched["live"]) >= _SHOWN:  # Windows of other versions may have taken their place: the end is left.
        behind = max(len(log) - sum(w["predictions"] for w in opened), 0)
    parts = []
    for window in (*closed, *opened):
        rows = window["predictions"]
        parts.append((window, log[behind : behind + rows]))
        behind += rows
    return parts if behind == len(log) else []


def _labelled(part: list[Json]) -> list[Json]:
    return [p for p in part if p["label"] is not None]
