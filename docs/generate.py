"""Write the tables that the code already holds: docs/errors.md and docs/settings.md.

``python docs/generate.py`` writes them, ``--check`` exits 1 when one of them is not current.
"""

from __future__ import annotations

import sys
from pathlib import Path

from trainyard.config import SETTINGS
from trainyard.errors import CODES

_DOCS = Path(__file__).parent


def errors() -> str:
    """Return docs/errors.md."""
    lines = [
        "# Error codes",
        "",
        "Generated from `trainyard.errors` by `make docs`.",
        "",
        "| code | HTTP | what it means and what to do |",
        "|---|---|---|",
    ]
    return "\n".join([*lines, *(f"| `{code}` | {status} | {text} |" for code, (status, text) in CODES.items())]) + "\n"


def settings() -> str:
    """Return docs/settings.md."""
    lines = [
        "# Settings",
        "",
        "Environment variables, read once by each entry point. Generated from `trainyard.config` by `make docs`.",
        "",
        "| variable | default | meaning |",
        "|---|---|---|",
    ]
    rows = [f"| `{s.variable}` | {f'`{s.default}`' if s.default else '–'} | {s.meaning} |" for s in SETTINGS]
    return "\n".join([*lines, *rows]) + "\n"


def pages() -> dict[Path, str]:
    """Return every generated page."""
    return {_DOCS / "errors.md": errors(), _DOCS / "settings.md": settings()}


def main(arguments: list[str]) -> int:
    """Write or check the pages."""
    stale = [path for path, text in pages().items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if "--check" in arguments:
        for path in stale:
            sys.stderr.write(f"{path.name} is not current; run: make docs\n")
        return 1 if stale else 0
    for path in stale:
        path.write_text(pages()[path], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
