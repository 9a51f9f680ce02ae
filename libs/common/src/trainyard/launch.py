"""Bind this process to its parent, become somebody else if asked, then turn into another program.

A file that is run, not imported: ``python -I -S launch.py [options] -- program argument...`` (see
:func:`trainyard.processes.bound`). It does between fork and exec what ``preexec_fn`` would do, which is not safe in a
parent with threads. Standard library only; 15 ms.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import resource
import sys

_PR_SET_PDEATHSIG = 1
#: the kernel leaves capabilities alone when the user changes, and access(2) minds them
_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP = 28, 1 << 2
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 47, 2
_CAPABILITY_VERSION_3 = 0x20080522
_CAP_DAC_OVERRIDE = 1
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
    parser.add_argument("--keep-access", action="store_true", help="with --user: still enter any directory (Linux)")
    parser.add_argument("--nice", type=int, default=0, help="lower the priority by this much")
    parser.add_argument("--memory", type=int, help="most bytes of address space that the program may take (Linux)")
    parser.add_argument("program", nargs="+")
    asked = parser.parse_args()
    try:
        os.nice(asked.nice)
        if asked.namespace:
            _enter_namespace()
        if asked.user:
            _become(*asked.user, keep_access=asked.keep_access)
        if asked.parent is not None:
            _end_with(asked.parent, asked.signal)  # after the change of user, which would undo it
        if asked.memory is not None:
            _limit_memory(asked.memory)
        os.execv(asked.program[0], asked.program)  # noqa: S606 - that is what this file is for
    except OSError as e:
        sys.stderr.write(f"{asked.program[0]} cannot be started: {e}\n")
        sys.exit(CANNOT_START)


def _limit_memory(size: int) -> None:
    """Let allocations beyond ``size`` bytes of address space fail; a stricter limit that holds already stays."""
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    size = size if most == resource.RLIM_INFINITY else min(size, most)
    resource.setrlimit(resource.RLIMIT_AS, (size, size))


def _enter_namespace() -> None:
    """Give root another name: files stay root's outside, and programs that refuse root see user 1000."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), f"a user namespace is not permitted ({os.strerror(ctypes.get_errno())})")
    for name, text in (("setgroups", "deny"), ("uid_map", "1000 0 1"), ("gid_map", "1000 0 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:  # noqa: PTH123 - pathlib would cost 10 ms
            file.write(text)


def _become(uid: int, gid: int, *, keep_access: bool) -> None:
    """Change the user; with ``keep_access`` this program and the next one keep CAP_DAC_OVERRIDE, and nothing else."""
    libc = ctypes.CDLL(None, use_errno=True)
    if keep_access:
        libc.prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if keep_access:
        header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
        bit = 1 << _CAP_DAC_OVERRIDE
        data = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)  # effective, permitted, inheritable; then the upper half
        raised = (
            libc.capset(header, data) == 0
            and libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE, 0, 0) == 0
        )
        if not raised:
            raise OSError(ctypes.get_errno(), "the right to enter any directory cannot be kept")


def _end_with(parent: int, number: int) -> None:
    """Ask the kernel to send a signal when the parent ends; elsewhere than on Linux leftovers are found by pid file."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the kernel was told
        sys.exit(CANNOT_START)


if __name__ == "__main__":
    main()
