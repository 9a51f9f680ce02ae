"""How strong the unit tests of the worker and the scheduler are: mutation score and branch coverage.

    python tests/mutation/measure.py [trainer|scheduler ...] [--write DIRECTORY]

For each service its source is copied to ``.state/mutation/<service>`` with the unit tests; there mutmut changes
``domain`` and ``use_cases``, one small change at a time, and counts the changes that no test notices. The exit code
is 1 when fewer than 85 % were noticed or when a branch is not covered. With ``--write`` the figures and the list of
survivors go to ``DIRECTORY/mutation.md``.

Tests that take long (:data:`SLOW`: property tests and storms) count for the coverage; for the changes they are left
out, so that each of several thousand costs a fraction of a second.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

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
        "test_requests.py::test_relay_all_sends_more_than_a_batch",
        "test_edges.py",
    ),
}
#: What mutmut calls a change that was noticed: a failing test, or a test that did not end.
NOTICED = ("killed", "timeout", "suspicious", "segfault")
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Strength:
    """The figures of one service; ``survivors`` are mutmut's names of changes that went unnoticed."""

    service: str
    mutants: int
    noticed: int
    survivors: tuple[str, ...]
    branches: int
    missed_branches: int
    missed_lines: int

    @property
    def score(self) -> float:
        """Share of the changes that were noticed."""
        return self.noticed / self.mutants if self.mutants else 0.0

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
    chosen = parser.parse_args()
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
    results = mutate(stage) if mutants else {}
    survivors = tuple(sorted(name for name, outcome in results.items() if outcome not in NOTICED))
    return Strength(
        service,
        mutants=len(results),
        noticed=len(results) - len(survivors),
        survivors=survivors,
        branches=totals["num_branches"],
        missed_branches=totals["missing_branches"],
        missed_lines=totals["missing_lines"],
    )


def staged(service: str) -> Path:
    """Copy the service and its unit tests to a directory of the shape that mutmut knows."""
    stage = STAGE / service
    shutil.rmtree(stage, ignore_errors=True)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "services" / service / "src", stage / "src", ignore=ignored)
    shutil.copytree(ROOT / "tests" / "unit" / service, stage / "tests" / "unit" / service, ignore=ignored)
    shutil.copy(ROOT / "tests" / "conftest.py", stage / "tests" / "conftest.py")
    whole = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
    package = f"src/trainyard_{service}"
    left_out = [f"--deselect=tests/unit/{service}/{test}" for test in SLOW.get(service, ())]
    (stage / "pyproject.toml").write_text(
        "\n".join(
            (
                "[tool.pytest.ini_options]",
                *(f"{key} = {json.dumps(value)}" for key, value in whole.items() if key != "testpaths"),
                "[tool.mutmut]",
                'source_paths = ["src"]',
                f'only_mutate = ["{package}/domain*", "{package}/use_cases*"]',
                f"pytest_add_cli_args_test_selection = {json.dumps(selected(service))}",
                f"pytest_add_cli_args = {json.dumps(left_out)}",
                "",
            )
        ),
        encoding="utf-8",
    )
    return stage


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
    """Run mutmut; return its outcome for each change."""
    with (stage / "mutmut.log").open("w") as log:
        subprocess.run([str(BIN / "mutmut"), "run"], cwd=stage, check=True, stdout=log)
    told = subprocess.run(
        [str(BIN / "mutmut"), "results", "--all", "true"], cwd=stage, check=True, capture_output=True, text=True
    ).stdout
    lines = (line.strip().rpartition(": ") for line in told.splitlines() if ": " in line)
    return {name: outcome for name, _, outcome in lines}


def in_words(found: Strength) -> str:
    """Return the figures for people."""
    return (
        f"{found.service}: {found.noticed} of {found.mutants} changes noticed ({found.score:.1%}, at least"
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
        lines += [f"## {strength.service}", "", in_words(strength).strip() + ".", "", "Survivors:", ""]
        lines += [f"- `{name}`" for name in strength.survivors] or ["- none"]
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
