"""How a served model is watched: the part ``monitoring`` of its policy, every key with its default.

Two ways to cut the predictions of a version into windows: every ``window_rows`` of them in the order of the log, or by
time when ``window`` is given. Then what counts as drift, what counts as a loss of quality, and how often an alarm may
ask for a training.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from trainyard.durations import seconds_of
from trainyard.policy.fields import Field, length, number, or_null, problems_of, whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainyard.errors import Problem

_LONGEST_SECONDS = 366 * 86_400.0
_MOST_WINDOW_ROWS = 20_000


@dataclass(frozen=True)
class MonitoringPolicy:
    """What to look at and when to call it an alarm.

    Attributes:
        window_rows: predictions of one version that make a window, in the order of the log; not used with ``window``.
        window: seconds; windows are its whole multiples since 1970 in UTC, by the prediction's time. None: by count.
        min_rows: below so many predictions (drift) or labels (quality) the answer is "not enough data".
        min_effect: population stability index of a feature, beyond what chance explains, from which it drifts.
        min_distance: Wasserstein distance in standard deviations, beyond what chance explains, from which it drifts.
        persistence: windows in a row in which a feature must drift before there is an alarm; twice the least effect is
            an alarm at once.
        max_quality_drop: by how much the metric may be worse than on the hold-out, in the metric's unit. None: 0.05
            for metrics of which more is better, a fifth of the hold-out's value for losses and errors.
        confidence: of the interval around a live metric; its better end must be worse than what is allowed.
        label_wait: seconds that a window waits for the labels of all its predictions before it is judged without.
        cool_down: seconds after an alarm of a model in which no other one asks for a training.
        max_alarms_per_day: alarms of a model within 24 hours that may ask for a training.
    """

    window_rows: int = 1000
    window: float | None = None
    min_rows: int = 200
    min_effect: float = 0.2
    min_distance: float = 0.3
    persistence: int = 2
    max_quality_drop: float | None = None
    confidence: float = 0.99
    label_wait: float = 86_400.0
    cool_down: float = 3_600.0
    max_alarms_per_day: int = 4

    def changed(self, raw: Mapping[str, Any]) -> MonitoringPolicy:
        """Return these settings with those of ``raw``, which has no problems."""
        values = {**asdict(self), **raw}
        for name in ("window", "label_wait", "cool_down"):
            values[name] = None if values[name] is None else seconds_of(values[name])
        return MonitoringPolicy(**values)


def monitoring_problems(raw: object) -> list[Problem]:
    """Return everything that is wrong with ``policy.monitoring`` given as JSON."""
    return problems_of("policy.monitoring", raw, _KEYS)


_KEYS: Mapping[str, Field] = {
    "window_rows": whole(20, _MOST_WINDOW_ROWS),
    "window": or_null(length(60.0, _LONGEST_SECONDS, "366 days")),
    "min_rows": whole(20, _MOST_WINDOW_ROWS),
    "min_effect": number(0.01, 100.0),
    "min_distance": number(0.01, 100.0),
    "persistence": whole(1, 100),
    "max_quality_drop": or_null(number(0.0, 1e12)),
    "confidence": number(0.5, 0.99999),
    "label_wait": length(0.0, _LONGEST_SECONDS, "366 days"),
    "cool_down": length(0.0, _LONGEST_SECONDS, "366 days"),
    "max_alarms_per_day": whole(0, 1000),
}
