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

__all__ = [
    "NOT_MEASURED",
    "Check",
    "Cost",
    "GateReport",
    "calibration_error",
    "compare_slices",
    "judge",
]
