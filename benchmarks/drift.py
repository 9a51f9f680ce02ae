"""Drift: alarms without drift, shifts that are found, and what a window costs beside scipy's distance alone.

Ten features with missing values, heavy tails, ties, rare values and many levels. A/A: windows from the distribution
that was learnt, judged by the default policy with its persistence, one after the other; every alarm is a false one.
Shift: one feature moves by its standard deviation; found means an alarm in the very next window.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from scipy.stats import wasserstein_distance

from trainyard.drift import columns_of, compare, profile_of
from trainyard.policy import MonitoringPolicy
from trainyard.testing.samples import FEATURES, TYPES, Columns, logged, sample
from trainyard_scheduler.domain.monitoring import judge_drift

WINDOWS = 200
FITTED = (500, 5_000, 50_000)
ROWS = (200, 1_000)
SHIFTED = ("normal", "heavy", "lognormal", "zeros", "weekday")
POLICY = MonitoringPolicy()


def judge(profile: Columns, columns: Columns, earlier: list[Any]) -> Any:
    """Judge one window."""
    effects = compare(profile, columns_of(profile, logged(columns)))
    return judge_drift(effects, len(columns["normal"]), POLICY, earlier)


def run() -> dict[str, Any]:
    """Print the figures and return them."""
    figures: dict[str, Any] = {"false_alarms": {}, "shifts_found": {}}
    for fitted in FITTED:
        for rows in ROWS:
            rng = np.random.default_rng((fitted, rows))
            learnt = sample(rng, fitted)
            profile = profile_of(FEATURES, learnt)
            alarms = suspects = 0
            earlier: list[Any] = []
            for _ in range(WINDOWS):
                finding = judge(profile, sample(rng, rows), earlier)
                alarms += finding.outcome == "alarm"
                suspects += finding.outcome == "suspect"
                earlier = [finding.report]
            found = 0
            for feature in SHIFTED * 10:
                window = sample(rng, rows)
                window[feature] = window[feature] + np.nanstd(learnt[feature])
                found += judge(profile, window, []).outcome == "alarm"
            name = f"{fitted} fitted, windows of {rows}"
            figures["false_alarms"][name], figures["shifts_found"][name] = alarms, found
            print(
                f"   {name}: {alarms} alarms and {suspects} suspects in {WINDOWS} windows without drift;"
                f" {found} of {10 * len(SHIFTED)} shifts of one standard deviation found in the next window"
            )
    return figures | _speed()


def _speed() -> dict[str, float]:
    rng = np.random.default_rng(1)
    fitted = sample(rng, 50_000)
    profile = profile_of(FEATURES, fitted)
    window = logged(sample(rng, 1_000))
    seconds = _seconds(lambda: compare(profile, columns_of(profile, window)))
    numbers = [name for name, type_ in TYPES.items() if type_ in {"int", "float"} and name != "normal"]
    columns = columns_of(profile, window)
    scipys = _seconds(lambda: [wasserstein_distance(fitted[name], columns[name]) for name in numbers])
    rate = len(window) / seconds
    print(f"   {rate:,.0f} rows/s of {len(TYPES)} features ({seconds * 1e3:.1f} ms a window of 1,000 rows);")
    print(
        f"   scipy's distance of {len(numbers)} of them against the raw fitted rows: {scipys / seconds:.1f} times that"
    )
    return {"rows_per_second": rate, "scipy_ratio": scipys / seconds}


def _seconds(work: Any) -> float:
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return best
