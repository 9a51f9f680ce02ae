"""``make api``: services, as they run, against their own ``/openapi.json``, by Schemathesis.

``python -m tests.api.run [SERVICE ...]``. Every check is on: statuses, headers, content types and schemas of the
answers, wrong data refused and right data taken, wrong methods, missing keys, sequences of requests. ``--full`` asks
each service for ten times as many requests and writes ``docs/evidence/api.md``, service by service. Exit code 1: an
answer did not conform, or there were fewer requests than asked for.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.api import ingest, predictor, scheduler
from tests.api.service import SEED, phases
from tests.chaos.report import commit, machine

if TYPE_CHECKING:
    from tests.api.service import Subject

EVIDENCE = Path(__file__).parents[2] / "docs" / "evidence" / "api.md"
SUBJECTS = {subject.name: subject for subject in (ingest.SUBJECT, predictor.SUBJECT, scheduler.SUBJECT)}
#: Requests that there must be at least.
CI, FULL = 2_000, 20_000
_TITLE = "# Services against their own OpenAPI documents\n"


def section(subject: Subject, ran: list[dict[str, Any]], examples: int) -> str:
    """Return one service's part of the page for docs/evidence."""
    rows = [
        f"| {one['key']} | {one['requests']:,} | {'none' if one['conforms'] else 'SOME'} |"
        f" {', '.join(f'{count:,} x {status}' for status, count in one['answers'].items())} |"
        for one in ran
    ]
    head = [
        f"## {subject.name}",
        "",
        f"Schemathesis {version('schemathesis')}, `python -m tests.api.run {subject.name} --full`, seed {SEED},",
        f"commit `{commit()}`, {examples} examples for each operation and phase, on {machine()}.",
        "",
        "| asked with | requests | nonconforming answers | answers by status |",
        "|---|---:|---|---|",
    ]
    return "\n".join([*head, *rows, ""])


def keep(page: Path, part: str) -> None:
    """Write one service's part into the page, in place of what it said of that service before."""
    text = page.read_text() if page.exists() else _TITLE
    head, *parts = text.split("\n## ")
    found = {old.partition("\n")[0]: old for old in parts}
    new = part.removeprefix("## ")
    found[new.partition("\n")[0]] = new
    page.write_text("\n## ".join([head, *(found[name] for name in sorted(found))]))


def examine(subject: Subject, *, full: bool, words: list[str]) -> bool:
    """Run one service and ask it; return whether every answer conformed."""
    wanted, examples = (FULL, subject.examples[1]) if full else (CI, subject.examples[0])
    with tempfile.TemporaryDirectory() as name:
        with subject.running(Path(name)) as found:
            ran = phases(Path(name), subject, found, examples, words)
        log = (Path(name) / "log").read_text(errors="replace")
    part = section(subject, ran, examples)
    print("\n".join([*(line for line in log.splitlines() if "http.fault" in line), part]))
    if full:
        keep(EVIDENCE, part)
    faults = sum(count for one in ran for status, count in one["answers"].items() if int(status) >= 500)
    return all(one["conforms"] for one in ran) and not faults and ran[0]["requests"] >= wanted


def main() -> int:
    """Examine the services that are named, else all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("services", nargs="*", choices=[*SUBJECTS, []], help="all, if none is named")
    parser.add_argument("--full", action="store_true", help="20,000 requests each, and write docs/evidence/api.md")
    parser.add_argument("--more", default="", help="more words for schemathesis, to look at one thing")
    options = parser.parse_args()
    names = options.services or list(SUBJECTS)
    good = [examine(SUBJECTS[name], full=options.full, words=options.more.split()) for name in names]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
