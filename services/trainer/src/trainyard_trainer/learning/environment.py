"""What the bytes of a fit depend on besides its description and its rows: threads, processor, installed packages.

Threads are ruled out here. Sums over threads are added in another order: with two of them logistic, ridge and
elastic-net regressions end in other last bits (measured; trees, forests and networks do not). Processor and packages
are written down, so that a reproduction that differs can say why.
"""

from __future__ import annotations

import hashlib
import platform
import re
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The package whose requirements, and theirs, a lock file of the trainer pins.
_PACKAGE = "trainyard-trainer"
_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)(?:\s*\[([^\]]*)\])?")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")


@contextmanager
def one_thread() -> Iterator[None]:
    """Let BLAS and OpenMP compute with one thread inside, whatever the process was started with."""
    with threadpool_limits(limits=1):
        yield


def environment() -> dict[str, str]:
    """Return what a run notes of where it was: ``python``, ``cpu`` (its family) and ``packages``.

    Where all three are the same, the same fit gives the same bytes. ``cpu`` names what numpy and BLAS choose their
    kernels by; ``packages`` is the SHA-256 of the lines ``name==version`` of all that the trainer requires, directly or
    not, which is what its lock file pins.
    """
    return {"python": platform.python_version(), "cpu": _cpu(), "packages": _packages()}


def _cpu() -> str:
    found = np.show_config(mode="dicts")["SIMD Extensions"].get("found") or ["baseline"]
    blas = sorted(
        {f"{p['internal_api']} {p.get('architecture', '')}".strip() for p in threadpool_info() if _is_blas(p)}
    )
    return ", ".join([platform.machine(), f"numpy {found[-1]}", *blas])


def _is_blas(pool: dict[str, Any]) -> bool:
    return bool(pool["user_api"] == "blas")


def _packages() -> str:
    versions: dict[str, str] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting: list[tuple[str, frozenset[str]]] = [(_PACKAGE, frozenset())]
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        try:
            found = distribution(one[0])
        except PackageNotFoundError:
            continue  # for another system or Python
        versions[_plain(found.metadata["Name"])] = found.version
        for requirement in found.requires or []:
            extra = _EXTRA.search(requirement)
            named = _REQUIREMENT.match(requirement)
            if named is not None and (extra is None or extra[1] in one[1]):
                extras = frozenset(e.strip() for e in (named[2] or "").split(",") if e.strip())
                waiting.append((_plain(named[1]), extras))
    lines = "".join(f"{name}=={versions[name]}\n" for name in sorted(versions))
    return hashlib.sha256(lines.encode()).hexdigest()


def _plain(name: str) -> str:
    """Return the name as it is compared (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
