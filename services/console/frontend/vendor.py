"""Copy what the pages load from npm's packages into the console's package, with their hashes.

``python vendor.py node_modules``: npm has checked the packages against the lock file; a test holds the copies against
``vendor.json``.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path

_TARGET = Path(__file__).parents[1] / "src" / "trainyard_console" / "static" / "vendor"
_FILES = {
    "htmx.min.js": "htmx.org/dist/htmx.min.js",
    "sse.min.js": "htmx-ext-sse/dist/sse.min.js",
    "idiomorph-ext.min.js": "idiomorph/dist/idiomorph-ext.min.js",
}


def main() -> int:
    """Copy; return the exit code."""
    packages = Path(sys.argv[1])
    _TARGET.mkdir(parents=True, exist_ok=True)
    known = {}
    for name, source in _FILES.items():
        package = json.loads((packages / source.split("/", 1)[0] / "package.json").read_text(encoding="utf-8"))
        shutil.copyfile(packages / source, _TARGET / name)
        known[name] = {
            "package": f"{package['name']}@{package['version']}",
            "sha256": hashlib.sha256((_TARGET / name).read_bytes()).hexdigest(),
        }
    (_TARGET / "vendor.json").write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
