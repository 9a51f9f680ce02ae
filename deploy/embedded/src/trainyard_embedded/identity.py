"""As whom Postgres runs: it refuses to run as root, and the stack should not refuse root (containers, CI).

Three ways, tried in this order (docs/adr/0001-embedded-postgres.md): as we are, when we are not root; in a user
namespace of its own, where root is called 1000 and files stay root's; as an unprivileged user that owns the cluster,
and that may pass closed directories on the way to it if there are any.
"""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from typing import TYPE_CHECKING, Protocol

from trainyard.processes import bound
from trainyard_embedded.errors import EXIT_DEPENDENCY, StackError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class RunAs(Protocol):
    """One of the three ways. ``options`` are those of :mod:`trainyard.launch` that lead there."""

    options: tuple[str, ...]

    def prepare(self, directory: Path) -> None:
        """Make an existing cluster usable for the user that will run the server."""
        ...

    def own(self, directory: Path) -> None:
        """Give a fresh, empty directory to the user that will run the server."""
        ...


class AsWeAre:
    """An ordinary user: nothing to do."""

    options: tuple[str, ...] = ()

    def prepare(self, directory: Path) -> None:
        """Do nothing."""

    def own(self, directory: Path) -> None:
        """Do nothing."""


class InNamespace(AsWeAre):
    """Root, in a namespace where it is called 1000: files belong to root outside and to 1000 inside."""

    options: tuple[str, ...] = ("--namespace",)

    def prepare(self, directory: Path) -> None:
        """Take back a cluster that an earlier start gave to another user: only root's files can be seen inside."""
        if directory.exists() and directory.stat().st_uid != 0:
            give(directory, 0, 0)


class AsUser:
    """Root, giving the cluster and the server to an unprivileged user."""

    def __init__(
        self,
        user: pwd.struct_passwd,
        binaries: Path,
        *,
        keep_access: bool = False,
        reaches: Callable[[Path], bool] | None = None,
    ) -> None:
        self.options: tuple[str, ...] = ("--user", str(user.pw_uid), str(user.pw_gid))
        if keep_access:
            self.options += ("--keep-access",)
        self._user = user
        self._binaries = binaries
        self.reaches = reaches or self._can_enter

    def prepare(self, directory: Path) -> None:
        """Give the cluster to the user and let it pass through the data directory.

        Raises:
            StackError: the user cannot reach the programs or the directory.
        """
        # Passing through is all that others may do in the data directory: its parts stay closed to them.
        directory.parent.chmod(0o711)
        if directory.exists() and directory.stat().st_uid != self._user.pw_uid:
            give(directory, self._user.pw_uid, self._user.pw_gid)
        for path in (self._binaries / "postgres", directory.parent):
            if not self.reaches(path):
                raise StackError(
                    EXIT_DEPENDENCY,
                    f"Postgres must not run as root, user namespaces are not permitted here, and user "
                    f"{self._user.pw_name!r} cannot reach {path}; run as an ordinary user or move it to a path "
                    "that everybody may enter",
                )

    def own(self, directory: Path) -> None:
        """Give the directory to the user."""
        os.lchown(directory, self._user.pw_uid, self._user.pw_gid)

    def _can_enter(self, path: Path) -> bool:
        return succeeds('test -x "$1"', str(path), options=self.options)


def give(directory: Path, uid: int, gid: int) -> None:
    """Change the owner of a directory and of everything in it."""
    for path in (*directory.rglob("*"), directory):
        os.lchown(path, uid, gid)


def choose(binaries: Path, data_root: Path) -> RunAs:
    """Return the way that this machine permits."""
    return decide(os.geteuid(), namespace_permitted, lambda: _as_user(binaries, data_root))


def _as_user(binaries: Path, data_root: Path) -> AsUser:
    """Return the unprivileged user; where a directory on the way is closed to it (a clone in /root), with a key."""
    user = unprivileged(data_root)
    plain = AsUser(user, binaries)
    if plain.reaches(binaries / "postgres") and plain.reaches(data_root.parent):
        return plain
    return AsUser(user, binaries, keep_access=True)


def decide(euid: int, permitted: Callable[[], bool], as_user: Callable[[], RunAs]) -> RunAs:
    """Choose among the three ways; each is asked for only when those before it are out."""
    if euid != 0:
        return AsWeAre()
    return InNamespace() if permitted() else as_user()


def namespace_permitted() -> bool:
    """Try a user namespace in a child that does nothing else."""
    return sys.platform.startswith("linux") and succeeds("exit 0", options=InNamespace.options)


def unprivileged(data_root: Path) -> pwd.struct_passwd:
    """Return the owner of the data directory if that is not root, else ``nobody``."""
    owner = data_root.stat().st_uid
    return pwd.getpwuid(owner) if owner else pwd.getpwnam("nobody")


def succeeds(script: str, *arguments: str, options: tuple[str, ...]) -> bool:
    """Tell whether a line of shell ends with 0 under the options of :mod:`trainyard.launch`."""
    command = bound(("/bin/sh", "-c", script, "sh", *arguments), parent=None, options=options)
    return subprocess.run(command, cwd="/", capture_output=True, check=False).returncode == 0
