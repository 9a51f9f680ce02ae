"""``make golden``: the golden models answer alike on every Python and numpy that is promised.

Runs ``answers.py`` in each environment that the Makefile has made. The answers must be within 1e-12 of the committed
ones, and those of tree ensembles must be the same in all environments, to the last bit. Exit code 1 where one differs
or cannot run.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
STATE = ROOT / ".state"
MODELS = HERE / "models"
TOLERANCE = 1e-12


def main() -> int:
    """Compare every environment; return the exit code."""
    wrong = 0
    locked: dict[str, Any] = {}
    for name, command in environments().items():
        told = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        answered: dict[str, Any] = json.loads(told.stdout)
        models = answered["models"]
        locked = locked or models
        apart = {path.stem: distance(path, models[path.stem]) for path in sorted(MODELS.glob("*.ndjson"))}
        differing = [stem for stem, far in apart.items() if far > TOLERANCE]
        differing += [stem for stem in apart if is_trees(stem) and models[stem] != locked[stem]]
        wrong += len(differing)
        sys.stdout.write(
            f"{name}: Python {answered['python']}, numpy {answered['numpy']}: {len(models)} models, at most"
            f" {max(apart.values()):.3g} from the committed answers"
            f"{'; wrong: ' + ', '.join(differing) if differing else ''}\n"
        )
    return 1 if wrong else 0


def is_trees(stem: str) -> bool:
    """Tell whether a golden model is an ensemble of trees."""
    return any(name in stem for name in ("tree_ensemble", "forest", "large_trees"))


def environments() -> dict[str, list[str]]:
    """Return the command of each environment by its name."""
    program, models, source = HERE / "answers.py", MODELS, ROOT / "libs/common/src"

    def here(python: str, packages: Path | None = None) -> list[str]:
        paths = ":".join(str(p) for p in (source, packages) if p is not None)
        return ["env", f"PYTHONPATH={paths}", python, str(program), str(models)]

    found = {
        "locked": here(sys.executable),
        "oldest numpy": here(sys.executable, STATE / "golden" / "numpy1"),
    }
    trixie = STATE / "golden" / "trixie"
    if trixie.exists():
        found["newest Python"] = in_trixie(trixie)
    else:
        newest = (STATE / "golden" / "python313.path").read_text(encoding="utf-8").strip()
        found["newest Python"] = here(newest, STATE / "golden" / "python313")
    return found


def in_trixie(root: Path) -> list[str]:
    """Return the command inside the Debian 13 at ``root``, after putting everything it reads there."""
    inside = root / "srv"
    shutil.rmtree(inside, ignore_errors=True)
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "libs/common/src/trainyard", inside / "trainyard", ignore=ignore)
    shutil.copytree(STATE / "golden" / "python313", inside, dirs_exist_ok=True, ignore=ignore)
    shutil.copytree(MODELS, inside / "models")
    shutil.copy(HERE / "answers.py", inside / "answers.py")
    return ["chroot", str(root), "env", "PYTHONPATH=/srv", "python3", "/srv/answers.py", "/srv/models"]


def distance(path: Path, answers: list[list[Any]]) -> float:
    """Return the largest difference from the committed answers, relative beyond 1; infinity for another class."""
    apart = 0.0
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for line, (*probabilities, prediction) in zip(lines, answers, strict=True):
        if line["probabilities"] is None:
            pairs = [(prediction, line["prediction"])]
        elif prediction != line["prediction"]:
            return float("inf")
        else:
            pairs = list(zip(probabilities, line["probabilities"].values(), strict=True))
        apart = max(apart, *(abs(a - b) / max(1.0, abs(b)) for a, b in pairs))
    return apart


if __name__ == "__main__":
    sys.exit(main())
