"""How often the gate promotes: models that are no better, and models that are, at the policy's defaults.

``python tests/gate/simulate.py --full`` writes docs/evidence/gate.md; without it the numbers of `make test` are shown.

A simulated world has 10 numbers and a category; the label's logit is linear in the numbers. *A/A*: two models of the
same kind, each fitted on rows of its own, judged on the same new rows. *Gain*: the champion does not see one of the
columns, which is worth 0.02 of AUC to the challenger; its weight was found by bisection on many rows.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightgbm
import numpy as np
import numpy.typing as npt

from trainyard import metrics
from trainyard.gate import cuts_of, judge
from trainyard.policy import GatePolicy
from trainyard.schema import Column

if TYPE_CHECKING:
    from trainyard.gate import FloatArray

ROOT = Path(__file__).parents[2]
SEED = 20260301
METRICS = ("roc_auc", "log_loss")
GAIN, GAIN_ROWS = 0.02, 5_000
MOST_AA, LEAST_GAINS = 0.05, 0.8
#: A/A retrains of each kind and gains, in `make gate-evidence` and in `make test`.
FULL, CI = (1_000, 200), (60, 25)
_FIT_ROWS = 4_000  # a fifth of all rows are tested on: 1,000, as the hold-out by hash makes it
_NUMBERS = 10
_WEIGHTS = np.array([0.9, -0.7, 0.5, 0.4, -0.3, 0.3, 0.2, -0.2, 0.1, 0.1])
_COLUMNS = [Column(f"x{n}", "float") for n in range(_NUMBERS)] + [Column("shop", "category")]


@dataclass(frozen=True, eq=False)
class Rows:
    """Simulated rows: numbers (rows, 11, the last is the one that a champion may lack), shops, labels."""

    numbers: FloatArray
    shops: npt.NDArray[Any]
    labels: npt.NDArray[np.int64]


@dataclass
class Tally:
    """What became of the simulations of one kind: promoted by metric, and which checks the others failed."""

    what: str
    test_rows: int
    done: int = 0
    promoted: Counter[str] = field(default_factory=Counter)
    failed: Counter[tuple[str, str]] = field(default_factory=Counter)
    gains: list[float] = field(default_factory=list)

    def share(self, metric: str) -> float:
        """Return the share that was promoted."""
        return self.promoted[metric] / self.done


def rows(count: int, weight: float, rng: np.random.Generator) -> Rows:
    """Draw rows; ``weight`` is that of the last number."""
    numbers = rng.normal(size=(count, _NUMBERS + 1))
    logits = numbers @ np.append(_WEIGHTS, weight) - 0.8
    labels = (rng.random(count) < 1 / (1 + np.exp(-logits))).astype(np.int64)
    return Rows(numbers, rng.choice(np.array(list("abcdefgh"), dtype=object), count), labels)


def logistic(numbers: FloatArray, labels: npt.NDArray[np.int64], asked: FloatArray) -> FloatArray:
    """Fit a logistic regression by Newton's method; return the probabilities of the asked rows."""

    def wide(given: FloatArray) -> FloatArray:
        return np.column_stack([given, np.ones(len(given))])

    x, weights = wide(numbers), np.zeros(numbers.shape[1] + 1)
    for _ in range(8):
        p = 1 / (1 + np.exp(-x @ weights))
        curvature = (x * (p * (1 - p))[:, None]).T @ x + 1e-3 * np.eye(x.shape[1])
        weights += np.linalg.solve(curvature, x.T @ (labels - p) - 1e-3 * weights)
    return np.asarray(1 / (1 + np.exp(-wide(asked) @ weights)))


def boosted(numbers: FloatArray, labels: npt.NDArray[np.int64], asked: FloatArray) -> FloatArray:
    """Fit 40 boosted trees; return the probabilities of the asked rows."""
    params = {"objective": "binary", "num_leaves": 7, "learning_rate": 0.1, "num_threads": 1, "verbose": -1}
    return np.asarray(lightgbm.train(params, lightgbm.Dataset(numbers, labels), 40).predict(asked, num_threads=1))


KINDS = {"linear": logistic, "trees": boosted}


def weight_of(gain: float) -> float:
    """Return the last number's weight that is worth so much AUC to a linear model that sees it."""
    low, high = 0.0, 2.0
    for _ in range(12):
        middle = (low + high) / 2
        many = rows(200_000, middle, np.random.default_rng(SEED))
        with_it = many.numbers @ np.append(_WEIGHTS, middle)
        without = many.numbers[:, :_NUMBERS] @ _WEIGHTS
        found = metrics.roc_auc(many.labels, with_it) - metrics.roc_auc(many.labels, without)
        low, high = (middle, high) if found < gain else (low, middle)
    return (low + high) / 2


def simulate(tally: Tally, kind: str, weight: float, count: int, fit_rows: int) -> Tally:
    """Judge ``count`` pairs; with a ``weight`` the champion does not see the last number, else nobody does."""
    fit = KINDS[kind]
    for number in range(count):
        rng = np.random.default_rng([SEED, number, int(weight > 0)])
        ours, theirs, test = (rows(n, weight, rng) for n in (fit_rows, fit_rows, tally.test_rows))
        seen = _NUMBERS + (weight > 0)
        one = fit(ours.numbers[:, :seen], ours.labels, test.numbers[:, :seen])
        other = fit(theirs.numbers[:, :_NUMBERS], theirs.labels, test.numbers[:, :_NUMBERS])
        share = ours.labels.mean()
        values = {f"x{n}": test.numbers[:, n] for n in range(_NUMBERS)} | {"shop": test.shops}
        cuts = cuts_of(_COLUMNS, values)
        tally.gains.append(metrics.roc_auc(test.labels, one) - metrics.roc_auc(test.labels, other))
        tally.done += 1
        for metric in METRICS:
            report = judge(
                "binary",
                test.labels,
                challenger=np.column_stack([1 - one, one]),
                champion=np.column_stack([1 - other, other]),
                prior=np.tile([1 - share, share], (tally.test_rows, 1)),
                settings=GatePolicy(),
                metric=metric,
                seed=number,
                cuts=cuts,
            )
            tally.promoted[metric] += report.passed
            tally.failed.update((metric, each.name) for each in report.checks if not each.passed)
    return tally


def jobs(aa: int, gains: int) -> list[tuple[Tally, str, float, int, int]]:
    """Return what to simulate: so many A/A retrains of each kind, and so many gains."""
    plan = []
    for kind in KINDS:
        words = f"A/A retrain, {kind}, fitted on {_FIT_ROWS:,} rows"
        plan.append((Tally(words, 1_000), kind, 0.0, aa, _FIT_ROWS))
    words = f"true gain of {GAIN} AUC, linear, fitted on {4 * GAIN_ROWS:,} rows"
    plan.append((Tally(words, GAIN_ROWS), "linear", weight_of(GAIN), gains, 4 * GAIN_ROWS))
    return plan


def bounds(successes: int, of: int) -> tuple[float, float]:
    """Return Wilson's interval of a share at 95 %."""
    z, share = 1.96, successes / of
    middle, half = share + z * z / (2 * of), z * np.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return float((middle - half) / (1 + z * z / of)), float((middle + half) / (1 + z * z / of))


def table(found: list[Tally]) -> list[str]:
    """Return the tallies as a Markdown table."""
    lines = [
        "| simulated | test rows | metric | simulations | promoted | 95 % interval | failed checks | mean AUC gain |",
        "|---|---:|---|---:|---:|---|---|---:|",
    ]
    for tally in found:
        for metric in METRICS:
            low, high = bounds(tally.promoted[metric], tally.done)
            failed = ", ".join(f"{n:,} x {name}" for (of, name), n in tally.failed.most_common() if of == metric)
            lines.append(
                f"| {tally.what} | {tally.test_rows:,} | {metric} | {tally.done:,} | {tally.share(metric):.1%} |"
                f" {low:.1%} to {high:.1%} | {failed or 'none'} | {np.mean(tally.gains):.4f} |"
            )
    return lines


def wrong(found: list[Tally], *, surely: bool) -> list[str]:
    """Return what does not hold: at most 5 % of A/A retrains, at least 80 % of true gains, by either metric.

    ``surely``: few simulations do not hold it only when their whole interval does not.
    """
    problems = []
    for tally in found:
        for metric in METRICS:
            low, high = bounds(tally.promoted[metric], tally.done) if surely else (tally.share(metric),) * 2
            if low > MOST_AA if tally.what.startswith("A/A") else high < LEAST_GAINS:
                problems.append(f"{tally.what}: {tally.share(metric):.1%} promoted by {metric}")
    return problems


def commit() -> str:
    """Return the commit of the sources, with ``+`` behind it when they have been changed since; or "unknown"."""
    git = shutil.which("git")
    if git is None:
        return "unknown"

    def asked(*words: str) -> str:
        return subprocess.run([git, *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    changed = asked("status", "--porcelain", "--", ".", ":(exclude)docs/evidence")
    return (asked("rev-parse", "--short", "HEAD") or "unknown") + "+" * bool(changed)


def main() -> int:
    """Simulate; print and, in full size, keep what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--full", action="store_true", help="1,000 A/A retrains of each kind, into docs/evidence/gate.md"
    )
    full = parser.parse_args().full
    sources = commit()
    with ProcessPoolExecutor() as pool:
        found = list(pool.map(simulate, *zip(*jobs(*(FULL if full else CI)), strict=True)))
    machine = (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}"
    )
    lines = [
        "# What the gate promotes",
        "",
        f"`make gate-evidence`, seed {SEED}, commit `{sources}`, on {machine}.",
        "Policy: the defaults of `gate`, every check made, 10 numbers and a category as parts.",
        "",
        *table(found),
        "",
        "It must hold: of A/A retrains at most 5 % are promoted, of true gains at least 80 %.",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    if full:
        (ROOT / "docs/evidence/gate.md").write_text("\n".join(lines) + "\n")
    problems = wrong(found, surely=not full)
    sys.stdout.writelines(f"WRONG: {problem}\n" for problem in problems)
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
