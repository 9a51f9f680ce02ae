"""Which services a command talks to, and with which key: options, then the environment, then the local stack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from trainyard_client.errors import UnreachableError

if TYPE_CHECKING:
    from trainyard.config import Config

_READY_FILE = Path("run") / "ready.json"


def resolve(config: Config, url: str | None, key: str | None) -> tuple[str, str | None]:
    """Return the address and the API key.

    The local stack's own key goes to the local stack only, never to an address that somebody named.

    Args:
        url, key: what the options say, if they do.

    Raises:
        UnreachableError: no address is given and no local stack runs.
    """
    local_url, key_file = _local_stack(config.data_dir)
    wanted = url or config.url or local_url
    if wanted is None:
        raise UnreachableError(f"no stack runs in {config.data_dir} and no other address is given")
    secret = key or config.api_key
    if secret is None and key_file is not None and local_url is not None and wanted.rstrip("/") == local_url:
        secret = _read(key_file)
    return wanted, secret


def _local_stack(data_dir: Path) -> tuple[str | None, Path | None]:
    """Return address and admin key file of the stack that is ready in the data directory, or two times None."""
    try:
        ready = json.loads((data_dir / _READY_FILE).read_text(encoding="utf-8"))
        return str(ready["url"]).rstrip("/"), Path(ready["admin_key_file"])
    except (OSError, ValueError, KeyError, TypeError):
        return None, None  # nothing runs there, or it stops just now


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None  # another user's stack: the service will ask for a key and say so
