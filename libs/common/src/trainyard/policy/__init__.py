"""A model's policy: when to train, what to search, what to demand before promotion, how to watch what is served.

The scheduler validates and stores it, and copies :meth:`Policy.settings` into each training request; the trainer reads
it back with :meth:`Policy.from_dict`. Every key has its default here and nowhere else.
"""

from trainyard.metric_names import METRICS
from trainyard.policy.checks import (
    CLASSIFICATION,
    KINDS,
    MAX_PRIORITY,
    MAX_TRIALS,
    PROMOTIONS,
    TASKS,
    invalid,
    policy_problems,
)
from trainyard.policy.columns import LEAKAGE, ColumnPolicy, unknown_columns
from trainyard.policy.gate import GatePolicy
from trainyard.policy.monitoring import MonitoringPolicy
from trainyard.policy.policy import KEEP_COPIES, RUN_KEYS, Policy

__all__ = [
    "CLASSIFICATION",
    "KEEP_COPIES",
    "KINDS",
    "LEAKAGE",
    "MAX_PRIORITY",
    "MAX_TRIALS",
    "METRICS",
    "PROMOTIONS",
    "RUN_KEYS",
    "TASKS",
    "ColumnPolicy",
    "GatePolicy",
    "MonitoringPolicy",
    "Policy",
    "invalid",
    "policy_problems",
    "unknown_columns",
]
