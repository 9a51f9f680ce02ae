"""A training process that dies at the jobs of one model, in the way that its argument names, and does all others.

``python dying_child.py oom|crash|timeout MODEL``: it takes more memory than it may have, reads where nothing is, or
never ends.
"""

from __future__ import annotations

import io
import json
import resource
import sys
from pathlib import Path

from trainyard.testing import training_child

_MOST_BYTES = 768 << 20
_ENDS = {"oom": "memory", "crash": "segfault", "timeout": "hang"}


def main(how: str, model: str) -> int:
    """Wait for a job and do it, or die at it."""
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))
    line = sys.stdin.readline()
    sys.stdin = io.StringIO(line)  # for the child that does the work
    if not line:
        return 0
    job = json.loads((Path(line.strip()) / "job.json").read_text(encoding="utf-8"))
    return training_child.main(["--end", _ENDS[how] if job["model"] == model else "done"])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
