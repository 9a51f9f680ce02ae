"""Bind this process to its parent, become somebody else if asked, then turn into another program.

A file that is run, not imported: ``python -I -S launch.py [options] -- program argument...`` (see
:func:`trainyard.processes.bound`). It does between fork and exec what ``preexec_fn`` would do, which is not safe in a
parent with threads. Standard library only; 15 ms.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1
_CLONE_NEWUSER = 0x10000000
#: what a shell answers for a program that cannot be started
CANNOT_START = 126


def main() -> None:
    """Do what the options say and replace the process; ends with 126 and one line when that fails."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int, help="end when this process ends (Linux)")
    parser.add_argument("--signal", type=int, default=15, help="the signal that --parent sends")
    parser.add_argument("--namespace", action="store_true", help="be called user 1000 in a user namespace (Linux)")
    parser.add_argument("--user", type=int, nargs=2, metavar=("UID", "GID"), help="become this user for good")
    parser.add_argument("--nice", type=int, default=0, help="lower the priority by this much")
    parser.add_argument("program", nargs="+")
    asked = parser.parse_args()
    try:
        os.nice(asked.nice)
        if asked.namespace:
            _enter_namespace()
        if asked.user:
            os.setgroups([])
            os.setgid(asked.user[1])
            os.setuid(asked.user[0])
        if asked.parent is not None:
            _end_with(asked.parent, asked.signal)  # after the change of user, which would undo it
        os.execv(asked.program[0], asked.program)  # noqa: S606 - that is what this file is for
    except OSError as e:
        sys.stderr.write(f"{asked.program[0]} cannot be started: {e}\n")
        sys.exit(CANNOT_START)


def _enter_namespace() -> None:
    """Give root another name: files stay root's outside, and programs that refuse root see user 1000."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), f"a user namespace is not permitted ({os.strerror(ctypes.get_errno())})")
    for name, text in (("setgroups", "deny"), ("uid_map", "1000 0 1"), ("gid_map", "1000 0 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:  # noqa: PTH123 - pathlib would cost 10 ms
            file.write(text)


def _end_with(parent: int, number: int) -> None:
    """Ask the kernel to send a signal when the parent ends; elsewhere than on Linux leftovers are found by pid file."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the kernel was told
        sys.exit(CANNOT_START)


if __name__ == "__main__":
    main()
