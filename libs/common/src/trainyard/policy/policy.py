"""The whole policy of a model, every key with its default."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from trainyard.durations import seconds_of
from trainyard.policy.checks import KINDS, invalid, policy_problems
from trainyard.policy.columns import LEAKAGE, ColumnPolicy
from trainyard.policy.gate import GatePolicy
from trainyard.policy.monitoring import MonitoringPolicy

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What a run needs of a policy; the other keys say when and where to train.
RUN_KEYS = (
    "budget_seconds",
    "metric",
    "seed",
    "gate",
    "budget_trials",
    "kinds",
    "leakage",
    "columns",
    "search_workers",
)
#: Copied only where they are not as by default.
_WHERE_SET = ("budget_trials", "kinds", "leakage", "columns", "search_workers", "keep_extract", "promotion")
#: Of the newest versions of a model so many have a copy beside the object store, where the policy does not say.
KEEP_COPIES = 10
#: Keys that are objects of their own.
_PARTS = ("gate", "columns", "monitoring")


@dataclass(frozen=True)
class Policy:
    """A whole policy.

    Any of the triggers asks for a training; without one a model trains by hand only. ``min_interval``, an open request
    and fresh failures hold triggers back.

    Attributes:
        min_new_rows: trigger: rows that no request has used.
        min_new_labels: trigger: predictions of this model that were labelled since the last request that counts.
        min_fraction_new: trigger: new rows as a fraction of the rows of the last trained snapshot.
        max_age: trigger: seconds since the last training that came to an end was asked for, if there are new rows.
        cron: trigger: five fields, in UTC.
        on_drift, on_quality_drop: triggers: open alarms of these detectors.
        min_interval: seconds for which nothing fires after the last request that the policy made.
        priority: of the requests that the policy makes; the higher is taken first.
        instance_types: where these may run, best first; empty: as the environment's setting says.
        spot: whether spot capacity may serve them; None: as the environment's setting says.
        budget_trials: the search ends after so many trials, whatever time they take: then it can be repeated; None: it
            ends with ``budget_seconds``.
        search_workers: workers that one search may have, the one that leads it included, where idle ones are to be had;
            a search that can be repeated has one in any case.
        keep_extract: keep the rows of each version as Parquet in the object store.
        keep_copies: how many of the newest versions have a copy beside the object store; those that an alias leads to
            or that wait for a person have one in any case.
        leakage: what becomes of columns that seem to give the label away: ``leave_out``, or ``keep`` (and report).
        columns: what is learnt from in any case, or in no case.
        promotion: whether versions that pass the gate become champion by themselves ('auto'), wait for a person
            ('approve'), or wait only where the gate's report says borderline ('approve_if_borderline').
        own_function: a deployment is to give the model a predictor of its own, which serves no other model.
    """

    min_new_rows: int | None = 1000
    min_new_labels: int | None = None
    min_fraction_new: float | None = None
    max_age: float | None = None
    min_interval: float = 0.0
    cron: str | None = None
    on_drift: bool = False
    on_quality_drop: bool = False
    priority: int = 0
    instance_types: tuple[str, ...] = ()
    spot: bool | None = None
    budget_seconds: float = 60.0
    budget_trials: int | None = None
    kinds: tuple[str, ...] = KINDS
    metric: str = "auto"
    seed: int = 0
    search_workers: int = 1
    keep_extract: bool = False
    keep_copies: int = KEEP_COPIES
    leakage: str = LEAKAGE[0]
    columns: ColumnPolicy = field(default_factory=ColumnPolicy)
    promotion: str = "auto"
    own_function: bool = False
    gate: GatePolicy = field(default_factory=GatePolicy)
    monitoring: MonitoringPolicy = field(default_factory=MonitoringPolicy)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any], *, over: Policy | None = None) -> Policy:
        """Return the policy that ``raw`` describes; keys it lacks come from ``over``, else from the defaults.

        Raises:
            ServiceError: ``invalid_model``; the details list every problem.
        """
        base = over or cls()
        problems = policy_problems(raw)
        if problems:
            raise invalid(problems)
        values = {name: _READ.get(name, _as_it_is)(value) for name, value in raw.items() if name not in _PARTS}
        gate = base.gate.changed(raw.get("gate", {}))
        columns = base.columns.changed(raw.get("columns", {}))
        monitoring = base.monitoring.changed(raw.get("monitoring", {}))
        return replace(base, **values, gate=gate, columns=columns, monitoring=monitoring)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form of docs/api.md, with every key."""
        lists = {"kinds": list(self.kinds), "instance_types": list(self.instance_types)}
        return {**asdict(self), **lists, "columns": self.columns.to_dict()}

    def settings(self) -> dict[str, Any]:
        """Return what a training request copies: the keys in :data:`RUN_KEYS`.

        Those in :data:`_WHERE_SET` only where they are set: a trainer of the release before them refuses keys that it
        does not know.
        """
        whole, unset = self.to_dict(), Policy().to_dict()
        settings = {name: whole[name] for name in RUN_KEYS if name not in _WHERE_SET} | {"gate": self.gate.settings()}
        return settings | {name: whole[name] for name in _WHERE_SET if whole[name] != unset[name]}

    @property
    def helpers(self) -> int:
        """How many workers may help the one that leads a search."""
        return 0 if self.budget_trials is not None else self.search_workers - 1

    def waits(self, *, passed: bool, borderline: bool) -> bool:
        """Tell whether a version with this verdict waits for a person."""
        if self.promotion == "approve_if_borderline":
            return borderline
        return self.promotion == "approve" and passed


def _as_it_is(value: Any) -> Any:
    return value


#: How a valid value is kept, where not as it came.
_READ: Mapping[str, Any] = {
    "kinds": tuple,
    "instance_types": tuple,
    "budget_seconds": float,
    "max_age": seconds_of,
    "min_interval": seconds_of,
    "min_fraction_new": lambda value: None if value is None else float(value),
}
