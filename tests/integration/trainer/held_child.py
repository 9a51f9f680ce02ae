"""A training child held before some trial while a file exists: ``held_child.py leader=FILE helper=FILE``.

A leader is held before its third trial, a helper before its second; who goes on with another's search is not.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainyard.clock import SystemClock
from trainyard_trainer import child, workdir
from trainyard_trainer.learning.trying import Trying

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainyard.contracts.studies import Study

_BEFORE = {"leader": 3, "helper": 2}
_LOOK_SECONDS = 0.02
_work, _fit = child.work, Trying.fit


def held(directory: Path, say: Callable[[dict[str, Any]], None], study: Study) -> int:
    """Do the job, held."""
    job, clock, fits = workdir.read_json(directory, workdir.JOB), SystemClock(), 0
    role = "helper" if "helps_for_seconds" in job else "leader"
    file = None if job.get("trials") else dict(one.split("=") for one in sys.argv[1:]).get(role)

    def fit(trying: Trying, *given: Any, **more: Any) -> Any:
        nonlocal fits
        fits += 1
        while file is not None and fits >= _BEFORE[role] and Path(file).exists():
            clock.sleep(_LOOK_SECONDS)
        return _fit(trying, *given, **more)

    Trying.fit = fit  # type: ignore[method-assign]
    return _work(directory, say, study)


if __name__ == "__main__":
    child.work = held
    sys.exit(child.main())
