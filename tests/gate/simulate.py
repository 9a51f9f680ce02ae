"""How often the gate promotes: models that are no better, and models that are, at the policy's defaults.

``python tests/gate/simulate.py`` writes docs/evidence/gate.md; what is done is kept, so that one that was interrupted
goes on. `make test` runs the same in small.

A simulated world has 10 numbers and a category; the label's logit (or the label, for values) is linear in the numbers.
*A/A*: two models of the same kind, each fitted on rows of its own, judged on the same new rows. *Gain*: the champion
does not see one of the columns, which is worth so much AUC to the challenger; its weight was found by bisection on many
rows. Each model decides at a threshold of its own, tuned as the trainer tunes it on further rows.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import numpy.typing as npt

from trainyard import metrics
from trainyard.gate import judge
from trainyard.metrics.answers import Answers
from trainyard.metrics.slicing import cuts_of
from trainyard.policy import GatePolicy
from trainyard_trainer.learning.thresholds import threshold_for

ROOT = Path(__file__).parents[2]
#: What decides the figures: finished simulations of other sources are not gone on from.
SOURCES = ("tests/gate/simulate.py", "libs/common/src/trainyard/gate", "libs/common/src/trainyard/metrics")
SEED = 20260301
#: By these a true gain in AUC has to be found; decisions at one threshold see less of it.
RANKED = ("roc_auc", "log_loss")
CLASSES = (*RANKED, "accuracy", "f1", "balanced_accuracy")
GAIN_ROWS = 5_000
MOST_AA, LEAST_GAINS = 0.05, 0.8
#: A/A retrains of each kind and gains, in `make gate-evidence` and in `make test`.
FULL, CI = (1_000, 200), (25, 10)
_BATCH = 50
_FIT_ROWS = 4_000  # a fifth of all rows are tested on: 1,000, as the hold-out by hash makes it
_NUMBERS = 10
_WEIGHTS = np.array([0.9, -0.7, 0.5, 0.4, -0.3, 0.3, 0.2, -0.2, 0.1, 0.1])
_KINDS = {f"x{n}": "float" for n in range(_NUMBERS)} | {"shop": "category"}

FloatArray = npt.NDArray[np.float64]
Fit = Callable[[FloatArray, npt.NDArray[Any], FloatArray], FloatArray]


@dataclass(frozen=True, eq=False)
class Rows:
    """Simulated rows: numbers (rows, 11, the last is the one that a champion may lack), shops, labels."""

    numbers: FloatArray
    shops: npt.NDArray[Any]
    labels: npt.NDArray[Any]


@dataclass(frozen=True)
class World:
    """What is simulated.

    Attributes:
        what: in words.
        fit: the kind of the models.
        metrics: that the gate compares by.
        gain: in AUC, of the column that the champion does not see; 0: there is none.
        needed: the share that has to be promoted, at least (gains) or at most (A/A); None: for information.
        test_rows, fit_rows: of each simulation.
        offset: of the logit: how rare the second class is.
        task: binary or regression.
    """

    what: str
    fit: str
    metrics: tuple[str, ...]
    gain: float = 0.0
    needed: float | None = MOST_AA
    test_rows: int = 1_000
    fit_rows: int = _FIT_ROWS
    offset: float = -0.8
    task: str = "binary"


WORLDS = (
    World("A/A retrain, linear", "linear", CLASSES),
    World("A/A retrain, trees", "trees", ("roc_auc", "log_loss", "f1")),
    World("A/A retrain, linear, 6 % positives", "linear", ("roc_auc", "f1", "balanced_accuracy"), offset=-3.5),
    World("A/A retrain of values, linear", "values", ("auto", "mae", "r2"), task="regression"),
    World("gain of 0.02 AUC", "linear", (*RANKED, "f1"), 0.02, LEAST_GAINS, GAIN_ROWS, 4 * GAIN_ROWS),
    World("gain of 0.01 AUC", "linear", RANKED, 0.01, None, GAIN_ROWS, 4 * GAIN_ROWS),
    World("gain of 0.005 AUC", "linear", RANKED, 0.005, None, GAIN_ROWS, 4 * GAIN_ROWS),
)


@dataclass
class Tally:
    """What became of the simulations of one world: promoted by metric, and which checks the others failed."""

    done: int = 0
    promoted: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    gain: float = 0.0

    def add(self, other: Tally) -> None:
        """Take in further simulations."""
        self.done, self.gain = self.done + other.done, self.gain + other.gain
        self.promoted.update(other.promoted)
        self.failed.update(other.failed)

    def share(self, metric: str) -> float:
        """Return the share that was promoted."""
        return self.promoted[metric] / self.done


def rows(world: World, count: int, weight: float, rng: np.random.Generator) -> Rows:
    """Draw rows; ``weight`` is that of the last number."""
    numbers = rng.normal(size=(count, _NUMBERS + 1))
    scores = numbers @ np.append(_WEIGHTS, weight)
    labels: npt.NDArray[Any] = scores + rng.normal(size=count)
    if world.task == "binary":
        labels = (rng.random(count) < 1 / (1 + np.exp(-scores - world.offset))).astype(np.int64)
    return Rows(numbers, rng.choice(np.array(list("abcdefgh"), dtype=object), count), labels)


def _wide(given: FloatArray) -> FloatArray:
    return np.column_stack([given, np.ones(len(given))])


def logistic(numbers: FloatArray, labels: npt.NDArray[Any], asked: FloatArray) -> FloatArray:
    """Fit a logistic regression by Newton's method; return the probabilities of the asked rows."""
    x, weights = _wide(numbers), np.zeros(numbers.shape[1] + 1)
    for _ in range(8):
        p = 1 / (1 + np.exp(-x @ weights))
        curvature = (x * (p * (1 - p))[:, None]).T @ x + 1e-3 * np.eye(x.shape[1])
        weights += np.linalg.solve(curvature, x.T @ (labels - p) - 1e-3 * weights)
    return np.asarray(1 / (1 + np.exp(-_wide(asked) @ weights)))


def boosted(numbers: FloatArray, labels: npt.NDArray[Any], asked: FloatArray) -> FloatArray:
    """Fit 40 boosted trees; return the probabilities of the asked rows."""
    params = {"objective": "binary", "num_leaves": 7, "learning_rate": 0.1, "num_threads": 1, "verbose": -1}
    return np.asarray(lightgbm.train(params, lightgbm.Dataset(numbers, labels), 40).predict(asked, num_threads=1))


def least_squares(numbers: FloatArray, labels: npt.NDArray[Any], asked: FloatArray) -> FloatArray:
    """Fit a linear regression; return the values of the asked rows."""
    return np.asarray(_wide(asked) @ np.linalg.lstsq(_wide(numbers), labels, rcond=None)[0])


FITS: dict[str, Fit] = {"linear": logistic, "trees": boosted, "values": least_squares}


def weight_of(world: World) -> float:
    """Return the last number's weight that is worth so much AUC to a linear model that sees it."""
    low, high = 0.0, 2.0
    for _ in range(12 if world.gain else 0):
        middle = (low + high) / 2
        many = rows(world, 200_000, middle, np.random.default_rng(SEED))
        with_it = many.numbers @ np.append(_WEIGHTS, middle)
        without = many.numbers[:, :_NUMBERS] @ _WEIGHTS
        found = metrics.roc_auc(many.labels, with_it) - metrics.roc_auc(many.labels, without)
        low, high = (middle, high) if found < world.gain else (low, middle)
    return (low + high) / 2 if world.gain else 0.0


@dataclass(frozen=True, eq=False)
class _Model:
    """A fitted model: what it answers to the test rows and to rows of its own that its thresholds are tuned on."""

    world: World
    test: FloatArray
    tuning: FloatArray
    labels: npt.NDArray[Any]

    def told(self, metric: str) -> Answers:
        """Return its answers to the test rows, decided for the metric."""
        if self.world.task == "regression":
            return Answers.of("regression", self.test)
        threshold = threshold_for("binary", metric, self.labels, _both(self.tuning))
        return Answers.of("binary", _both(self.test), threshold)


def _both(p: FloatArray) -> FloatArray:
    return np.column_stack([1 - p, p])


def simulate(world: World, weight: float, numbers: Sequence[int]) -> Tally:
    """Judge one pair for each number; with a gain the champion does not see the last column, else nobody does."""
    tally = Tally()
    for number in numbers:
        rng = np.random.default_rng([SEED, number, int(1000 * world.gain), WORLDS.index(world)])
        test = rows(world, world.test_rows, weight, rng)
        one = _fitted(world, weight, test, _NUMBERS + bool(world.gain), rng)
        other = _fitted(world, weight, test, _NUMBERS, rng)
        if world.task == "binary":
            tally.gain += metrics.roc_auc(test.labels, one.test) - metrics.roc_auc(test.labels, other.test)
        tally.done += 1
        cuts = cuts_of(_KINDS, {f"x{n}": test.numbers[:, n] for n in range(_NUMBERS)} | {"shop": test.shops})
        average = np.full(world.test_rows, one.labels.mean())
        prior = Answers.of(world.task, average if world.task == "regression" else _both(average))
        for metric in world.metrics:
            report = judge(
                world.task,
                test.labels,
                challenger=one.told(metric),
                champion=other.told(metric),
                prior=prior,
                settings=GatePolicy(),
                metric=metric,
                seed=number,
                cuts=cuts,
            )
            tally.promoted[metric] += report.passed
            tally.failed.update(f"{metric} {each.name}" for each in report.checks if not each.passed)
    return tally


def _fitted(world: World, weight: float, test: Rows, seen: int, rng: np.random.Generator) -> _Model:
    """Fit a model on rows of its own, and ask it about the test rows and a quarter as many more."""
    fit, tuning = (rows(world, count, weight, rng) for count in (world.fit_rows, world.fit_rows // 4))
    asked = np.vstack([test.numbers, tuning.numbers])[:, :seen]
    answers = FITS[world.fit](fit.numbers[:, :seen], fit.labels, asked)
    return _Model(world, answers[: world.test_rows], answers[world.test_rows :], tuning.labels)


def batches(world: World, size: tuple[int, int]) -> Iterator[range]:
    """Yield the numbers of a world's simulations, some at a time."""
    count = size[bool(world.gain)]
    yield from (range(begin, min(begin + _BATCH, count)) for begin in range(0, count, _BATCH))


def bounds(successes: int, of: int) -> tuple[float, float]:
    """Return Wilson's interval of a share at 95 %."""
    z, share = 1.96, successes / of
    middle, half = share + z * z / (2 * of), z * np.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return float((middle - half) / (1 + z * z / of)), float((middle + half) / (1 + z * z / of))


def table(found: Sequence[tuple[World, Tally]]) -> list[str]:
    """Return the tallies as a Markdown table."""
    lines = [
        "| simulated | fitted on | test rows | metric | simulations | promoted | 95 % interval | failed checks |",
        "|---|---:|---:|---|---:|---:|---|---|",
    ]
    for world, tally in found:
        for metric in world.metrics:
            low, high = bounds(tally.promoted[metric], tally.done)
            failed = {name.split()[1]: n for name, n in tally.failed.most_common() if name.split()[0] == metric}
            lines.append(
                f"| {world.what} | {world.fit_rows:,} | {world.test_rows:,} | {metric} | {tally.done:,} |"
                f" {tally.share(metric):.1%} | {low:.1%} to {high:.1%} |"
                f" {', '.join(f'{n:,} x {name}' for name, n in failed.items()) or 'none'} |"
            )
    gains = ", ".join(f"{tally.gain / tally.done:.4f} ({world.what})" for world, tally in found if world.gain)
    return [*lines, "", f"Mean gain in AUC on the test rows: {gains}."]


def wrong(found: Sequence[tuple[World, Tally]], *, surely: bool) -> list[str]:
    """Return what does not hold: at most 5 % of A/A retrains, at least 80 % of true gains.

    ``surely``: few simulations do not hold it only when their whole interval does not.
    """
    problems = []
    for world, tally in found:
        if world.needed is None:
            continue
        for metric in world.metrics if not world.gain else RANKED:
            low, high = bounds(tally.promoted[metric], tally.done) if surely else (tally.share(metric),) * 2
            if high < world.needed if world.gain else low > world.needed:
                problems.append(f"{world.what}: {tally.share(metric):.1%} promoted by {metric}")
    return problems


class Kept:
    """Finished batches in a file, each a line of JSON with the sources that it was made by."""

    def __init__(self, path: Path) -> None:
        self._path = path
        files = [file for source in SOURCES for file in sorted((ROOT / source).rglob("*.py")) or [ROOT / source]]
        self._sources = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
        lines = path.read_text().splitlines() if path.exists() else []
        known = [json.loads(line) for line in lines]
        self._done = {(one["what"], one["first"]): one for one in known if one["sources"] == self._sources}

    def __call__(self, world: World, weight: float, numbers: range) -> Tally:
        """Return a batch, simulated now or before."""
        known = self._done.get((world.what, numbers.start))
        if known is not None:
            counts = {name: Counter(known[name]) for name in ("promoted", "failed")}
            return Tally(known["done"], **counts, gain=known["gain"])
        tally = simulate(world, weight, numbers)
        with self._path.open("a") as file:
            about = {"sources": self._sources, "what": world.what, "first": numbers.start}
            counts = {"promoted": dict(tally.promoted), "failed": dict(tally.failed)}
            file.write(json.dumps(about | counts | {"done": tally.done, "gain": tally.gain}) + "\n")
        return tally


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
    """Simulate in full size, in one process; print and keep what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kept", type=Path, default=ROOT / ".state/gate-evidence.jsonl", help="finished batches")
    kept = Kept(parser.parse_args().kept)
    sources = commit()
    found = []
    for world in WORLDS:
        weight, tally = weight_of(world), Tally()
        for numbers in batches(world, FULL):
            tally.add(kept(world, weight, numbers))
        sys.stderr.write(f"{world.what}: {tally.done} done\n")
        found.append((world, tally))
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
        f"It must hold: of A/A retrains at most {MOST_AA:.0%} are promoted, whatever the metric; of true gains of 0.02",
        f"AUC at least {LEAST_GAINS:.0%}, by {' and by '.join(RANKED)}. Smaller gains, and what F1 sees of a gain in",
        "ranking, are for information.",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    (ROOT / "docs/evidence/gate.md").write_text("\n".join(lines) + "\n")
    problems = wrong(found, surely=False)
    sys.stdout.writelines(f"WRONG: {problem}\n" for problem in problems)
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
