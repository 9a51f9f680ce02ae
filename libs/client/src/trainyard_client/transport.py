"""One HTTP request to a service: key, repeats, idempotency, errors. With ``signing`` all here that knows requests.

A request is repeated when nobody answered or the service asked for it, and only when a repeat cannot do harm: GET, PUT
and DELETE are idempotent by themselves, a POST carries an ``Idempotency-Key``. Rows need none: the same body is the
same batch. A body that cannot be sent twice (standard input) is sent once.
"""

from __future__ import annotations

import ipaddress
import random
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
import requests.auth

from trainyard_client.errors import ApiError, ClientError, MisuseError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from trainyard.clock import Clock

_ATTEMPTS = 6
_CONNECT_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 5.0
_REPEATED_STATUSES = frozenset({429, 502, 503, 504})
_JSON = "application/json"
_DOWNLOAD_BYTES = 1 << 16
_MOST_KEY_CHARS = 255


@dataclass(frozen=True)
class Answer:
    """What a service answered: the status (2xx) and the JSON of the body, None without one."""

    status: int
    json: Any


class _Bearer(requests.auth.AuthBase):
    """Sets the key as the last thing, so that no ~/.netrc can put another in its place."""

    def __init__(self, key: str | None) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request


class Transport:
    """Requests to one address with one key. Not to be shared between threads.

    Args:
        auth: tells who asks in another way than by the key.
        attempts: how often a request is sent at most, where a repeat may help and cannot harm.
    """

    def __init__(
        self,
        base_url: str,
        key: str | None,
        *,
        clock: Clock,
        timeout: float,
        session: requests.Session | None = None,
        auth: requests.auth.AuthBase | None = None,
        attempts: int = _ATTEMPTS,
    ) -> None:
        host = _host_of(base_url)
        if host is None:
            raise MisuseError(f"{base_url!r} is not an address; give one like http://127.0.0.1:8080")
        if key and not (key.isascii() and key.isprintable()):
            raise MisuseError("the API key has characters that no API key has; was it copied whole?")
        self.base_url = base_url.rstrip("/")
        self._key = key
        self._clock = clock
        self._timeout = timeout
        self._session = session or requests.Session()
        self._auth = auth or _Bearer(key)
        self._attempts = attempts
        self._session.auth = self._auth
        self._session.headers["User-Agent"] = "trainyard-client"
        # A proxy of the environment must not be asked for the loopback.
        self._session.trust_env = not _is_loopback(host)

    def close(self) -> None:
        """Give connections back."""
        self._session.close()

    def twin(self, base_url: str | None = None, auth: requests.auth.AuthBase | None = None) -> Transport:
        """Return another one with the same adapters, for another thread, or for another address and who asks there."""
        session = requests.Session()
        for prefix, adapter in self._session.adapters.items():
            session.mount(prefix, adapter)
        session.verify, session.cert, session.proxies = self._session.verify, self._session.cert, self._session.proxies
        return Transport(
            base_url or self.base_url,
            self._key,
            clock=self._clock,
            timeout=self._timeout,
            session=session,
            auth=auth or self._auth,
            attempts=self._attempts,
        )

    def send(self, method: str, path: str, **arguments: Any) -> Any:
        """Send a request as :meth:`exchange` does and return the JSON of the answer (None when it has no body)."""
        return self.exchange(method, path, **arguments).json

    def exchange(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        data: Any = None,
        content_type: str | None = None,
        headers: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
        keyed: bool = True,
        rewind: Callable[[], object] | None = None,
        once: bool = False,
        timeout: float | None = None,
    ) -> Answer:
        """Send a request, again when that may help and cannot harm, and return the answer.

        Args:
            json, data: the body, as a value or as bytes, a file or an iterator of bytes with its ``content_type``.
            headers: more of them.
            idempotency_key: by default every POST gets one of its own, unless it is not ``keyed``.
            rewind: makes ``data`` readable from its start again.
            once: the body cannot be sent again.
            timeout: longest wait for the answer in seconds, other than the client's.

        Raises:
            ApiError: the service refused.
            UnreachableError: no answer.
            MisuseError: the key, the path or a parameter cannot be sent.
            ClientError: the body cannot be written as JSON (it holds a NaN).
        """
        sent = {"Accept": _JSON, **(headers or {})}
        if idempotency_key is None and keyed and method == "POST":
            idempotency_key = str(uuid.uuid4())
        if idempotency_key is not None:
            sent["Idempotency-Key"] = _checked_key(idempotency_key)
        if content_type:
            sent["Content-Type"] = content_type
        attempts = 1 if once else self._attempts
        for attempt in range(1, attempts + 1):
            if rewind is not None:
                rewind()
            last = attempt == attempts
            try:
                response = self._session.request(
                    method,
                    self.base_url + path,
                    params=params,
                    json=json,
                    data=data,
                    headers=sent,
                    timeout=(min(_CONNECT_SECONDS, self._timeout), timeout or self._timeout),
                    allow_redirects=False,
                )
            except requests.exceptions.InvalidJSONError as e:
                raise ClientError(f"a value cannot be sent as JSON: {e}") from e
            except UnicodeError as e:  # bytes of a command line that are no UTF-8
                raise MisuseError(f"the path or a parameter cannot be written as UTF-8: {e}") from e
            except requests.RequestException as e:
                if last:
                    raise UnreachableError(f"{self.base_url} does not answer ({_reason(e)})") from e
                self._pause(attempt, None)
                continue
            error = _error_in(response)
            if error is None:
                return Answer(response.status_code, _json_of(response))
            if last or not _asks_for_a_repeat(error):
                raise error
            self._pause(attempt, response.headers.get("Retry-After"))
        raise AssertionError("the loop ends by return or raise")

    def download(self, path: str, *, accept: str, headers: Mapping[str, str] | None = None) -> Iterator[bytes]:
        """Yield the body of a GET in blocks as they come; it is not asked for again.

        Raises:
            ApiError: the service refused, or sends something else than ``accept``.
            UnreachableError: no answer, or it broke off.
        """
        try:
            with self._session.get(
                self.base_url + path,
                headers={"Accept": accept, **(headers or {})},
                timeout=(_CONNECT_SECONDS, self._timeout),
                allow_redirects=False,
                stream=True,
            ) as response:
                error = _error_in(response)
                if error is not None:
                    raise error
                sent = response.headers.get("Content-Type", "").partition(";")[0].strip()
                if sent != accept:
                    raise ApiError(
                        response.status_code, "not_acceptable", f"the answer is {sent or 'nothing'}, not {accept}"
                    )
                yield from response.iter_content(_DOWNLOAD_BYTES)
        except requests.RequestException as e:
            raise UnreachableError(f"{self.base_url} does not answer ({_reason(e)})") from e

    def _pause(self, attempt: int, asked: str | None) -> None:
        if asked and asked.isascii() and asked.isdigit():
            seconds = float(asked)
        else:
            seconds = 0.1 * 2**attempt * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, no secret
        self._clock.sleep(min(seconds, _LONGEST_PAUSE_SECONDS))


def _host_of(address: str) -> str | None:
    """Return the host of an address, None when it is no address of a service."""
    try:
        parts = urlsplit(address)
        _ = parts.port  # looked at here for the first time
    except ValueError:
        return None
    return parts.hostname if parts.scheme in {"http", "https"} else None


def _checked_key(key: str) -> str:
    if not (key.isascii() and key.isprintable() and 1 <= len(key) <= _MOST_KEY_CHARS):
        raise MisuseError(f"an idempotency key takes 1 to {_MOST_KEY_CHARS} printable ASCII characters")
    return key


def _error_in(response: requests.Response) -> ApiError | None:
    if 200 <= response.status_code < 300:
        return None
    request_id = response.headers.get("X-Request-Id", "")
    try:
        error = response.json()["error"]
        details = [d for d in error.get("details") or [] if isinstance(d, dict)]
        return ApiError(response.status_code, str(error["code"]), str(error["message"]), details, request_id)
    except (ValueError, KeyError, TypeError, AttributeError):
        said = " ".join(response.text[:200].split()) or response.reason
        return ApiError(response.status_code, f"http_{response.status_code}", said, None, request_id)


def _asks_for_a_repeat(error: ApiError) -> bool:
    return error.status in _REPEATED_STATUSES or error.code == "in_progress"


def _json_of(response: requests.Response) -> Any:
    if not response.content:
        return None
    try:
        return response.json()
    except ValueError as e:
        raise ApiError(response.status_code, "not_json", "the answer is not JSON; is this a Trainyard address?") from e


def _reason(error: requests.RequestException) -> str:
    if isinstance(error, requests.ConnectTimeout | requests.ReadTimeout):
        return "timed out"
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not accepted"
    if isinstance(error, requests.ConnectionError):
        return "connection refused or broken"
    return type(error).__name__


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
