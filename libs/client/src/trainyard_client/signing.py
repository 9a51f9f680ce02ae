"""Requests signed with AWS credentials, for Lambda functions whose URL is open to IAM alone."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import requests
import requests.auth

from trainyard.adapters.slim.credentials import CredentialSource
from trainyard.adapters.slim.sigv4 import Credentials, query_string, signed
from trainyard.errors import TrainyardError
from trainyard_client.errors import MisuseError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trainyard.clock import Clock

_SERVICE = "lambda"
#: ``<id>.lambda-url.<region>.on.aws``
_URL_PARTS = 5


class Signature(requests.auth.AuthBase):
    """Signs each request as the last thing that happens to it, so that a repeat is signed anew.

    Args:
        credentials: called for each request; see :func:`credentials_of`.
    """

    def __init__(self, credentials: Callable[[], Credentials], region: str, clock: Clock) -> None:
        self._credentials = credentials
        self._region = region
        self._clock = clock

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        parts = urlsplit(str(request.url))
        query = query_string(parse_qsl(parts.query, keep_blank_values=True))
        body = request.body or b""
        headers = {"host": parts.netloc}
        if "Content-Type" in request.headers:
            headers["content-type"] = str(request.headers["Content-Type"])
        request.headers.update(
            signed(
                self._credentials(),
                str(request.method),
                parts.path,
                query=query,
                headers=headers,
                body=body.encode() if isinstance(body, str) else body,
                region=self._region,
                service=_SERVICE,
                at=self._clock.now(),
            )
        )
        return request


def region_of(url: str) -> str | None:
    """Return the region that the URL of a function names, None when it names none."""
    parts = (urlsplit(url).hostname or "").split(".")
    return parts[2] if len(parts) == _URL_PARTS and parts[1] == "lambda-url" else None


def credentials_of(environ: Mapping[str, str], clock: Clock) -> Callable[[], Credentials]:
    """Return a function that gives live credentials.

    People keep them in profiles and get them by single sign-on, which botocore reads, where it is installed (``pip
    install 'trainyard-client[deploy]'``). Without it they come from the environment, the container or the instance.

    Raises (the function):
        MisuseError: there are none.
    """
    try:
        session = importlib.import_module("botocore.session").get_session()
    except ModuleNotFoundError:
        source = CredentialSource(environ, clock)

        def found() -> Credentials:
            try:
                return source.get()
            except TrainyardError as e:
                raise MisuseError(f"a request cannot be signed: {e}") from e

        return found

    def held() -> Credentials:
        try:
            kept: Any = session.get_credentials()
            frozen = None if kept is None else kept.get_frozen_credentials()
        except Exception as e:  # whatever a profile, a process or single sign-on answers
            raise MisuseError(f"a request cannot be signed: {e}") from e
        if frozen is None:
            raise MisuseError("a request cannot be signed: no AWS credentials; try: aws sts get-caller-identity")
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token)

    return held
