"""A training process that dies at the jobs of one model, in the way that its argument names, and does all others.

``python dying_child.py oom|crash|timeout MODEL``: it takes more memory than it may have, writes where nothing is, or
never ends.
"""

from __future__ import annotations

import ctypes
import io
import json
import resource
import sys
import time
from pathlib import Path

from trainyard.testing import training_child

_MOST_BYTES = 768 << 20
_FOREVER_SECONDS = 3_600.0


def main(how: str, model: str) -> int:
    """Wait for a job and do it or die."""
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))
    directory = sys.stdin.readline().strip()
    if not directory:
        return 0
    if json.loads((Path(directory) / "job.json").read_text())["model"] == model:
        if how == "timeout":
            time.sleep(_FOREVER_SECONDS)
        return training_child.main(["--end", {"oom": "memory", "crash": "segfault"}[how]])
    return training_child.main([])


class _Again(io.StringIO):
    """Standard input whose one line can be read twice: here, and by the child that does the work."""

    def readline(self, *_: object) -> str:
        return self.line

    def __init__(self, line: str) -> None:
        super().__init__()
        self.line = line


if __name__ == "__main__":
    sys.stdin = _Again(sys.stdin.readline())
    sys.exit(main(*sys.argv[1:]))
