"""What a trial is judged by, and the order of trials."""

from __future__ import annotations

from typing import Any

import pytest

from trainyard.leaderboard import leaderboard, progress_in_words, rank, score

CLASSES = {"loss": 0.4, "log_loss": 0.4, "accuracy": 0.9, "roc_auc": 0.8}
NUMBERS = {"loss": 4.0, "rmse": 2.0, "mae": 1.5, "r2": 0.7}


@pytest.mark.parametrize(
    ("metrics", "metric", "judged", "ranked"),
    [
        (CLASSES, "auto", ("log_loss", 0.4), 0.4),
        (CLASSES, "log_loss", ("log_loss", 0.4), 0.4),
        (CLASSES, "roc_auc", ("roc_auc", 0.8), 0.2),
        (CLASSES, "accuracy", ("accuracy", 0.9), 0.1),
        ({"loss": 0.4, "log_loss": 0.4}, "roc_auc", ("log_loss", 0.4), 0.4),
        (NUMBERS, "auto", ("squared_error", 4.0), 4.0),
        (NUMBERS, "rmse", ("squared_error", 4.0), 4.0),
        (NUMBERS, "mae", ("mae", 1.5), 1.5),
    ],
)
def test_what_a_trial_is_judged_by(
    metrics: dict[str, float], metric: str, judged: tuple[str, float], ranked: float
) -> None:
    """The policy's metric where it has a value, else the loss; what is minimised falls as the trial gets better."""
    assert score(metrics, metric) == judged
    assert rank(metrics, metric) == pytest.approx(ranked)


def test_what_was_pruned_comes_behind() -> None:
    """However good it was on its one cut."""
    trials = [{"number": 1, "metrics": {"loss": 0.1}, "pruned": True}, {"number": 2, "metrics": {"loss": 0.5}}]
    assert [trial["number"] for trial in leaderboard(trials, "auto")] == [2, 1]


def test_the_best_comes_first() -> None:
    """Of equals the earlier one; what has no loss comes last."""
    trials: list[dict[str, Any]] = [
        {"number": number, "metrics": metrics}
        for number, metrics in enumerate([{"loss": 0.5}, {}, {"loss": 0.4}, {"loss": 0.5}], start=1)
    ]
    board = leaderboard(trials, "auto")
    assert [(trial["rank"], trial["number"]) for trial in board] == [(1, 3), (2, 1), (3, 4), (4, 2)]
    assert [(trial["metric"], trial["score"]) for trial in board[-2:]] == [("squared_error", 0.5), (None, None)]


@pytest.mark.parametrize(
    ("progress", "words"),
    [
        ({}, ""),
        ({"stage": "reading", "done": 1, "total": 0}, "reading"),
        (
            {"stage": "searching", "trial": 7, "best": 0.81254, "metric": "roc_auc", "seconds_left": 90.0},
            "searching · trial 7 · best roc_auc 0.8125 · 1.5 min left",
        ),
        ({"stage": "searching", "trial": 7, "workers": {"a:1": 4, "b:2": 3}}, "searching · trial 7 · 2 workers"),
        ({"stage": "searching", "trial": 7, "workers": {"a:1": 7}}, "searching · trial 7"),
        ({"stage": "searching", "trial": "seven", "best": None}, "searching"),
    ],
)
def test_progress_in_words(progress: dict[str, Any], words: str) -> None:
    """What is known of it, and nothing that is not."""
    assert progress_in_words(progress) == words
