"""A service under test, as it runs, and how Schemathesis asks it: what all services have in common."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainyard.adapters.aws.clients import AwsClients
from trainyard.adapters.aws.ensure import AwsSetup
from trainyard.adapters.aws.s3 import S3Blobs
from trainyard.adapters.postgres.migrate import migrate
from trainyard.auth import make_key
from trainyard.config import load
from trainyard.testing.emulator import ACCESS_KEY, SECRET_KEY, AwsEmulator
from trainyard.testing.postgres import PostgresServer
from trainyard.testing.processes import answers, end, free_port, wait_until
from trainyard.testing.publishing import publish_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

HERE = Path(__file__).parent
SEED = 20_260_301
#: Statuses that refuse wrong data, and those that right data may be answered with: what it names need not be there.
_REFUSALS = ["400", "401", "403", "404", "409", "413", "414", "415", "422"]
_ACCEPTANCE = ["2xx", "404", "409", "422"]
_WITHOUT_KEY = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance"
)


@dataclass(frozen=True)
class Service:
    """The service under test, keys by name, and values that are there, by the parameter that takes them."""

    url: str
    keys: dict[str, str]
    known: dict[str, list[str]] = field(default_factory=dict)

    def ask(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Any:
        """Send one request with the key that may do everything."""
        headers = {"Authorization": f"Bearer {self.keys['all']}", "Content-Type": content_type}
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)  # noqa: S310 - our own
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - our own
            return json.loads(answer.read() or b"null") if "json" in answer.headers["Content-Type"] else answer.read()

    def answered(self) -> dict[str, int]:
        """Return how many requests the service has answered, by status."""
        counts: dict[str, int] = {}
        for line in self.ask("GET", "/metrics").decode().splitlines():
            if line.startswith("trainyard_http_requests_total") and (status := re.search(r'status="(\d+)"', line)):
                counts[status[1]] = counts.get(status[1], 0) + int(float(line.split()[-1]))
        return counts


@dataclass(frozen=True)
class Around:
    """What a service stands on: its environment, the bucket, and Postgres where it has one."""

    environment: dict[str, str]
    blobs: S3Blobs
    postgres: PostgresServer | None


@dataclass(frozen=True)
class Subject:
    """A service, and what a JSON schema cannot say of it.

    Attributes:
        name: of the service.
        running: runs it in a folder, with something in it.
        hooks: the file that makes what no schema describes; None: nothing.
        inexact: operations ("POST /v1/...") that refuse some data of the right shape with 400 as well.
        unbounded: operations that are not asked, because their answers have no end.
        keeps: whether what was deleted may still be looked at, because DELETE ends it and no more.
        examples: for each operation and phase, enough for 2,000 and for 20,000 requests.
    """

    name: str
    running: Callable[[Path], AbstractContextManager[Service]]
    hooks: Path | None
    inexact: Callable[[str, dict[str, Any]], bool]
    unbounded: frozenset[str] = frozenset()
    keeps: bool = False
    examples: tuple[int, int] = (90, 1_300)


@contextmanager
def around(folder: Path, *, database: bool) -> Iterator[Around]:
    """Run the emulator, and Postgres with its tables."""
    with ExitStack() as stack:
        emulator = AwsEmulator(folder / "aws")
        emulator.start()
        stack.callback(emulator.stop)
        environment = {
            **os.environ,
            **emulator.environment,
            "TRAINYARD_ENV": "test",
            "TRAINYARD_WORK_DIR": str(folder / "work"),
            "TRAINYARD_SPOOL_DIR": str(folder / "spool"),
        }
        postgres = None
        if database:
            postgres = PostgresServer(folder / "pg")
            postgres.start()
            stack.callback(postgres.stop)
            migrate(postgres.url())
            environment["TRAINYARD_DATABASE_URL"] = postgres.url()
        config = load(environment)
        clients = AwsClients(config, access_key=ACCESS_KEY, secret_key=SECRET_KEY)
        stack.callback(clients.close)
        AwsSetup(clients, config).ensure()
        yield Around(environment, S3Blobs(clients.s3, config.bucket), postgres)


@contextmanager
def serving(folder: Path, environment: dict[str, str], served: Sequence[str]) -> Iterator[str]:
    """Run gunicorn with the application and the options of ``served``; yield its address once it is ready."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", *served, "--bind", f"127.0.0.1:{port}"]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        wait_until(lambda: answers(f"{url}/readyz"), served[-1], seconds=40)
        yield url
    finally:
        end(process)


def service_keys(blobs: S3Blobs, every: tuple[str, ...], other: tuple[str, ...]) -> dict[str, str]:
    """Publish a key with ``every`` scope of the service and one with ``other`` ones; ``wrong`` is none of them."""
    return {**publish_keys(blobs, {"all": every, "none": other}), "wrong": make_key()}


def phases(folder: Path, subject: Subject, found: Service, examples: int, words: list[str]) -> list[dict[str, Any]]:
    """Run Schemathesis with every key; return what each run was answered, and whether it conformed."""
    keyless = ["--checks", _WITHOUT_KEY, "--phases", "coverage"]
    kept = ["--exclude-checks", "use_after_free"] if subject.keeps else []
    with_key = ["--checks", "all", *kept, "--max-examples", str(examples), *words]
    ran = []
    for name, key, options in (
        ("a key with every scope", found.keys["all"], with_key),
        ("a key with another scope", found.keys["none"], keyless),
        ("an unknown key", found.keys["wrong"], keyless),
        ("no key", None, keyless),
    ):
        before = found.answered()
        code = _schemathesis(folder, subject, found, key, *options)
        counts = {status: count - before.get(status, 0) for status, count in sorted(found.answered().items())}
        counts = {status: count for status, count in counts.items() if count}
        ran.append({"key": name, "conforms": code == 0, "requests": sum(counts.values()), "answers": counts})
    return ran


def _configuration(subject: Subject, found: Service) -> str:
    """Return the settings of Schemathesis: what a JSON schema cannot say of right data.

    Rows must fit their dataset's columns and columns each other (422), a key that was used once goes with its body,
    and what an operation calls inexact may be well-formed and still not what the service reads (400).
    """
    document = found.ask("GET", "/openapi.json")
    lines = [] if subject.hooks is None else [f"hooks = {json.dumps(str(subject.hooks))}"]
    for name, values in found.known.items():
        lines += [f"[dictionaries.{name}]", f"values = {json.dumps(values)}"]
    lines += ["[parameters]"]
    places = {
        (parameter["in"], parameter["name"])
        for operations in document["paths"].values()
        for operation in operations.values()
        for parameter in operation.get("parameters", ())
    }
    for place, name in sorted(places):
        if name in found.known:
            lines += [f'"{place}.{name}" = {{ dictionary = "{name}", probability = 0.6 }}']
    lines += ["[checks]", f"positive_data_acceptance.expected-statuses = {json.dumps(_ACCEPTANCE)}"]
    lines += [f"negative_data_rejection.expected-statuses = {json.dumps(_REFUSALS)}"]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            name = f"{method.upper()} {path}"
            if name in subject.unbounded:
                lines += ["[[operations]]", f"include-name = {json.dumps(name)}", "enabled = false"]
            elif subject.inexact(name, operation):
                allowed = json.dumps(["400", *_ACCEPTANCE])
                lines += ["[[operations]]", f"include-name = {json.dumps(name)}"]
                lines += [f"checks.positive_data_acceptance.expected-statuses = {allowed}"]
    return "\n".join(lines)


def _schemathesis(folder: Path, subject: Subject, found: Service, key: str | None, *words: str) -> int:
    """Run Schemathesis with a key; return its exit code."""
    settings = folder / "schemathesis.toml"
    settings.write_text(_configuration(subject, found))
    program = Path(sys.executable).with_name("schemathesis")
    command = [str(program), "--config-file", str(settings), "--no-color", "run", f"{found.url}/openapi.json"]
    header = ["--header", f"Authorization: Bearer {key}"] if key else []
    fixed = ["--seed", str(SEED), "--generation-database", "none", "--request-timeout", "60"]
    environment = os.environ | {"PYTHONPATH": str(HERE.parents[1])}  # its hooks are among our tests
    return subprocess.run([*command, *header, *fixed, *words], cwd=folder, env=environment, check=False).returncode
