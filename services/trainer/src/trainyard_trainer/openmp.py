"""LightGBM's one need that a minimal system lacks: the OpenMP runtime ``libgomp.so.1``.

scikit-learn's wheel carries one under another file name. The dynamic linker finds libraries by file name along
``LD_LIBRARY_PATH``, which it reads when a process starts: so the training child is started with a directory on that
path that holds a link of the right name. Nothing is done where the system has the library. On macOS LightGBM looks for
``libomp.dylib``, which scikit-learn's wheel carries too, along ``DYLD_LIBRARY_PATH``.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from pathlib import Path

_LINUX = ("libgomp.so.1", "scikit_learn.libs", "libgomp-*.so*", "LD_LIBRARY_PATH")
_MACOS = ("libomp.dylib", "sklearn/.dylibs", "libomp*.dylib", "DYLD_LIBRARY_PATH")


def variables(directory: Path, *, present: bool | None = None) -> dict[str, str]:
    """Return the environment variables that a process needs so that LightGBM finds OpenMP; none where it does anyway.

    Args:
        directory: where the link is made; nobody else may write there.
        present: whether the system has the library; None: find out.
    """
    wanted, folder, pattern, variable = _MACOS if sys.platform == "darwin" else _LINUX
    if present if present is not None else _loads(wanted):
        return {}
    carried = _carried(folder, pattern)
    if carried is None:
        return {}
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    link = directory / wanted
    if not (link.is_symlink() and link.readlink() == carried):
        fresh = directory / f".{wanted}.new"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(carried)
        fresh.replace(link)  # another trainer may be doing the same
    return {variable: str(directory)}


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def _carried(folder: str, pattern: str) -> Path | None:
    """Return the library inside scikit-learn's wheel, without importing it."""
    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        return None
    site_packages = Path(spec.origin).parent.parent
    return next(iter(sorted(site_packages.joinpath(folder).glob(pattern))), None)
