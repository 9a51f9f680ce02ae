"""The sections of a card that show what the test rows told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainyard.card.document import Chart, Curve, Table, Words, figure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from trainyard.card.document import Block

    Json = Mapping[str, Any]

_MOST_SLICES, _MOST_FEATURES = 25, 40


def metrics(found: Json) -> list[Block]:
    """Show each metric with its interval; without a report the metrics alone."""
    report = found["report"]
    if report is None:
        return [Table(("metric", "value"), [(name, figure(v)) for name, v in found["version"]["metrics"].items()])]
    share = f"{100 * report['confidence']:g} %"
    lines = [
        (name, figure(of["value"]), "–" if of["low"] is None else f"{figure(of['low'])} – {figure(of['high'])}")
        for name, of in report["metrics"].items()
    ]
    samples = figure(report["samples"])
    words = f"On {figure(report['rows'])} test rows; intervals hold {share} of {samples} bootstrap samples."
    return [Words(words), Table(("metric", "value", f"{share} interval"), lines), *_parity(found)]


def _parity(found: Json) -> list[Block]:
    """Say how far the model's answers are from those of the libraries that trained it, where that is known."""
    parity = found["version"]["metrics"].get("parity")
    if parity is None:
        return []
    return [
        Words(f"On these rows its answers are at most {figure(parity)} from those of the libraries that trained it.")
    ]


def curves(found: Json) -> list[Block]:
    """Show ROC, precision-recall and calibration, or predicted against true."""
    report = found["report"] or {}
    given = report.get("curves", {})
    blocks: list[Block] = []
    if roc := given.get("roc"):
        names = [(f"{one['class']} (area {figure(one['auc'])})", one["points"]) for one in roc]
        blocks.append(Chart("ROC", "false positive rate", "true positive rate", _curves(names), diagonal=True))
    if pr := given.get("pr"):
        names = [(f"{one['class']} (average {figure(one['average_precision'])})", one["points"]) for one in pr]
        blocks.append(Chart("Precision and recall", "recall", "precision", _curves(names)))
    if calibration := given.get("calibration"):
        names = [(f"{one['class']} (mean error {figure(one['error'])})", one["points"]) for one in calibration]
        axes = ("mean probability", "share that was true")
        blocks.append(Chart("Calibration", *axes, _curves(names), diagonal=True))
    if residuals := report.get("residuals"):
        dots = _curves([("test rows", [point[::-1] for point in residuals["points"]])])
        blocks.append(Chart("Predicted and true", "predicted", "true", dots, diagonal=True, dots=True))
    return blocks


def learning(found: Json) -> list[Block]:
    """Show the learning curve."""
    curve = (found["report"] or {}).get("learning_curve")
    if not curve:
        return []
    points, cut = curve["points"], curve["cut"]
    lines = [(figure(one["rows"]), figure(one["loss"]), figure(one["learnt"])) for one in points]
    named = [
        (words, [(float(one["rows"]), one[key]) for one in points])
        for words, key in (("test rows", "loss"), ("rows learnt from", "learnt"))
    ]
    words = (
        f"The configuration of the {curve['kind']} alone, fitted on a growing part of the rows. Where the line of the"
        " test rows still falls at its end, more rows would help."
    )
    return [
        Words(words + (f" {cut[:1].upper()}{cut[1:]}." if cut else "")),
        Table(("rows learnt from", f"{curve['loss']} on the test rows", "on rows learnt from"), lines),
        *([Chart("Learning curve", "rows learnt from", str(curve["loss"]), _curves(named))] if len(points) > 1 else []),
    ]


def _curves(named: Iterable[tuple[str, Sequence[Sequence[float | None]]]]) -> list[Curve]:
    found = []
    for name, points in named:
        known = [(x, y) for x, y, *_ in points if x is not None and y is not None]
        found.append(Curve(name, known))
    return found


def tables(found: Json) -> list[Block]:
    """Show the confusion matrix, or the residuals' quantiles."""
    report = found["report"] or {}
    blocks: list[Block] = []
    if confusion := report.get("confusion"):
        threshold = confusion["threshold"]
        at = "" if threshold is None else f", decided at a probability of {figure(threshold)}"
        lines = [
            (truth, *map(figure, counts))
            for truth, counts in zip(confusion["truths"], confusion["counts"], strict=True)
        ]
        blocks.append(Words(f"Confusion matrix: lines are what was true, columns what was answered{at}."))
        blocks.append(Table(("true", *confusion["answers"]), lines))
        if threshold is not None:
            of = ", ".join(f"{name} {figure(confusion[name])}" for name in ("precision", "recall", "f1"))
            blocks.append(Words(f"Of the positive class: {of}."))
    if residuals := report.get("residuals"):
        blocks.append(Words("Residuals (true minus predicted): this share of the test rows is at or below."))
        quantiles = residuals["quantiles"]
        shares = [f"{100 * share:g} %" for share, _ in quantiles]
        blocks.append(Table(shares, [[figure(value) for _, value in quantiles]]))
    return blocks


def slices(found: Json) -> list[Block]:
    """Show the slices, the worst first."""
    given = (found["report"] or {}).get("slices")
    if not given:
        return []
    items = given["items"][:_MOST_SLICES]
    if not items:
        return [Words(f"No part of the test rows has {given['least_rows']} rows or more.")]
    lines = [
        (
            one["column"],
            one["slice"],
            figure(one["rows"]),
            figure(one["loss"]),
            f"{figure(one['low'])} – {figure(one['high'])}",
            ", ".join(f"{name} {figure(value)}" for name, value in one["metrics"].items()),
        )
        for one in items
    ]
    words = (
        f"The highest loss first, {len(items)} of {given['found']} slices of at least {given['least_rows']} rows; all"
        f" test rows: {figure(given['loss'])}. Of so many slices some look bad by chance."
    )
    return [Words(words), Table(("column", "slice", "rows", "loss", "95 % interval", "metrics"), lines)]


def uses(found: Json) -> list[Block]:
    """Show what the model gains by each column, and by how much each moves its scores."""
    report = found["report"] or {}
    return [*_importance(report.get("importance")), *_contributions(report.get("contributions"))]


def _contributions(given: Json | None) -> list[Block]:
    if not given:
        return []
    lines = [(one["feature"], figure(one["mean"])) for one in given["features"][:_MOST_FEATURES]]
    words = (
        f"By how much a column moves the score, up or down, in the mean of {figure(given['rows'])} test rows; in the"
        f" score's unit ({given['unit']}). Of several classes it is the score of the one that is predicted."
    )
    cut = [Words(f"Cut short: {given['cut']}.")] if given["cut"] else []
    return [
        *([Words(words)] if lines else []),
        *cut,
        *([Table(("column", "mean contribution"), lines)] if lines else []),
    ]


def _importance(given: Json | None) -> list[Block]:
    if not given:
        return []
    lines = [(one["feature"], figure(one["rise"]), figure(one["spread"])) for one in given["features"][:_MOST_FEATURES]]
    words = (
        f"By how much the {given['loss']} of {figure(given['rows'])} test rows rises when a column's values are dealt"
        " out anew among them. Of columns that say the same each looks unimportant."
    )
    cut = [Words(f"Cut short: {given['cut']}.")] if given["cut"] else []
    return [Words(words), *cut, *([Table(("column", "rise", "spread"), lines)] if lines else [])]
