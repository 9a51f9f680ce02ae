"""Run the benchmarks: ``python -m benchmarks [name ...] [--json FILE]``; without names all of them.

``python -m benchmarks models --help`` tells of the options of its own that the accuracy benchmark has, and ``pages``
has some too.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from pathlib import Path

#: Modules of this package; each has a function ``run()`` that prints a table and returns its figures.
REGISTRY = (
    "artifacts",
    "batch",
    "cold_start",
    "database_time",
    "drift",
    "explain",
    "formats",
    "http",
    "ingest",
    "landing",
    "live",
    "loop",
    "models",
    "pages",
    "prediction_log",
    "requests",
    "snapshots",
    "trees",
)


def main() -> int:
    """Run what was asked for and print how long each took."""
    if sys.argv[1:2] in (["models"], ["pages"]) and len(sys.argv) > 2 and "--json" not in sys.argv:
        importlib.import_module(f"benchmarks.{sys.argv[1]}").main(sys.argv[2:])  # they have options of their own
        return 0
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"one of: {', '.join(REGISTRY)} (default: all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    asked = parser.parse_args()
    unknown = [name for name in asked.names if name not in REGISTRY]
    if unknown:
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are: {', '.join(REGISTRY)}")
    figures = {}
    for name in asked.names or REGISTRY:
        module = importlib.import_module(f"benchmarks.{name}")
        began = time.monotonic()
        print(f"== {name}: {module.__doc__.splitlines()[0]}", flush=True)
        figures[name] = module.run()
        print(f"   ({time.monotonic() - began:.0f} s)\n", flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
