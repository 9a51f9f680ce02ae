"""The secrets of a stack of containers, each made once, in folders that become volumes of those who may read them.

``database``   password of Postgres, for its server, and the same as a libpq password file, for our services
``admin``      first admin API key; the scheduler registers it
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from trainyard import auth
from trainyard.private_files import keep_private, write_private

if TYPE_CHECKING:
    from pathlib import Path

DATABASE_USER = "trainyard"


def ensure(folder: Path) -> None:
    """Make what is missing in ``folder``; what is there stays as it is."""
    password = keep_private(folder / "database" / "password", lambda: secrets.token_hex(24))
    # The server runs as another user; only its container and ours have this volume.
    password.chmod(0o644)
    line = f"*:*:*:{DATABASE_USER}:{password.read_text(encoding='utf-8').strip()}\n"
    write_private(folder / "database" / "pgpass", line)
    keep_private(folder / "admin" / "key", auth.make_key)
