"""How good a trial is, the order of a run's trials by it, and how far a run is. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainyard.durations import in_words
from trainyard.metric_names import HIGHER_IS_BETTER, OF_DECISIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: What a search judges by where a policy names it; it minimises the loss for all others.
_OWN = frozenset({"roc_auc", "mae", *OF_DECISIONS})


def score(metrics: Mapping[str, float], metric: str) -> tuple[str, float]:
    """Return what a search judges a trial by, its name and its value, read off the trial's figures.

    It is the policy's ``metric`` where that has a value of its own on the rows; ``auto``, ``log_loss`` and the metrics
    that follow the squared error mean the loss that every fit minimises: log-loss, or squared error.
    """
    if metric in _OWN and metric in metrics:
        return metric, metrics[metric]
    return "log_loss" if "log_loss" in metrics else "squared_error", metrics["loss"]


def rank(metrics: Mapping[str, float], metric: str) -> float:
    """Return what the choice minimises."""
    name, value = score(metrics, metric)
    return 1.0 - value if name in HIGHER_IS_BETTER else value


def leaderboard(trials: Sequence[Mapping[str, Any]], metric: str) -> list[dict[str, Any]]:
    """Return the trials (JSON) by rank, the best first, each with ``rank`` (from 1), ``metric`` and ``score``.

    Of equals the earlier one comes first. What was pruned comes behind what was not, as its figures are of one cut
    only; a trial without a loss, which no search of this release makes, comes last.
    """
    scored = [trial for trial in trials if "loss" in trial["metrics"]]
    scored.sort(key=lambda t: (t.get("pruned", False), rank(t["metrics"], metric), t["number"]))
    rest = [trial for trial in trials if "loss" not in trial["metrics"]]
    board = []
    for place, trial in enumerate([*scored, *rest], start=1):
        name, value = score(trial["metrics"], metric) if place <= len(scored) else (None, None)
        board.append({"rank": place, "metric": name, "score": value, **trial})
    return board


def progress_in_words(progress: Mapping[str, Any]) -> str:
    """Return a run's progress for a reader: the stage, the newest trial, the best score so far, who shares the search,
    and the time left.

    What is missing, or is not what it should be, is left out.
    """

    def number(name: str) -> float | None:
        value = progress.get(name)
        return float(value) if isinstance(value, int | float) else None

    words = [str(progress.get("message") or progress.get("stage") or "")]
    trial, best, left = number("trial"), number("best"), number("seconds_left")
    words += [] if trial is None else [f"trial {trial:g}"]
    words += [] if best is None else [f"best {progress.get('metric', 'score')} {best:.4g}"]
    workers = progress.get("workers")
    words += [f"{len(workers)} workers"] if isinstance(workers, dict) and len(workers) > 1 else []
    words += [] if left is None else [f"{in_words(left)} left"]
    return " · ".join(word for word in words if word)
