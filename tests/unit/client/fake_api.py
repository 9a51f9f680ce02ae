"""A service for client tests: gives the answers that a test chooses, without sockets, and keeps what it was asked."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import requests
from requests.adapters import BaseAdapter

URL = "http://trainyard.test"


@dataclass
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    url: str

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class FakeApi(BaseAdapter):
    """``answers[(method, path)]`` is a list of answers given one after the other, the last one for ever.

    An answer is a JSON value (200), ``(status, JSON value)``, ``(status, JSON value, headers)``, or an exception.
    """

    answers: dict[tuple[str, str], list[Any]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def on(self, method: str, path: str, *answers: Any) -> FakeApi:
        """Say what a route answers."""
        self.answers[method, path] = list(answers)
        return self

    def session(self) -> requests.Session:
        """Return a session whose requests come here."""
        session = requests.Session()
        session.mount("http://", self)
        session.mount("https://", self)
        return session

    def paths(self) -> list[str]:
        """Return ``METHOD path`` of every request."""
        return [f"{one.method} {one.path}" for one in self.asked]

    def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:
        """Answer one request."""
        parts = urlsplit(request.url or "")
        path = unquote(parts.path)
        self.asked.append(
            Asked(
                request.method or "",
                path,
                dict(parse_qsl(parts.query)),
                dict(request.headers),
                _read(request.body),
                request.url or "",
            )
        )
        queue = self.answers.get((request.method or "", path))
        answer = (404, {"error": {"code": "not_found", "message": f"no route {path}", "details": []}})
        if queue:
            answer = queue.pop(0) if len(queue) > 1 else queue[0]
        if isinstance(answer, Exception):
            raise answer
        status, value, *rest = answer if isinstance(answer, tuple) else (200, answer)
        response = requests.Response()
        response.status_code = status
        response.request = request
        response.url = request.url or ""
        response.headers.update(rest[0] if rest else {})
        response._content = value if isinstance(value, bytes) else b"" if value is None else json.dumps(value).encode()
        response._content_consumed = True
        return response

    def close(self) -> None:
        """Do nothing."""


def _read(body: Any) -> bytes:
    if body is None:
        return b""
    if isinstance(body, str):
        return body.encode()
    if isinstance(body, bytes):
        return body
    if hasattr(body, "read"):
        return body.read()
    return b"".join(body)


def error(code: str, message: str = "no", details: list[dict] | None = None) -> dict:
    """Return the JSON of an error answer."""
    return {"error": {"code": code, "message": message, "details": details or []}}


def page(*items: dict, cursor: str | None = None) -> dict:
    """Return the JSON of one page of a list."""
    return {"items": list(items), "next_cursor": cursor}
