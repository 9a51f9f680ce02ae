"""The parameters of a search as Optuna has them: distributions, and the values that come of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from trainyard.contracts.studies import Range

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

    from trainyard.contracts.studies import Choice

#: Digits of a number that is proposed: more say nothing, and people read them.
_DIGITS = 3


def distribution_of(how: Range | Choice) -> BaseDistribution:
    """Return what Optuna samples a parameter from; it takes no lists, they are JSON there."""
    if not isinstance(how, Range):
        return CategoricalDistribution([json.dumps(one) if isinstance(one, list) else one for one in how.options])
    if how.whole:
        return IntDistribution(int(how.low), int(how.high), log=how.log)
    return FloatDistribution(how.low, how.high, log=how.log)


def value_of(how: Range | Choice, sampled: Any) -> Any:
    """Return a sampled value as it is handed out: lists as lists, and no more digits than say something."""
    if isinstance(how, Range):
        return sampled if how.whole else float(f"{sampled:.{_DIGITS}g}")
    return next(one for one in how.options if sampled in (one, json.dumps(one)))


def suggest(trial: optuna.Trial, name: str, distribution: BaseDistribution) -> Any:
    """Have the trial sample, or look up, its value of the parameter."""
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(name, distribution.low, distribution.high, log=distribution.log)
    if isinstance(distribution, FloatDistribution):
        return trial.suggest_float(name, distribution.low, distribution.high, log=distribution.log)
    raise TypeError(distribution)
