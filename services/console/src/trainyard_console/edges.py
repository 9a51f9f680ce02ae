"""The services' HTTP APIs as the console reads them: short timeouts, bounded answers, reasons for exceptions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import requests

from trainyard import logs, strict_json
from trainyard.errors import ServiceError
from trainyard_console.domain import Fetched

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_CONNECT_SECONDS = 0.5
_READ_SECONDS = 2.0
_MOST_BYTES = 4 * 1024 * 1024
_REASONS = {401: "does not know the console's API key", 403: "refuses the console's API key", 404: "has no such page"}
_log = logs.get(__name__)


class HttpApi:
    """Reads with the key in ``key_file``, which is looked at each time: it may be written, or replaced, at any time."""

    def __init__(self, urls: Mapping[str, str], key_file: Path | None) -> None:
        self._urls = {name: url.rstrip("/") for name, url in urls.items()}
        self._key_file = key_file

    def get(self, service: str, path: str) -> Fetched:
        """Return the JSON at ``path``, or why there is none; never raises."""
        headers = {"Accept": "application/json"}
        if not path.startswith("/readyz"):
            key = self._key()
            if key is None:
                return Fetched(missing="cannot be asked: the console has no API key (TRAINYARD_CONSOLE_KEY_FILE)")
            headers["Authorization"] = f"Bearer {key}"
        try:
            return self._read(service, path, headers)
        except (requests.RequestException, OSError) as e:
            _log.info("console.not_answered", asked=service, path=path, reason=str(e))
            return Fetched(missing="does not answer")
        except (ServiceError, ValueError) as e:
            _log.warning("console.bad_answer", asked=service, path=path, reason=str(e))
            return Fetched(missing="answers something unexpected")

    def _read(self, service: str, path: str, headers: dict[str, str]) -> Fetched:
        # one connection per question: a pool would hand out connections that a restarted service has forgotten
        with requests.get(
            self._urls[service] + path,
            headers=headers,
            timeout=(_CONNECT_SECONDS, _READ_SECONDS),
            allow_redirects=False,
            stream=True,
        ) as response:
            expected = (200, 503) if path.startswith("/readyz") else (200,)
            if response.status_code not in expected:
                return Fetched(missing=_REASONS.get(response.status_code, f"answers {response.status_code}"))
            body = response.raw.read(_MOST_BYTES + 1, decode_content=True)
        if len(body) > _MOST_BYTES:
            return Fetched(missing="answers more than a page can show")
        return Fetched(strict_json.loads(body))

    def _key(self) -> str | None:
        if self._key_file is None:
            return None
        try:
            key = self._key_file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as e:
            _log.warning("console.no_key", file=self._key_file, reason=str(e))
            return None
        return key if key.isprintable() and key else None
