"""The services' HTTP APIs as the console calls them: short timeouts, bounded answers, reasons instead of exceptions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import requests

from trainyard import logs, strict_json
from trainyard.errors import CODES, Problem, ServiceError
from trainyard_console.domain import Fetched

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CONNECT_SECONDS = 0.5
_READ_SECONDS = 2.0
#: For a change: whoever asked for it waits rather than not knowing what became of it.
_CHANGE_SECONDS = 30.0
_UPLOAD_SECONDS = 600.0
#: Streams say something every 15 s.
_SILENCE_SECONDS = 40.0
_MOST_BYTES = 4 * 1024 * 1024
_REASONS = {401: "does not know your API key", 403: "does not show this to your API key", 404: "has no such thing"}
_log = logs.get(__name__)


class HttpApi:
    """Calls services with the key of whoever looks."""

    def __init__(self, urls: Mapping[str, str]) -> None:
        self._urls = {name: url.rstrip("/") for name, url in urls.items()}

    def get(self, service: str, path: str, key: str | None, seconds: float = _READ_SECONDS) -> Fetched:
        """Return the JSON at ``path``, or why there is none; never raises."""
        expected = (200, 503) if path.startswith("/readyz") else (200,)
        try:
            # one connection per question: a pool would hand out connections that a restarted service has forgotten
            with requests.get(
                self._urls[service] + path,
                headers=_headers(key),
                timeout=(_CONNECT_SECONDS, seconds),
                allow_redirects=False,
                stream=True,
            ) as response:
                status = response.status_code
                if status not in expected:
                    return Fetched(missing=_REASONS.get(status, f"answers {status}"), status=status)
                return Fetched(_json(response), status=status)
        except (requests.RequestException, OSError) as e:
            _log.info("console.not_answered", asked=service, path=path, reason=str(e))
            return Fetched(missing="does not answer", status=503)
        except (ServiceError, ValueError) as e:
            _log.warning("console.bad_answer", asked=service, path=path, reason=str(e))
            large = isinstance(e, ServiceError) and e.code == "too_large"
            return Fetched(
                missing=f"answers {'more than a page can show' if large else 'something unexpected'}", status=502
            )

    def send(self, method: str, service: str, path: str, key: str, *, body: Any = None, repeat: str = "") -> Any:
        """Change something; return the JSON of the answer, None without one.

        Raises:
            ServiceError: as the service refused, or ``unavailable``.
        """
        headers = {**_headers(key), **({"Idempotency-Key": repeat} if repeat else {})}
        return self._exchange(method, service, path, headers, _CHANGE_SECONDS, json=body)

    def upload(self, service: str, path: str, key: str, file: Any, content_type: str) -> Any:
        """Send a file; raises as :meth:`send` does."""
        headers = {**_headers(key), "Content-Type": content_type}
        return self._exchange("POST", service, path, headers, _UPLOAD_SECONDS, data=file)

    def _exchange(
        self, method: str, service: str, path: str, headers: dict[str, str], seconds: float, **body: Any
    ) -> Any:
        try:
            with requests.request(
                method,
                self._urls[service] + path,
                headers=headers,
                timeout=(_CONNECT_SECONDS, seconds),
                allow_redirects=False,
                stream=True,
                **body,
            ) as response:
                if not 200 <= response.status_code < 300:
                    raise _refusal(service, response)
                return None if response.status_code == 204 else _json(response)
        except (requests.RequestException, OSError) as e:
            _log.warning("console.not_answered", asked=service, path=path, reason=str(e))
            raise ServiceError(
                "unavailable", f"{service} does not answer; look whether it was done, then repeat"
            ) from e

    def events(self, key: str) -> Iterator[str]:
        """Yield the kind of each event that the scheduler tells, and "" for its signs of life.

        Raises:
            ServiceError: as the scheduler refused, or ``unavailable``.
        """
        url = self._urls["scheduler"] + "/v1/events"
        try:
            with requests.get(
                url, headers=_headers(key), timeout=(_CONNECT_SECONDS, _SILENCE_SECONDS), stream=True
            ) as response:
                if response.status_code != 200:
                    raise _refusal("scheduler", response)
                for line in response.iter_lines(chunk_size=1):
                    if line.startswith(b"event: "):
                        yield line[7:].decode("utf-8", "replace")
                    elif line.startswith(b":"):
                        yield ""
        except (requests.RequestException, OSError) as e:
            raise ServiceError("unavailable", "the scheduler's events have broken off") from e


def _headers(key: str | None) -> dict[str, str]:
    return {"Accept": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})


def _json(response: requests.Response) -> Any:
    body = response.raw.read(_MOST_BYTES + 1, decode_content=True)
    if len(body) > _MOST_BYTES:
        raise ServiceError("too_large", "the answer is more than a page can show")
    return strict_json.loads(body)


def _refusal(service: str, response: requests.Response) -> ServiceError:
    """Return what a service refused with; of an answer without our error form, that it came."""
    try:
        error = _json(response)["error"]
        details = [
            Problem(one.get("row"), one.get("column"), str(one.get("expected")), str(one.get("got")))
            for one in error.get("details") or ()
        ]
        if error["code"] in CODES:
            return ServiceError(error["code"], str(error["message"]), details)
    except (ServiceError, ValueError, KeyError, TypeError, AttributeError) as e:
        _log.warning("console.bad_answer", asked=service, status=response.status_code, reason=str(e))
    return ServiceError("unavailable", f"{service} answers {response.status_code}")
