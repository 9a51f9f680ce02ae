"""The release before this one, which must work on this one's schema. Whoever releases moves both constants."""

from __future__ import annotations

import subprocess
import sysconfig
import tarfile
import venv
from pathlib import Path

#: The last commit of the release before, and the newest revision that it knows.
COMMIT = "64d2444f83a41399051393b237515a5caa1b9f93"
REVISION = "0003"
_ROOT = Path(__file__).parents[3]


def unpack(directory: Path, *folders: str) -> list[str]:
    """Write its packages below ``directory``, and those of more ``folders``; return where to import them from.

    Raises:
        RuntimeError: the history does not reach that far.
    """
    archive = directory / "release.tar"
    done = subprocess.run(
        ["git", "archive", "--output", str(archive), COMMIT, "libs", "services", *folders],  # noqa: S607 - found by PATH
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(
            f"the history has no commit {COMMIT}, the release before this one: clone without --depth, or fetch the"
            f" rest with `git fetch --unshallow` ({done.stderr.strip()})"
        )
    with tarfile.open(archive) as packed:
        packed.extractall(directory, filter="data")
    return [str(path) for path in sorted(directory.glob("*/*/src"))]


def interpreter(directory: Path, packages: list[str]) -> Path:
    """Make a Python below ``directory`` that imports these packages and, besides, what this one has of others'.

    A variable would not do: a stack gives its processes their environment anew. The packages of this release are
    installed by files of paths, which are read in the site directory alone and not in one that such a file names.
    """
    root = directory / "python"
    venv.create(root, symlinks=True)
    (site,) = root.glob("lib/python*/site-packages")
    (site / "previous.pth").write_text("\n".join([*packages, sysconfig.get_path("purelib")]) + "\n")
    return root / "bin" / "python"
