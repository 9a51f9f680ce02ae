"""Write the file that ``trainyard_predictor.road`` reads: ``python write_road.py FOLDER``, which holds the bytecode.

An interpreter of its own imports what a function's start does, and notes which module is ready when.
"""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

_HEAD_BYTES = 16  # what a file of bytecode has before it
_ENTRY = "trainyard_predictor.aws_lambda"


def main(folder: Path) -> None:
    """Write the file into ``folder``."""
    sys.path.insert(0, str(folder))
    ready: list[Any] = []
    as_ever = SourceFileLoader.exec_module

    def noted(loader: SourceFileLoader, module: Any) -> None:
        as_ever(loader, module)
        ready.append(module)

    SourceFileLoader.exec_module = noted  # type: ignore[method-assign]
    importlib.import_module(_ENTRY)
    road = importlib.import_module("trainyard_predictor.road")
    # what has run by the time that the file is read is none of its own; other packages are not ours to make
    ours = [module for module in ready if module.__name__.partition(".")[0] in {"trainyard", "trainyard_predictor"}]
    there = {_ENTRY, road.__name__, "trainyard_predictor"}
    parts = [
        (module.__name__, hasattr(module, "__path__"), Path(module.__spec__.cached).read_bytes()[_HEAD_BYTES:])
        for module in ours
        if module.__name__ not in there
    ]
    (folder / "trainyard_predictor" / road.FILE).write_bytes(road.packed(parts))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
