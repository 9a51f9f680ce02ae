"""Signing in, and asking the services: many questions at once, giving up on those that take too long."""

from __future__ import annotations

import secrets
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any, Protocol

from trainyard.auth import Principal, parse_key
from trainyard.errors import ServiceError
from trainyard_console.domain import Fetched, Visitor

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from concurrent.futures import Executor
    from datetime import datetime

    from trainyard.clock import Clock
    from trainyard.private_records import PrivateRecords

#: For all questions of one round together.
DEADLINE_SECONDS = 3.0
#: For a question that the first sight of a page does not wait for, beyond the others.
GRACE_SECONDS = 0.05
#: For a question that takes its time, while the page is there already.
PATIENCE_SECONDS = 30.0
SESSION_SECONDS = 12 * 3600.0
#: question -> (service, path)
Questions = dict[str, tuple[str, str]]
#: question -> answer
Answers = dict[str, Fetched]


class Api(Protocol):
    """The services' HTTP APIs."""

    def get(self, service: str, path: str, key: str | None, seconds: float = ...) -> Fetched:
        """Return the JSON that a service answers within so many seconds, or why there is none; never raises."""
        ...

    def send(self, method: str, service: str, path: str, key: str, *, body: Any = None, repeat: str = "") -> Any:
        """Change something: send JSON, or a file with its ``content_type``, and return the JSON of the answer.

        ``repeat`` goes along as the Idempotency-Key of a POST.

        Raises:
            ServiceError: as the service refused, or ``unavailable``.
        """
        ...

    def upload(self, service: str, path: str, key: str, file: Any, content_type: str) -> Any:
        """Send a file and return the JSON of the answer; raises as :meth:`send` does."""
        ...

    def events(self, key: str) -> Iterator[str]:
        """Yield the kind of each event as it happens, and "" now and then.

        Raises:
            ServiceError: nobody answers, or not any more.
        """
        ...


class Visit:
    """One request of somebody who is signed in: what it asks the services goes with the visitor's own key."""

    def __init__(self, visitor: Visitor, api: Api, pool: Executor, now: datetime) -> None:
        self.visitor = visitor
        self.now = now
        self._api = api
        self._pool = pool

    def ask(self, questions: Mapping[str, tuple[str, str]], *, hasty: Collection[str] = ()) -> Answers:
        """Return the answers by question; whatever does not answer is told as such.

        ``hasty`` questions get no more time than the others take, and a moment: their answers may be ``late``.

        Raises:
            ServiceError: ``bad_key``: the key is not in force any more.
        """
        key = self.visitor.key
        futures: dict[str, Future[Fetched]] = {
            question: self._pool.submit(self._api.get, service, path, key)
            for question, (service, path) in questions.items()
        }
        wait([future for question, future in futures.items() if question not in hasty], timeout=DEADLINE_SECONDS)
        if hasty:
            wait([futures[question] for question in hasty], timeout=GRACE_SECONDS)
        for future in futures.values():
            future.cancel()  # what has not begun need not begin
        answers = {
            question: future.result() if future.done() and not future.cancelled() else _unanswered(question in hasty)
            for question, future in futures.items()
        }
        if any(answer.status == 401 for answer in answers.values()):
            raise _key_is_gone()
        return answers

    def wait_for(self, service: str, path: str) -> Fetched:
        """Return an answer that may take long: for a part of a page that comes after the page itself.

        Raises:
            ServiceError: ``bad_key``: the key is not in force any more.
        """
        answer = self._api.get(service, path, self.visitor.key, PATIENCE_SECONDS)
        if answer.status == 401:
            raise _key_is_gone()
        return answer

    def need(self, service: str, path: str, code: str, words: str) -> dict[str, Any]:
        """Return the answer that the page is about.

        Raises:
            ServiceError: ``code``, with ``words``, when there is no such thing; else why it cannot be shown.
        """
        answer = self.ask({"it": (service, path)})["it"]
        if answer.status in {400, 404}:
            raise ServiceError(code, words)
        if answer.status == 403:
            raise ServiceError("wrong_scope", "your API key may not see this")
        if answer.missing is not None or not isinstance(answer.value, dict):
            raise ServiceError("unavailable", f"{service} {answer.missing or 'answers something unexpected'}")
        return answer.value

    def act(self, method: str, service: str, path: str, *, body: Any = None, repeat: str = "") -> Any:
        """Change something by a service's API; raises ``ServiceError`` as the service refuses."""
        return self._api.send(method, service, path, self.visitor.key, body=body, repeat=repeat)

    def upload(self, service: str, path: str, file: Any, content_type: str) -> Any:
        """Send a file to a service; raises ``ServiceError`` as the service refuses."""
        return self._api.upload(service, path, self.visitor.key, file, content_type)


def _unanswered(late: bool) -> Fetched:
    return Fetched(missing="is being asked", late=True) if late else Fetched(missing="takes too long")


def _key_is_gone() -> ServiceError:
    return ServiceError("bad_key", "the API key that you signed in with is not in force any more")


class Door:
    """Lets people in, with an API key or a one-time link, and remembers them for a working day."""

    def __init__(self, api: Api, sessions: PrivateRecords, links: PrivateRecords, clock: Clock, pool: Executor) -> None:
        self._api = api
        self._sessions = sessions
        self._links = links
        self._clock = clock
        self._pool = pool

    def enter(self, key: str) -> str:
        """Begin a session with an API key; return its token.

        Raises:
            ServiceError: ``bad_key``, ``wrong_scope``, or ``unavailable``.
        """
        key = key.strip()
        if parse_key(key) is None:
            raise ServiceError("bad_key", "that is not a whole API key; one looks like ty_1a2b…")
        answer = self._api.get("scheduler", "/v1/keys/self", key)
        if answer.status == 401:
            raise ServiceError("bad_key", "this API key is unknown, expired or revoked")
        if answer.status == 403:
            raise ServiceError("wrong_scope", "this API key may not read; the console needs the scope read")
        known = answer.value
        if answer.missing is not None or not isinstance(known, dict) or not isinstance(known.get("scopes"), list):
            raise ServiceError("unavailable", f"the scheduler {answer.missing or 'answers something unexpected'}")
        record = {
            "key": key,
            "key_id": str(known.get("id")),
            "name": str(known.get("name"))[:100],
            "scopes": [str(scope) for scope in known["scopes"]],
            "csrf": secrets.token_urlsafe(32),
        }
        return self._sessions.put(record, seconds=SESSION_SECONDS)

    def enter_by_link(self, once: str) -> str:
        """Begin a session with a one-time link, which is used up by that; return its token.

        Raises:
            ServiceError: ``bad_key``: it was used before, or is too old.
        """
        found = self._links.take(once)
        if found is None:
            raise ServiceError("bad_key", "this link was used before, or is too old; make another: trainyard console")
        return self.enter(str(found.get("key")))

    def visit(self, token: str | None) -> Visit | None:
        """Return the visit of whoever has this session; None when nobody has."""
        record = self._sessions.get(token) if token else None
        if record is None or token is None:
            return None
        principal = Principal(record["key_id"], frozenset(record["scopes"]))
        visitor = Visitor(token, record["key"], record["name"], principal, record["csrf"])
        return Visit(visitor, self._api, self._pool, self._clock.now())

    def leave(self, token: str) -> None:
        """End a session."""
        self._sessions.drop(token)
