"""Build the predictor as Lambda and its image take it: ``python services/predictor/package.py FOLDER [--zip FILE]``.

FOLDER gets everything that the function imports, with bytecode: without it a cold start takes three times as long. The
bytecode is of the Python that runs this command, so that must be the runtime's (3.11 to 3.13), and it is not checked
against the sources at run time, whose dates a zip does not keep. The zip is the same for the same input.
"""

from __future__ import annotations

import argparse
import compileall
import py_compile
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: What the zip may take unpacked: Lambda allows 250 MB for everything.
MOST_BYTES = 90 * 1000 * 1000
#: Parts of the packages that nothing imports while it serves, by pattern below the folder.
_UNUSED = (
    *("**/tests", "*/testing", "**/conftest.py"),
    *("**/*.pyi", "numpy/**/include", "numpy/**/*.a", "bin", "**/RECORD"),
)
#: Our packages, and what of them the predictor never imports.
_OURS = (ROOT / "libs/common/src/trainyard", ROOT / "services/predictor/src/trainyard_predictor")
_NOT_OURS = shutil.ignore_patterns("__pycache__", "testing", "postgres", "aws", "doctor", "backup")
_LONG_AGO = (1980, 1, 1, 0, 0, 0)


def install(folder: Path) -> None:
    """Put the locked packages into ``folder``; subprocess.CalledProcessError when one could not be had."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    locked = ["--require-hashes", "--only-binary", ":all:", "-r", str(ROOT / "requirements" / "predictor.txt")]
    subprocess.run([*pip, "--target", str(folder), *locked], check=True)
    for pattern in _UNUSED:
        for path in sorted(folder.glob(pattern), reverse=True):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def finish(folder: Path) -> int:
    """Add our own packages to ``folder``, compile everything in it, and return its size in bytes.

    Raises:
        ValueError: a module cannot be compiled, or it all takes more than MOST_BYTES.
        subprocess.CalledProcessError: the function does not start.
    """
    for package in _OURS:
        shutil.copytree(package, folder / package.name, ignore=_NOT_OURS)
    version = (ROOT / "VERSION").read_text().strip()
    about = folder / f"trainyard_predictor-{version}.dist-info" / "METADATA"
    about.parent.mkdir()
    about.write_text(f"Metadata-Version: 2.1\nName: trainyard-predictor\nVersion: {version}\n")
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    if not compileall.compile_dir(folder, force=True, quiet=1, stripdir=folder, invalidation_mode=unchecked):
        raise ValueError(f"a module of {folder} cannot be compiled")
    write = [sys.executable, "-S", "-P", str(Path(__file__).with_name("write_road.py")), str(folder)]
    subprocess.run(write, check=True)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if size > MOST_BYTES:
        raise ValueError(f"{folder} takes {size:,} bytes; the limit is {MOST_BYTES:,}")
    return size


def pack(folder: Path, file: Path) -> int:
    """Write ``folder`` as a zip and return the zip's size in bytes."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _LONG_AGO)
                entry.external_attr = (0o755 if path.suffix == ".so" else 0o644) << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                packed.writestr(entry, path.read_bytes())
    return file.stat().st_size


def main() -> int:
    """Build what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where everything goes; must not exist before the first step")
    parser.add_argument("--step", choices=("packages", "ours"), help="only one of the two steps: an image layer each")
    parser.add_argument("--zip", type=Path, metavar="FILE", help="also pack it, for a function from a zip (SnapStart)")
    asked = parser.parse_args()
    if asked.step != "ours":
        asked.folder.mkdir(parents=True)
        install(asked.folder)
    if asked.step == "packages":
        return 0
    size = finish(asked.folder)
    print(f"{asked.folder}: {size / 1e6:.1f} MB, for Python {sys.version_info.major}.{sys.version_info.minor}")
    if asked.zip:
        print(f"{asked.zip}: {pack(asked.folder, asked.zip) / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
