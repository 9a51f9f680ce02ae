"""The gate's soft checks: no part of the rows much worse, calibrated, quick enough, small enough."""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from trainyard.gate.calibration import calibration_error
from trainyard.gate.report import Check

if TYPE_CHECKING:
    import numpy.typing as npt

    from trainyard.gate.report import Cost
    from trainyard.gate.slices import Slices
    from trainyard.metrics.answers import FloatArray
    from trainyard.policy import GatePolicy


def no_slice_worse(slices: Slices, allowed: float, min_rows: int) -> Check:
    """Return the check of the parts: the value is the smallest upper bound of a gain, as a share of the loss there."""
    name = "no_slice_worse"
    if not slices.compared:
        words = f"no part of the test rows has {min_rows:,} rows to be compared"
        return Check(name, None, -allowed, True, words, soft=True)
    worst = min(part.upper / part.champion_loss if part.champion_loss else 0.0 for part in slices.worst)
    if not slices.failed:
        words = (
            f"in none of {slices.compared} parts of the test rows is the loss surely higher by more than {allowed:.0%}"
        )
        return Check(name, worst, -allowed, True, words, soft=True)
    places = ", ".join(f"{part.column} {part.level} ({-part.gain:.5g} higher)" for part in slices.failed[:3])
    many = f"{len(slices.failed)} of {slices.compared} parts"
    words = f"the loss is surely higher by more than {allowed:.0%} in {many}: {places}"
    return Check(name, worst, -allowed, False, words, soft=True)


def limits(
    task: str,
    labels: npt.NDArray[Any],
    *,
    challenger: FloatArray,
    instead: FloatArray,
    settings: GatePolicy,
    cost: Cost,
) -> list[Check]:
    """Return the checks of calibration, time and size that ``settings`` ask for.

    Args:
        task: binary, multiclass or regression.
        labels, challenger: as :func:`trainyard.gate.judge` takes them.
        instead: the answers of what serves if the challenger does not: the champion, or the prior.
        settings: what to demand.
        cost: what was measured; what was not measured does not keep its limit.
    """
    checks = []
    if settings.max_calibration_error is not None:
        checks.append(_calibrated(task, labels, challenger, instead, settings))
    for name, value, limit, unit in (
        ("fast_enough", cost.latency_us, settings.max_latency_us, "microseconds for one row"),
        ("small_enough", cost.size_bytes, settings.max_size_bytes, "bytes of artifact"),
    ):
        if limit is not None:
            said = "could not be measured" if value is None else f"{value:,.6g}"
            words = f"{unit}: {said}; at most {limit:,.6g} are allowed"
            measured = None if value is None else float(value)
            checks.append(Check(name, measured, float(limit), value is not None and value <= limit, words, soft=True))
    return checks


def _calibrated(
    task: str, labels: npt.NDArray[Any], challenger: FloatArray, instead: FloatArray, settings: GatePolicy
) -> Check:
    limit = settings.max_calibration_error or 0.0
    ours, theirs = calibration_error(task, labels, challenger), calibration_error(task, labels, instead)
    if ours is None or theirs is None:
        return Check("calibrated", None, limit, False, "these test rows have no calibration error", soft=True)
    threshold = max(limit + NormalDist().inv_cdf(settings.confidence) * ours[1], theirs[0])
    words = (
        f"answers are {ours[0]:.3g} from what came true, on average over rows answered alike; at most {threshold:.3g}"
        f" is allowed (the largest of {limit:g} beyond noise and {theirs[0]:.3g}, what answers otherwise)"
    )
    return Check("calibrated", ours[0], threshold, ours[0] <= threshold, words, soft=True)
