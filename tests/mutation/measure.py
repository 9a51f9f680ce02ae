"""How strong the unit tests of the worker and the scheduler are: mutation score and branch coverage.

    python tests/mutation/measure.py [trainer|scheduler ...] [--write DIRECTORY]

For each service its source is copied to ``.state/mutation/<service>`` with the unit tests; there mutmut changes
``domain`` and ``use_cases``, one small change at a time, and counts the changes that no test notices. The exit code
is 1 when fewer than 85 % were noticed or when a branch is not covered. With ``--write`` the figures, a table of the
modules and the list of survivors go to ``DIRECTORY/mutation.md``.

A run that was interrupted goes on where it stopped, and one that had ended is read again, as long as nothing that
decides the results has changed (:func:`origin`); ``--anew`` forgets all of it.

Tests that take long (:data:`SLOW`: property tests and storms) count for the coverage; for the changes they are left
out, so that each of several thousand costs a fraction of a second.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
STAGE = ROOT / ".state" / "mutation"
SERVICES = ("trainer", "scheduler")
#: The unit tests of a service that are about its domain and use cases, where they are not all: every change is tried on
#: each test that reaches it, so those that train real models or start processes would take hours and notice nothing.
TESTS = {"trainer": ("test_domain.py", "test_ends.py", "test_loop.py", "test_tickets.py", "test_worker.py")}
LEAST_SCORE = 0.85
#: Service -> tests under ``tests/unit/<service>`` that are not run for every change.
SLOW = {
    "scheduler": (
        "test_fleet_machine.py",
        "test_monitor.py::test_labels_in_any_order",
        "test_monitor.py::test_many_windows_at_once",
        "test_monitor.py::test_a_flood_of_feedback_stays_within_the_budget",
        "test_quality_judged.py::test_a_rare_class_raises_no_alarm_by_chance",
        "test_policies.py::test_no_trigger_makes_a_hot_loop",
        "test_policies.py::test_a_storm_is_one_evaluation",
        "test_policies.py::test_no_storm_is_read_for_ever",
        "test_edges.py",
    ),
}
#: What mutmut calls a change that was noticed: a failing test, or a test that did not end.
NOTICED = ("killed", "timeout", "suspicious", "segfault")
BIN = Path(sys.executable).parent
#: What the stage was made from; written last.
_ORIGIN = "origin"


@dataclass(frozen=True)
class Strength:
    """The figures of one service; ``results`` is mutmut's outcome for each of its names of changes."""

    service: str
    results: dict[str, str]
    branches: int
    missed_branches: int
    missed_lines: int

    @property
    def survivors(self) -> list[str]:
        """The changes that went unnoticed, by name."""
        return sorted(name for name, outcome in self.results.items() if outcome not in NOTICED)

    @property
    def noticed(self) -> int:
        """How many of the changes were noticed."""
        return len(self.results) - len(self.survivors)

    @property
    def score(self) -> float:
        """Share of the changes that were noticed."""
        return self.noticed / len(self.results) if self.results else 0.0

    @property
    def modules(self) -> list[tuple[str, int, int]]:
        """Module, its changes and how many of them were noticed; the weakest first."""
        changes, missed = (Counter(map(module, names)) for names in (self.results, self.survivors))
        table = [(name, count, count - missed[name]) for name, count in changes.items()]
        return sorted(table, key=lambda row: (row[2] / row[1], row[0]))

    @property
    def enough(self) -> bool:
        """Whether both limits are kept."""
        return self.score >= LEAST_SCORE and self.missed_branches == 0 and self.missed_lines == 0


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("services", nargs="*", choices=[*SERVICES, []], help="default: all")
    parser.add_argument("--write", type=Path, metavar="DIRECTORY", help="where mutation.md goes")
    parser.add_argument("--coverage-only", action="store_true", help="leave the mutants out")
    parser.add_argument("--anew", action="store_true", help="forget the results of earlier runs")
    chosen = parser.parse_args()
    if chosen.anew:
        for service in chosen.services or SERVICES:
            shutil.rmtree(STAGE / service, ignore_errors=True)
    found = [measure(service, mutants=not chosen.coverage_only) for service in chosen.services or SERVICES]
    for strength in found:
        sys.stdout.write(in_words(strength))
    if chosen.write:
        chosen.write.mkdir(parents=True, exist_ok=True)
        (chosen.write / "mutation.md").write_text(page(found), encoding="utf-8")
    if chosen.coverage_only:
        return int(any(s.missed_branches or s.missed_lines for s in found))
    return 0 if all(strength.enough for strength in found) else 1


def measure(service: str, *, mutants: bool = True) -> Strength:
    """Return the figures of one service."""
    stage = staged(service)
    totals = coverage(service, stage)
    return Strength(
        service,
        results=mutate(stage) if mutants else {},
        branches=totals["num_branches"],
        missed_branches=totals["missing_branches"],
        missed_lines=totals["missing_lines"],
    )


def staged(service: str) -> Path:
    """Copy the service and its unit tests to a directory of the shape that mutmut knows.

    One that was made from the same is kept, with the results that mutmut has stored there.
    """
    stage = STAGE / service
    settings, made_from = configured(service), origin(service)
    if (stage / _ORIGIN).is_file() and (stage / _ORIGIN).read_text(encoding="utf-8") == made_from:
        return stage
    shutil.rmtree(stage, ignore_errors=True)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "services" / service / "src", stage / "src", ignore=ignored)
    shutil.copytree(ROOT / "tests" / "unit" / service, stage / "tests" / "unit" / service, ignore=ignored)
    shutil.copy(ROOT / "tests" / "conftest.py", stage / "tests" / "conftest.py")
    (stage / "pyproject.toml").write_text(settings, encoding="utf-8")
    (stage / _ORIGIN).write_text(made_from, encoding="utf-8")
    return stage


def configured(service: str) -> str:
    """Return the settings of pytest and mutmut for a stage: ours, without the slow tests."""
    whole = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
    package = f"src/trainyard_{service}"
    left_out = [f"--deselect=tests/unit/{service}/{test}" for test in SLOW.get(service, ())]
    lines = (
        "[tool.pytest.ini_options]",
        *(f"{key} = {json.dumps(value)}" for key, value in whole.items() if key != "testpaths"),
        "[tool.mutmut]",
        'source_paths = ["src"]',
        f'only_mutate = ["{package}/domain*", "{package}/use_cases*"]',
        f"pytest_add_cli_args_test_selection = {json.dumps(selected(service))}",
        f"pytest_add_cli_args = {json.dumps(left_out)}",
        "",
    )
    return "\n".join(lines)


def origin(service: str) -> str:
    """Return a digest of all that decides the results: source, tests, shared library, tools and settings."""
    digest = hashlib.sha256(f"{sys.version}\n{configured(service)}".encode())
    for path in _ingredients(service):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(ROOT)} {content}\n".encode())
    return digest.hexdigest()


def _ingredients(service: str) -> Iterator[Path]:
    for folder in (f"services/{service}/src", f"tests/unit/{service}", "libs", "requirements"):
        files = (path for path in (ROOT / folder).rglob("*") if path.is_file() and path.suffix != ".pyc")
        yield from sorted(files)
    yield ROOT / "tests" / "conftest.py"


def selected(service: str) -> list[str]:
    """Return the paths of the tests that count."""
    room = f"tests/unit/{service}"
    return [f"{room}/{name}" for name in TESTS.get(service, ())] or [room]


def coverage(service: str, stage: Path) -> dict[str, int]:
    """Run the unit tests once with branch coverage; return coverage's totals for domain and use cases."""
    package = f"trainyard_{service}"
    (stage / ".coveragerc").write_text(
        "[run]\nbranch = true\n[report]\nexclude_also =\n    if TYPE_CHECKING:\n    @abstractmethod\n", encoding="utf-8"
    )
    sources = [f"--cov={package}.{room}" for room in ("domain", "use_cases")]
    reports = ("json:coverage.json", "term-missing:skip-covered")
    command = [str(BIN / "python"), "-m", "pytest", *selected(service), "-p", "no:cacheprovider", "--cov-branch"]
    command += ["--cov-config=.coveragerc", *sources, *(f"--cov-report={report}" for report in reports)]
    subprocess.run(command, cwd=stage, check=True)
    totals: dict[str, int] = json.loads((stage / "coverage.json").read_text(encoding="utf-8"))["totals"]
    return totals


def mutate(stage: Path) -> dict[str, str]:
    """Let mutmut try every change that has no result yet; return its outcome for each."""
    mend(stage)
    with (stage / "mutmut.log").open("w") as log:
        subprocess.run([str(BIN / "mutmut"), "run"], cwd=stage, check=True, stdout=log)
    told = subprocess.run(
        [str(BIN / "mutmut"), "results", "--all", "true"], cwd=stage, check=True, capture_output=True, text=True
    ).stdout
    lines = (line.strip().rpartition(": ") for line in told.splitlines() if ": " in line)
    return {name: outcome for name, _, outcome in lines}


def mend(stage: Path) -> None:
    """Remove what an interrupted run left half made; mutmut would take the file for one without changes."""
    for changed in (stage / "mutants" / "src").rglob("*.py"):
        results = changed.with_name(f"{changed.name}.meta")
        try:
            json.loads(results.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            changed.unlink()
            results.unlink(missing_ok=True)


def module(change: str) -> str:
    """Return ``use_cases.relay`` for ``trainyard_scheduler.use_cases.relay.x_send__mutmut_1``."""
    return change.rpartition(".")[0].partition(".")[2]


def in_words(found: Strength) -> str:
    """Return the figures for people."""
    return (
        f"{found.service}: {found.noticed} of {len(found.results)} changes noticed ({found.score:.1%}, at least"
        f" {LEAST_SCORE:.0%}); {found.missed_branches} of {found.branches} branches and {found.missed_lines} lines not"
        " covered\n"
    )


def page(found: list[Strength]) -> str:
    """Return ``mutation.md``."""
    git = shutil.which("git") or "git"
    commit = subprocess.run(
        [git, "rev-parse", "--short", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()
    what = "small changes to the code, one at a time, and how many of them the unit tests notice"
    lines = ["# Mutation score and branch coverage", "", f"`make mutation WRITE=1` at commit {commit}: {what}.", ""]
    for strength in found:
        lines += [f"## {strength.service}", "", in_words(strength).strip() + ".", ""]
        lines += ["| Module | Changes | Noticed | Score |", "|---|---|---|---|"]
        lines += [f"| {name} | {all_} | {noticed} | {noticed / all_:.1%} |" for name, all_, noticed in strength.modules]
        lines += ["", "Survivors:", ""]
        lines += [f"- `{name}`" for name in strength.survivors] or ["- none"]
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
