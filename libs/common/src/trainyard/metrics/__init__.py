"""How good a model's answers are: the one place of figures, their intervals and the parts of the rows. Pure numpy.

- here and in :mod:`~trainyard.metrics.figures`: each metric as a function of arrays
- :mod:`~trainyard.metrics.measures`: the loss of each row, and all metrics of a task
- :mod:`~trainyard.metrics.bootstrap` and :mod:`~trainyard.metrics.statistics`: the same, as other samples have them
- :mod:`~trainyard.metrics.intervals`: the intervals of live metrics
- :mod:`~trainyard.metrics.slicing`: parts of the rows
"""

from trainyard.metric_names import HIGHER_IS_BETTER, OF_DECISIONS
from trainyard.metrics.figures import (
    accuracy,
    balanced_accuracy,
    f1,
    log_loss,
    mae,
    placements,
    r2,
    rmse,
    roc_auc,
)

__all__ = [
    "HIGHER_IS_BETTER",
    "OF_DECISIONS",
    "accuracy",
    "balanced_accuracy",
    "f1",
    "log_loss",
    "mae",
    "placements",
    "r2",
    "rmse",
    "roc_auc",
]
