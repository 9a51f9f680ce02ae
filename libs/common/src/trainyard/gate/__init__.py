"""The gate: what a version must show on its hold-out before it may become champion. Pure numpy, one implementation.

- :mod:`~trainyard.gate.verdict`: the verdict, from the checks that every version must pass
- :mod:`~trainyard.gate.limits`: the soft checks: parts of the rows, calibration, time, size
- :mod:`~trainyard.gate.paired`: the gain of one model over another, with a bootstrap interval
- :mod:`~trainyard.gate.slices`: the gain in parts of the rows
- :mod:`~trainyard.gate.calibration`: how far answers are from what came true
- :mod:`~trainyard.gate.report`: what the gate says

What it measures with is :mod:`trainyard.metrics`, as for every report.
"""

from trainyard.gate.calibration import calibration_error
from trainyard.gate.report import NOT_MEASURED, Check, Cost, GateReport
from trainyard.gate.slices import compare_slices
from trainyard.gate.verdict import judge
from trainyard.metrics.answers import Answers, FloatArray
from trainyard.metrics.measures import FLOOR, LOSS_NAMES, measure, row_losses
from trainyard.metrics.slicing import Cut, cuts_of

__all__ = [
    "FLOOR",
    "LOSS_NAMES",
    "NOT_MEASURED",
    "Answers",
    "Check",
    "Cost",
    "Cut",
    "FloatArray",
    "GateReport",
    "calibration_error",
    "compare_slices",
    "cuts_of",
    "judge",
    "measure",
    "row_losses",
]
