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
from trainyard.monitoring_policy import MonitoringPolicy
from trainyard.schema import Column
from trainyard_scheduler.domain.monitoring import judge_drift

WINDOWS = 200
FITTED = (500, 5_000, 50_000)
ROWS = (200, 1_000)
TYPES = {
    "normal": "float",
    "heavy": "float",
    "lognormal": "float",
    "cauchy": "float",
    "zeros": "int",
    "weekday": "int",
    "rare": "int",
    "carrier": "category",
    "origin": "category",
    "flag": "bool",
}
FEATURES = [Column(name, type_, "feature", nullable=True) for name, type_ in TYPES.items()]
SHIFTED = ("normal", "heavy", "lognormal", "zeros", "weekday")
POLICY = MonitoringPolicy()
Columns = dict[str, Any]


def sample(rng: np.random.Generator, rows: int) -> Columns:
    """Return rows as they occur."""
    shares = 1 / np.arange(1, 301) ** 1.2
    return {
        "normal": np.where(rng.random(rows) < 0.05, np.nan, rng.normal(size=rows)),
        "heavy": rng.standard_t(2.5, size=rows),
        "lognormal": rng.lognormal(0, 1.5, size=rows),
        "cauchy": rng.standard_cauchy(size=rows),
        "zeros": np.where(rng.random(rows) < 0.8, 0.0, rng.poisson(5, rows)),
        "weekday": rng.integers(1, 8, rows).astype(float),
        "rare": (rng.random(rows) < 0.01).astype(float),
        "carrier": np.array(["AA", "UA"], object)[(rng.random(rows) < 0.3).astype(int)],
        "origin": np.array([f"a{i}" for i in rng.choice(300, rows, p=shares / shares.sum())], object),
        "flag": (rng.random(rows) < 0.5).astype(float),
    }


def logged(columns: Columns) -> list[dict[str, Any]]:
    """Return the columns as the prediction log holds them."""
    cells = {
        name: values.astype(bool).tolist() if TYPES[name] == "bool" else values.tolist()
        for name, values in columns.items()
    }
    return [dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True)]


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
