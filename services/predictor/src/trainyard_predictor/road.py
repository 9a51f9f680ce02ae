"""Every module that a first prediction needs, in one file: ``package.py`` writes it, and Lambda's entry reads it.

A cold start would look for 80 files and read each of them, which takes 5 ms of a processor (ADR 37). This file has the
bytecode of the same modules, in the order in which they are ready. Where there is none, as in a checkout, they are
imported one by one. It is trusted and checked as other bytecode of the package is: what made one made the other.
"""

from __future__ import annotations

import marshal  # noqa: TID251 - what is in the file is bytecode, and is read as Python reads its own
import sys
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import ModuleType

#: The file beside this module; bytecode is of one version of Python.
FILE = f"road.{sys.implementation.cache_tag}.bin"
_PLAIN = 2  # the version of marshal whose bytes depend on nothing but the values


def packed(parts: list[tuple[str, bool, bytes]]) -> bytes:
    """Return the file of modules: name, whether it is a package, and bytecode; each after those that it imports."""
    return marshal.dumps(parts, _PLAIN)


def take(folder: str) -> None:
    """Make the modules of the file, which lie as sources below ``folder``; nothing where there is no file.

    A module that has been imported stays what it is. Whatever one raises is raised, and ends the start.
    """
    try:
        with open(f"{folder}/trainyard_predictor/{FILE}", "rb") as file:  # noqa: PTH123 - pathlib takes 4 ms
            parts = marshal.loads(file.read())  # noqa: S302 - as trusted as the bytecode beside it
    except FileNotFoundError:
        return
    missing = [part for part in parts if part[0] not in sys.modules]
    for name, is_package, _ in missing:  # all of them first: a package's name must be known to what lies in it
        sys.modules[name] = _empty(folder, name, is_package)
    for name, _, code in missing:
        module = sys.modules[name]
        exec(marshal.loads(code), module.__dict__)  # noqa: S102, S302 - this is what an import is
        parent, _, own = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], own, module)


def _empty(folder: str, name: str, is_package: bool) -> ModuleType:
    """Return a module as the import system would make it, before anything of it has run."""
    place = f"{folder}/{name.replace('.', '/')}"
    file = f"{place}/__init__.py" if is_package else f"{place}.py"
    module = ModuleType(name)
    spec = ModuleSpec(name, SourceFileLoader(name, file), origin=file, is_package=is_package)
    spec.has_location = True
    if is_package:
        module.__path__ = spec.submodule_search_locations = [place]
    module.__spec__, module.__loader__, module.__file__ = spec, spec.loader, file
    module.__package__ = spec.parent
    return module
