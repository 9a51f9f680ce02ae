"""The check of the live figures: it passes when everything agrees, and finds each way in which it may not."""

from __future__ import annotations

import copy

import pytest

from trainyard.clock import ManualClock
from trainyard_demo.errors import DemoError
from trainyard_demo.figures import auc, log_loss
from trainyard_demo.live import Truth
from trainyard_demo.user import Asked, User

LATE = {"f1": True, "f2": False, "f3": True, "f4": False}
ANSWERS = {"p1": 0.9, "p2": 0.6, "p3": 0.5, "p4": 0.1}


class FakeClient:
    """A prediction log and the service's own figures, both changeable."""

    def __init__(self) -> None:
        labels = list(LATE.values())
        self.log = [
            {"id": i, "output": {"probabilities": {"true": p, "false": 1 - p}}, "label": label}
            for (i, p), label in zip(ANSWERS.items(), labels, strict=True)
        ]
        probe = {"id": "probe", "output": {"probabilities": {"true": 0.3}}, "label": None}
        self.log.append(probe)  # asked while waiting for the champion; nobody gives it a label
        metrics = {"roc_auc": auc(labels, list(ANSWERS.values())), "log_loss": log_loss(labels, list(ANSWERS.values()))}
        closed = {"version": 2, "number": 0, "predictions": 4, "labels": 4, "metrics": metrics}
        self.live = [{**closed, "version": 1}, closed]
        self.windows = [{"version": 2, "predictions": 1, "labels": 0, "metrics": {}}]

    def predictions(self, _model, _version):
        """Yield the log."""
        yield from self.log

    def watched(self, _model):
        """Return the service's figures."""
        return {"live": self.live, "windows": self.windows}


@pytest.fixture
def client():
    """A log and figures that agree."""
    return FakeClient()


@pytest.fixture
def user(client):
    """A user with the fake client and a clock that jumps."""
    user = User.__new__(User)
    user.client, user._clock = client, ManualClock()
    return user


@pytest.fixture
def asked():
    """What was answered over HTTP."""
    return Asked(dict(zip(ANSWERS, LATE, strict=True)), dict(ANSWERS), dict.fromkeys(ANSWERS, 2))


@pytest.fixture
def truth(asked):
    """The rows that arrived later."""
    truth = Truth()
    truth.remember(asked, LATE)
    return truth


def test_figures_of_the_month(truth, user, asked):
    """AUC and log-loss are those of the month's predictions."""
    live = truth.check(user, asked, patience=5)
    assert (live.predictions, live.auc) == (4, 0.75)
    assert live.log_loss == pytest.approx(log_loss(list(LATE.values()), list(ANSWERS.values())))


def test_windows_that_are_not_shown_any_more(truth, user, asked, client):
    """Of a long log the newest windows are compared, each with its own part."""
    early = [{**client.log[0], "id": f"early{n}", "label": None} for n in range(8)]
    client.log[:0] = early
    client.live[1]["number"] = 2
    assert truth.check(user, asked, patience=5).auc == 0.75
    client.live[1]["number"] = 1
    with pytest.raises(DemoError, match="in vain for windows"):
        truth.check(user, asked, patience=5)


def test_windows_of_other_versions_took_the_place(truth, user, asked, client):
    """When none of the version's closed windows is shown any more its open one is compared with the end of the log."""
    labels, answers = list(LATE.values()), list(ANSWERS.values())
    client.log[:0] = [{**client.log[0], "id": f"early{n}", "label": None} for n in range(8)]
    metrics = {"roc_auc": auc(labels, answers), "log_loss": log_loss(labels, answers)}
    client.live = [{**client.live[0], "number": n} for n in range(20)]
    client.windows = [{"version": 2, "predictions": 5, "labels": 4, "metrics": metrics}]
    assert truth.check(user, asked, patience=5).auc == 0.75
    client.live.pop()
    with pytest.raises(DemoError, match="of closed windows the service shows the newest 20, of all versions"):
        truth.check(user, asked, patience=5)
    client.live.append(client.live[0])
    metrics["roc_auc"] += 0.001
    with pytest.raises(DemoError, match="roc_auc of version 2"):
        truth.check(user, asked, patience=5)
    client.windows[0]["predictions"] = 14
    with pytest.raises(DemoError, match="in vain for windows"):
        truth.check(user, asked, patience=5)


def _lose_one(client):
    del client.log[0]


def _lose_a_label(client):
    client.log[0]["label"] = None


def _change_a_probability(client):
    client.log[0]["output"] = copy.deepcopy(client.log[1]["output"])


def _change_a_label(client):
    client.log[0]["label"] = False


def _change_the_figure(client):
    client.live[1]["metrics"]["roc_auc"] += 0.001


def _forget_the_figure(client):
    client.live[1]["metrics"].pop("log_loss")


def _forget_the_version(client):
    client.live.clear()


def _forget_a_label(client):
    client.live[1]["labels"] = 3


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (_lose_one, "in vain for the log"),
        (_lose_a_label, "in vain for the log"),
        (_change_a_probability, "another probability"),
        (_change_a_label, "another outcome"),
        (_change_the_figure, "roc_auc of version 2"),
        (_forget_the_figure, "log_loss of version 2"),
        (_forget_the_version, "in vain for windows"),
        (_forget_a_label, "in vain for windows"),
    ],
)
def test_whatever_differs_is_found(truth, user, asked, client, harm, said):
    """A lost prediction, a lost or changed label, another probability, another figure: each ends the story."""
    harm(client)
    with pytest.raises(DemoError, match=said):
        truth.check(user, asked, patience=5)
