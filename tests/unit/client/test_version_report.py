"""`trainyard version report` and `version card` against the fake service."""

from __future__ import annotations

import pytest
from fake_api import error

from trainyard_client.cli.exits import Exit

PATH = "/v1/models/late/versions/3/report"
REPORT = {
    "confidence": 0.95,
    "metrics": {"roc_auc": {"value": 0.71234, "low": 0.69, "high": 0.73}},
    "confusion": {"truths": ["no", "yes"], "answers": ["no", "yes"], "counts": [[70, 5], [9, 16]]},
    "importance": {
        "loss": "log-loss",
        "features": [{"feature": f"f{i}", "rise": 1e-05, "spread": None} for i in range(25)],
        "cut": "the time was up after 7 of 25 turns",
    },
    "contributions": {
        "unit": "log-odds",
        "features": [{"feature": "f3", "mean": 0.004321}],
        "cut": "the time was up after 50 of 500 rows",
    },
    "learning_curve": {
        "kind": "linear",
        "loss": "log-loss",
        "points": [{"rows": 1500, "loss": 0.61234, "learnt": 0.5}],
        "cut": "the time was up after 0 of 4 fits on fewer rows",
    },
    "slices": {"found": 1, "items": [{"column": "city", "slice": "= \x1b[31mb", "rows": 40, "loss": 0.9}]},
    "parity": {"holdout": 2.3456e-16, "members": 7.8912e-13},
    "cost": {"seconds": 3.5, "rows": 1200, "peak_memory_bytes": 209715200},
    "left_out": [{"column": "id", "reason": "an identifier"}],
}


def answer(report=REPORT):
    """Return what the service says of version 3."""
    gate = {"checks": [{"name": "enough_rows", "value": 100, "threshold": 50, "passed": True, "words": "100 rows"}]}
    version = {"version": 3, "created_at": "now", "aliases": [], "holdout": {"test_rows": 100}, "gate": gate}
    version["metrics"] = {"loss": 0.5, "parity": 2.3456e-16}
    model = {"name": "late", "dataset": "flights", "label": "late", "task": "binary"}
    return {"model": model, "version": version, "run": {"cost_usd": 0.01}, "trials": [], "report": report}


def test_the_report_is_readable(api, trainyard):
    """Intervals, counts, importance, slices and gate are tables; long ones end with where the rest is."""
    api.on("GET", PATH, answer())
    done = trainyard("version", "report", "late", "3")
    assert done.code == Exit.OK
    for words in (
        "roc_auc",
        "0.7123",
        "0.69",
        "16",
        "1e-05",
        "an identifier",
        "enough_rows",
        "… and 5 more",
        "3.5",
        "2.3e-16",
        "7.9e-13",
    ):
        assert words in done.out
    assert "cut short: the time was up after 7 of 25 turns" in done.out
    for words in (
        "209715200",
        "log-loss of the linear alone",
        "1500",
        "0.6123",
        "cut short: the time was up after 0 of 4 fits",
        "log-odds",
        "0.004321",
        "after 50 of 500 rows",
    ):
        assert words in done.out
    assert "\x1b" not in done.out


def test_a_regression_shows_residuals(api, trainyard):
    """Instead of a confusion matrix."""
    report = {**REPORT, "confusion": None, "residuals": {"quantiles": [[0.5, -0.25]], "points": []}}
    api.on("GET", PATH, answer(report))
    assert "-0.25" in trainyard("version", "report", "late", "3").out


def test_a_version_without_a_report(api, trainyard):
    """The gate is shown, and why there is no more."""
    api.on("GET", PATH, answer(None))
    done = trainyard("version", "report", "late", "3")
    assert "before there were reports" in done.out
    assert "enough_rows" in done.out


def test_json_is_the_answer(api, trainyard):
    """Programs get what the service said."""
    api.on("GET", PATH, answer())
    assert trainyard("version", "report", "late", "3", "--json").json == answer()


@pytest.mark.parametrize(("name", "media"), [("card.html", "text/html"), ("CARD.MD", "text/markdown")])
def test_a_card_is_written(api, trainyard, tmp_path, name, media):
    """The name's ending says as what."""
    api.on("GET", PATH, (200, "ä card".encode(), {"Content-Type": f"{media}; charset=utf-8"}))
    done = trainyard("version", "card", "late", "3", "-o", str(tmp_path / name))
    assert (tmp_path / name).read_text(encoding="utf-8") == "ä card"
    assert api.asked[-1].headers["Accept"] == media
    assert "7 bytes" in done.out


def test_a_card_is_printed_as_markdown(api, trainyard):
    """Without a file it goes to standard output."""
    api.on("GET", PATH, (200, b"# Model late\n", {"Content-Type": "text/markdown; charset=utf-8"}))
    assert trainyard("version", "card", "late", "3").out == "# Model late\n"


def test_what_cannot_be_a_card(api, trainyard, tmp_path):
    """Other names and what cannot be written are wrong use; a refusal leaves no file."""
    api.on("GET", PATH, (404, error("unknown_version")))
    assert trainyard("version", "card", "late", "3", "-o", "card.pdf").code == Exit.USAGE
    assert api.asked == []
    done = trainyard("version", "card", "late", "3", "-o", str(tmp_path / "card.md"))
    assert done.code == Exit.NOT_FOUND
    assert list(tmp_path.glob("*.md")) == []
    api.on("GET", PATH, (200, b"x", {"Content-Type": "text/markdown"}))
    assert trainyard("version", "card", "late", "3", "-o", str(tmp_path / "none" / "card.md")).code == Exit.USAGE
