"""The gate: what a version must show on its hold-out before it may become champion. Pure numpy, one implementation.

- :mod:`~trainyard.gate.verdict`: the verdict, from the checks that every version must pass
- :mod:`~trainyard.gate.limits`: the soft checks: parts of the rows, calibration, time, size
- :mod:`~trainyard.gate.measures`: losses and metrics of a model's answers
- :mod:`~trainyard.gate.paired`: the gain of one model over another, with a bootstrap interval
- :mod:`~trainyard.gate.slices`: parts of the rows and the gain in each
- :mod:`~trainyard.gate.calibration`: how far answers are from what came true
- :mod:`~trainyard.gate.report`: what the gate says
"""

from trainyard.gate.calibration import calibration_error
from trainyard.gate.measures import FLOOR, LOSS_NAMES, FloatArray, answered, measure, row_losses
from trainyard.gate.report import NOT_MEASURED, Check, Cost, GateReport
from trainyard.gate.slices import Cut, compare_slices, cuts_of
from trainyard.gate.verdict import judge

__all__ = [
    "FLOOR",
    "LOSS_NAMES",
    "NOT_MEASURED",
    "Check",
    "Cost",
    "Cut",
    "FloatArray",
    "GateReport",
    "answered",
    "calibration_error",
    "compare_slices",
    "cuts_of",
    "judge",
    "measure",
    "row_losses",
]
