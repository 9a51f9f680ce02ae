"""A console whose services answer what a real stack once did, and a browser without a network."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from trainyard import auth
from trainyard.clock import ManualClock
from trainyard.config import load
from trainyard.errors import ServiceError
from trainyard_console import use_cases
from trainyard_console.bootstrap import build_app
from trainyard_console.domain import Fetched

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

#: path -> what services answered in `make demo`, long lists cut
RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "answers.json").read_text(encoding="utf-8"))
#: every page, and the scope that it needs
PAGES = [
    ("/", "read"), ("/datasets", "read"), ("/datasets/flights", "read"), ("/datasets/flights/batches/BATCH", "read"),
    ("/datasets/flights/delete", "admin"),
    ("/datasets/flights/sources/new", "operate"), ("/datasets/flights/sources/new?kind=url", "operate"),
    ("/datasets/flights/sources/orders/delete", "operate"), ("/models/late/delete", "admin"),
    ("/operations/deployments", "read"),
    ("/datasets/new", "operate"), ("/models", "read"), ("/models/new", "operate"), ("/models/late", "read"),
    ("/models/late/decisions", "read"), ("/models/late/history", "read"), ("/models/late/policy", "read"),
    ("/models/late/versions/7", "read"), ("/models/late/versions/9/promote", "operate"),
    ("/models/late/versions/7/rollback", "operate"), ("/models/late/versions/9/shadow", "operate"),
    ("/models/late/compare?a=7&b=9", "read"), ("/runs", "read"), ("/runs/RUN", "read"),
    ("/runs/RUN/logs", "read"), ("/try", "read"),
    ("/try/late", "read"), ("/quality/late", "read"),
    ("/quality/late/predictions", "read"), ("/quality/late/predictions/PRED", "read"),
    ("/operations", "read"), ("/operations/fleet", "read"),
    ("/operations/queues/training", "read"), ("/operations/keys", "admin"), ("/operations/audit", "admin"),
    ("/operations/doctor", "admin"), ("/operations/doctor?look=1", "admin"),
    ("/operations/queues/training?look=1", "read"),
]  # fmt: skip


class Services:
    """The services: answers by path, replaceable, and everything that they were asked to change."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = dict(RECORDED)
        self.keys: dict[str, list[str]] = {}
        self.sent: list[tuple[str, str, str, Any]] = []
        self.repeats: list[str] = []
        self.refusal: ServiceError | None = None
        self.reply: dict[str, Any] = {}
        self.kinds: list[str] = []

    def key(self, *scopes: str) -> str:
        """Make a live key."""
        key = auth.make_key()
        self.keys[key] = list(scopes)
        return key

    def get(self, service: str, path: str, key: str | None, seconds: float = 2.0) -> Fetched:
        """Answer as the services do: by the key first."""
        if key not in self.keys:
            return Fetched(missing="does not know your API key", status=401)
        if path == "/v1/keys/self":
            return Fetched({"id": "0123456789abcdef", "name": "ann", "scopes": self.keys[key]})
        found = self.answers.get(path.partition("?")[0], Fetched(missing="has no such thing", status=404))
        return found if isinstance(found, Fetched) else Fetched(found)

    def send(self, method: str, service: str, path: str, key: str, *, body: Any = None, repeat: str = "") -> Any:
        """Note the change and answer ``reply`` by path, or refuse."""
        self.sent.append((method, service, path, body))
        self.repeats.append(repeat)
        if self.refusal is not None:
            raise self.refusal
        return self.reply.get(path)

    def upload(self, service: str, path: str, key: str, file: Any, content_type: str) -> Any:
        """Note the file's bytes."""
        data = file if isinstance(file, bytes) else file.read()
        return self.send("POST", service, path, key, body=(content_type, data))

    def events(self, key: str) -> Iterator[str]:
        """Tell the kinds, then break off."""
        yield from self.kinds
        raise ServiceError("unavailable", "broken off")


class Browser:
    """Somebody at a console."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client

    def sign_in(self, key: str) -> TestResponse:
        """Sign in with an API key."""
        return self.client.post("/sign-in", data={"key": key})

    def get(self, path: str, **options: Any) -> TestResponse:
        """Open a page."""
        return self.client.get(path, **options)

    def post(self, path: str, data: dict[str, Any] | None = None, *, form: str = "/", **options: Any) -> TestResponse:
        """Send a form, with the token that the page ``form`` carries."""
        csrf = re.search(r'name="csrf" value="([^"]+)"', self.client.get(form).text)
        assert csrf is not None
        return self.client.post(path, data={"csrf": csrf[1], "repeat": "r-1", **(data or {})}, **options)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages wait for every answer, however busy the machine is."""
    monkeypatch.setattr(use_cases, "GRACE_SECONDS", use_cases.DEADLINE_SECONDS)


@pytest.fixture
def services() -> Services:
    """The services of one test."""
    return Services()


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands still."""
    return ManualClock()


@pytest.fixture
def console_dir(tmp_path: Path) -> Path:
    """Where the console keeps its sessions."""
    return tmp_path / "console"


@pytest.fixture
def stranger(services: Services, clock: ManualClock, console_dir: Path) -> Browser:
    """Somebody who has not signed in."""
    config = load({"TRAINYARD_CONSOLE_DIR": str(console_dir)})
    return Browser(build_app(config, api=services, clock=clock).test_client())


@pytest.fixture
def admin(stranger: Browser, services: Services) -> Browser:
    """Somebody with an admin key."""
    assert stranger.sign_in(services.key("admin")).status_code == 303
    return stranger


@pytest.fixture
def viewer(stranger: Browser, services: Services) -> Browser:
    """Somebody who may only read."""
    assert stranger.sign_in(services.key("read")).status_code == 303
    return stranger
