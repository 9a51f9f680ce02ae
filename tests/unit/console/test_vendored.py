"""What the pages load from others is what npm's lock file names, byte for byte as it was copied."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from trainyard_console.frame import STATIC

LOCK = Path(__file__).parents[3] / "services" / "console" / "frontend" / "package-lock.json"


def test_vendored_files_are_those_of_the_lock_file() -> None:
    """Each file has its hash on record, comes from the version that is locked, and no other file lies beside them."""
    known = json.loads((STATIC / "vendor" / "vendor.json").read_text(encoding="utf-8"))
    locked = json.loads(LOCK.read_text(encoding="utf-8"))["packages"]
    assert {file.name for file in (STATIC / "vendor").iterdir()} == {*known, "vendor.json"}
    for name, of in known.items():
        package, _, version = of["package"].rpartition("@")
        assert locked[f"node_modules/{package}"]["version"] == version
        assert hashlib.sha256((STATIC / "vendor" / name).read_bytes()).hexdigest() == of["sha256"]
