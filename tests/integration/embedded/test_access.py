"""Every route of every service, with no key, a key that lacks the scope, and one that was revoked; also by the router.

The routes come from the tables that the services answer by and from their OpenAPI documents, so a route that is added
is asked here as well; what answers without a key is listed below and nowhere else.
"""

from __future__ import annotations

import itertools
import json
import re
import threading
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest
from werkzeug.test import Client

import trainyard_console.bootstrap
import trainyard_ingest.bootstrap
import trainyard_predictor.bootstrap
import trainyard_scheduler.bootstrap
from trainyard.adapters.aws.s3 import S3Blobs
from trainyard.auth import SCOPES, make_key
from trainyard.clock import SystemClock
from trainyard.config import load
from trainyard.testing.emulator import ACCESS_KEY, SECRET_KEY
from trainyard.testing.fakes.queue import MemoryQueue
from trainyard.testing.processes import wait_until
from trainyard.testing.publishing import publish_keys
from trainyard_embedded.router.routes import parse
from trainyard_predictor.handler import Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from flask import Flask
    from werkzeug.test import TestResponse

    from trainyard.adapters.aws.clients import AwsClients
    from trainyard.adapters.aws.ensure import AwsSetup
    from trainyard.config import Config
    from trainyard_predictor.handler import Handler

OPERATIONS = {"/healthz", "/readyz", "/metrics", "/openapi.json"}
#: What answers without a key: the operations of each service, what foreign protocols ask for their health by, and how
#: one signs in to the console. Its pages ask for a session instead of a key.
PUBLIC = {
    "ingest": OPERATIONS,
    "scheduler": OPERATIONS,
    "predictor": OPERATIONS | {"/v2/health/live", "/v2/health/ready", "/ping", "/health", "/execution-parameters"},
    "console": OPERATIONS | {"/sign-in", "/sign-in/link", "/static/{name}"},
}
ROUTES = parse(files("trainyard_embedded.router").joinpath("routes.toml").read_text(encoding="utf-8"))
_PLACE = re.compile(r"[<{](?:\w+:)?(\w+)[>}]")


@dataclass(frozen=True)
class Operation:
    """One method of one path, and the scope that its service's document asks for."""

    service: str
    method: str
    path: str
    scope: str | None

    def __str__(self) -> str:
        return f"{self.service}: {self.method} {self.path}"


@dataclass(frozen=True)
class Yard:
    """All services in this process, keys by what they lack, and the routes that each answers by."""

    clients: dict[str, Client]
    tables: dict[str, set[tuple[str, str]]]
    blobs: S3Blobs
    keys: dict[str, str]

    def ask(self, service: str, method: str, path: str, key: str | None = None) -> TestResponse:
        """Ask a service, with values for whatever the path leaves open."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        url = _PLACE.sub("1", path)
        here = {"REMOTE_ADDR": "127.0.0.1"}
        client = self.clients[service]
        return client.open(url, method=method, base_url="http://127.0.0.1", headers=headers, environ_base=here)

    def by_router(self, method: str, path: str, key: str | None = None) -> TestResponse:
        """Ask whichever service the router's table names."""
        target = ROUTES.target(_PLACE.sub("1", path))
        return self.ask(target.service, method, target.path, key)

    def operations(self) -> list[Operation]:
        """Return what the documents describe."""
        found = []
        for service in self.clients:
            paths = self.ask(service, "GET", "/openapi.json").get_json()["paths"]
            for path, methods in paths.items():
                for method, described in methods.items():
                    scopes = [scope for one in described["security"] for scope in one["key"]]
                    assert len(scopes) == len(described["security"]) <= 1, (service, path)
                    found.append(Operation(service, method.upper(), path, *(scopes or [None])))
        return found


def _flask_table(app: Flask) -> set[tuple[str, str]]:
    return {
        (method, _PLACE.sub(r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


def _carried(handler: Handler) -> WSGIApplication:
    """Return the predictor's handler as the other services are; how it is carried in earnest is tested elsewhere."""

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        headers = {name[5:].replace("_", "-").lower(): text for name, text in environ.items() if name[:5] == "HTTP_"}
        answer = handler.handle(Request(environ["REQUEST_METHOD"], environ["PATH_INFO"], "", headers))
        start_response(f"{answer.status} ", list(answer.headers.items()))
        return [answer.body]

    return application


@pytest.fixture
def yard(
    aws_clients: AwsClients, aws_setup: AwsSetup, aws_environment: dict[str, str], database_url: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Yard]:  # fmt: skip
    """All four services on one bucket and one database, as their entries put them together."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    config: Config = load(
        {
            **aws_environment,
            "TRAINYARD_DATABASE_URL": database_url,
            "TRAINYARD_SPOOL_DIR": str(tmp_path / "spool"),
            "TRAINYARD_WORK_DIR": str(tmp_path / "work"),
        }
    )
    blobs = S3Blobs(aws_clients.s3, config.bucket)
    lacking = {scope: [other for other in SCOPES if other not in _carriers(scope)] for scope in SCOPES}
    keys = publish_keys(blobs, {**lacking, "every": SCOPES})
    stop = threading.Event()
    apps = {
        "ingest": trainyard_ingest.bootstrap.build_app(config),
        "scheduler": trainyard_scheduler.bootstrap.build_app(config, stop),
        "console": trainyard_console.bootstrap.build_app(config),
    }
    predictor = trainyard_predictor.bootstrap.build(config, blobs=blobs, queue=MemoryQueue(SystemClock()))
    predictor.background.start()
    clients = {name: Client(app) for name, app in apps.items()}
    clients["predictor"] = Client(_carried(predictor.handler))
    tables = {name: _flask_table(app) for name, app in apps.items()}
    tables["predictor"] = {(route.method, route.path) for route in predictor.handler.routes.all()}
    yield Yard(clients, tables, blobs, keys)
    stop.set()
    predictor.background.close()


def _carriers(scope: str) -> set[str]:
    """Return the scopes that carry another one."""
    return {scope, "admin", *(["operate"] if scope == "read" else [])}


def _code(answer: TestResponse) -> Any:
    """Return the error code, in whichever form the protocol has it."""
    said: Any = json.loads(answer.data)
    error = said.get("error")
    return error["code"] if isinstance(error, dict) else error or said.get("message")


def test_documents_and_route_tables_say_the_same(yard: Yard) -> None:
    """Every route that a service answers by is in its document, and nothing else."""
    for service, table in yard.tables.items():
        described = {(one.method, one.path) for one in yard.operations() if one.service == service}
        assert described == table, service


def test_what_is_public_is_listed_here(yard: Yard) -> None:
    """A document asks for no key exactly where this test says so; what is public only reads, or signs in."""
    keyless = [one for one in yard.operations() if one.scope is None]
    open_to_all = [one for one in keyless if not _sends_to_sign_in(yard, one)]
    assert {name: {one.path for one in open_to_all if one.service == name} for name in PUBLIC} == PUBLIC
    assert {one.path for one in open_to_all if one.method != "GET"} == {"/sign-in"}
    for one in open_to_all:
        if one.path != "/sign-in/link":  # its query is the key
            assert yard.ask(one.service, "GET", one.path).status_code not in {401, 403}, one


def _sends_to_sign_in(yard: Yard, one: Operation) -> bool:
    """Tell whether a page of the console asks who is there first."""
    answer = yard.ask(one.service, one.method, one.path)
    asks = answer.status_code == 303 and answer.headers["Location"].partition("?")[0] == "/sign-in"
    return asks and not one.path.startswith("/sign-in")


def test_without_a_live_key_everything_else_is_refused(yard: Yard) -> None:
    """401 for each, asked directly and by way of the router; also for HEAD where GET is taken."""
    closed = [one for one in yard.operations() if one.scope is not None]
    for one, key in itertools.product(closed, (None, make_key(), "nonsense")):
        for answer in (yard.ask(one.service, one.method, one.path, key), yard.by_router(one.method, one.path, key)):
            assert answer.status_code == 401, one
            assert answer.headers["WWW-Authenticate"] == "Bearer", one
        if one.method == "GET":
            assert yard.ask(one.service, "HEAD", one.path, key).status_code in {401, 405}, one


def test_a_key_without_the_scope_is_refused(yard: Yard) -> None:
    """403 from a key that carries every scope but those that would do."""
    closed = [one for one in yard.operations() if one.scope is not None]
    assert {one.scope for one in closed} <= set(SCOPES)
    for one in closed:
        key = yard.keys[str(one.scope)]
        for answer in (yard.ask(one.service, one.method, one.path, key), yard.by_router(one.method, one.path, key)):
            assert answer.status_code == 403, (one, answer.data[:300])
            assert "scope" in str(_code(answer)), one


def test_a_revoked_key_is_refused(yard: Yard) -> None:
    """401 everywhere, within the 10 s that are promised, once the key is no longer published."""
    key = yard.keys["every"]
    closed = [one for one in yard.operations() if one.scope is not None]
    for one in {one.service: one for one in closed}.values():
        assert yard.ask(one.service, "GET", one.path, key).status_code not in {401, 403}, one
    publish_keys(yard.blobs, {"another": SCOPES})
    for one in {one.service: one for one in closed if one.method == "GET"}.values():
        wait_until(
            lambda one=one: yard.ask(one.service, "GET", one.path, key).status_code == 401, one.service, seconds=10
        )
    for one in closed:
        assert yard.ask(one.service, one.method, one.path, key).status_code == 401, one


def test_the_router_leads_each_route_to_its_service_alone(yard: Yard) -> None:
    """What a service answers at its own address it answers at the router's; operations by their prefix only."""
    for one in yard.operations():
        if one.path in OPERATIONS:
            path = f"/-/{one.service}{one.path}"
            assert ROUTES.target(path).service == one.service
            assert yard.by_router(one.method, path).status_code != 404, one
        else:
            assert ROUTES.target(_PLACE.sub("1", one.path)).service == one.service, one
            assert yard.by_router(one.method, f"/-/{one.service}{_PLACE.sub('1', one.path)}").status_code == 404, one
