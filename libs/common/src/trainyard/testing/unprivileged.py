"""Run a program that refuses to be root, from root: ``python -m trainyard.testing.unprivileged PROGRAM ARGUMENT...``.

In a user namespace of its own the program sees another user id, while the kernel still lets it use root's files. The
process id stays the same, so signals reach the program.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

_CLONE_NEWUSER = 0x10000000
_INSIDE_ID = 1000


def become_nobody_special() -> None:
    """Leave root's identity for good.

    Raises:
        OSError: the kernel does not allow user namespaces here.
    """
    user, group = os.getuid(), os.getgid()
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWUSER) != 0:
        code = ctypes.get_errno()
        raise OSError(
            code, f"user namespaces are not allowed here ({os.strerror(code)}); run as another user than root"
        )
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{_INSIDE_ID} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{_INSIDE_ID} {group} 1")


def main(arguments: list[str]) -> None:
    """Replace this process by the program named in ``arguments``."""
    if os.getuid() == 0:
        become_nobody_special()
    os.execv(arguments[0], arguments)  # noqa: S606 - the caller's own program, without a shell


if __name__ == "__main__":
    main(sys.argv[1:])
