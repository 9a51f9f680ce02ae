"""``make fuzz``: fuzz the decoder of model files for a minute; ``--runs N`` for so many executions, into docs/evidence.

The corpus starts with the golden and hostile files of ``tests/golden`` and grows in ``.state/fuzz``, so that the next
run goes on from what this one has found. Exit code 1: a crash, a hang of more than 10 s, more than 1 GB of memory, or
no executions; the input that did it is named.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from trainyard.model.wire import HEADER_BYTES

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
STATE = ROOT / ".state" / "fuzz"
EVIDENCE = ROOT / "docs" / "evidence" / "fuzz.md"
SEED = 20_261_129
_MAGIC = b"\x84\xa6format"
_HANG_SECONDS, _MEMORY_MB, _LONGEST = 10, 1_024, 65_536


def main() -> int:
    """Run it and return the exit code."""
    parser = argparse.ArgumentParser(description="Fuzz the decoder of model files.")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--seconds", type=int, default=60, help="how long (default: 60)")
    size.add_argument("--runs", type=int, help="how many executions, instead; the figures go to docs/evidence/fuzz.md")
    asked = parser.parse_args()
    corpus, crashes = STATE / "corpus", STATE / "crashes"
    seeds = sow(corpus)
    crashes.mkdir(parents=True, exist_ok=True)
    limit = f"-runs={asked.runs}" if asked.runs else f"-max_total_time={asked.seconds}"
    options = [
        limit,
        f"-seed={SEED}",
        f"-timeout={_HANG_SECONDS}",
        f"-rss_limit_mb={_MEMORY_MB}",
        f"-max_len={_LONGEST}",
        f"-artifact_prefix={crashes}/",
        "-print_final_stats=1",
    ]
    command = [sys.executable, str(HERE / "decoder.py"), *options, str(corpus)]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace", check=False)
    figures = dict(re.findall(r"stat::(\w+):\s+(\d+)", done.stderr))
    executions = int(figures.get("number_of_executed_units", 0))
    grown = len(list(corpus.iterdir()))
    if done.returncode or not executions:
        sys.stderr.write(done.stderr[-6_000:])
        return 1
    words = (
        f"{executions:,} executions from {seeds} files, {grown} inputs that reach something new, slowest"
        f" {figures['slowest_unit_time_sec']} s, peak memory {figures['peak_rss_mb']} MB: no crash, no hang"
    )
    sys.stdout.write(words + "\n")
    if asked.runs:
        EVIDENCE.write_text(page(words, asked.runs), encoding="utf-8")
    return 0


def sow(corpus: Path) -> int:
    """Put the golden and hostile files into the corpus, as bodies where they have an envelope; return how many."""
    corpus.mkdir(parents=True, exist_ok=True)
    seeds = [*(ROOT / "tests/golden/models").glob("*.msgpack"), *(ROOT / "tests/golden/hostile").rglob("*.bin")]
    for path in seeds:
        data = path.read_bytes()
        for seed in {data, data[HEADER_BYTES:] if data.startswith(_MAGIC) else data}:
            (corpus / hashlib.sha256(seed).hexdigest()[:40]).write_bytes(seed)
    return len(seeds)


def page(words: str, runs: int) -> str:
    """Return the page of evidence."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607 - git from the path
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    return (
        "# The decoder of model files under fuzz\n\n"
        f"Atheris {version('atheris')}, `python tests/fuzz/run.py --runs {runs}`, seed {SEED}, commit `{commit}`,"
        f" on {platform.system()} {platform.machine()}, Python {platform.python_version()}.\n\n"
        f"{words[0].upper() + words[1:]}.\n\n"
        f"An input that takes over {_HANG_SECONDS} s, more than {_MEMORY_MB} MB of memory for the whole process, raises"
        " anything but `ArtifactError`, or decodes to a model that encodes to other bytes, would have ended it."
        " Every model that was accepted answered its golden rows.\n"
    )


if __name__ == "__main__":
    sys.exit(main())
