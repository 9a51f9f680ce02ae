"""``make api``: the ingest service, as it runs, against its own ``/openapi.json``, by Schemathesis.

Every check is on: statuses, content types and schemas of the answers, wrong data refused and right data taken, wrong
methods, missing keys, sequences of requests. ``--full`` asks for ten times as many requests and writes
``docs/evidence/api.md``. Exit code 1: an answer did not conform, or there were fewer requests than asked for.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2

from trainyard.adapters.aws.clients import AwsClients
from trainyard.adapters.aws.ensure import AwsSetup
from trainyard.adapters.aws.s3 import S3Blobs
from trainyard.adapters.postgres.engine import make_engine
from trainyard.adapters.postgres.migrate import migrate
from trainyard.adapters.postgres.prediction_log import PostgresPredictionLog
from trainyard.auth import KEYS_OBJECT, LiveKey, encode_keys, make_key, parse_key
from trainyard.clock import SystemClock
from trainyard.config import load
from trainyard.contracts.prediction_log import Prediction
from trainyard.testing.emulator import ACCESS_KEY, SECRET_KEY, AwsEmulator
from trainyard.testing.postgres import PostgresServer
from trainyard.testing.processes import GUNICORN, answers, end, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
EVIDENCE = ROOT / "docs" / "evidence" / "api.md"
SEED = 20_260_301
#: Requests that there must be at least, and the examples of each operation and phase that are enough for them.
CI, FULL = (2_000, 90), (20_000, 1_300)
SCOPES = {"all": ("admin", "operate", "ingest", "read", "feedback"), "none": ("predict",)}
#: Statuses that refuse wrong data.
_REFUSALS = ["400", "401", "403", "404", "409", "413", "415", "422"]
#: Routes whose bodies hold what no schema can judge: numbers beyond all that are taken, addresses that are refused.
_FREE = {"/v1/feedback", "/v1/datasets/{name}/sources/{source}"}
_WITHOUT_KEY = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance"
)
_COLUMNS = [{"name": "id", "type": "int", "role": "key", "nullable": False}, {"name": "x", "type": "float"}]


@dataclass(frozen=True)
class Service:
    """The service under test, keys by name, and values that are there, by the parameter that takes them."""

    url: str
    keys: dict[str, str]
    known: dict[str, list[str]]

    def ask(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Any:
        """Send one request with the key that may do everything."""
        headers = {"Authorization": f"Bearer {self.keys['all']}", "Content-Type": content_type}
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)  # noqa: S310 - our own
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - our own
            return json.loads(answer.read() or b"null") if "json" in answer.headers["Content-Type"] else answer.read()


@contextmanager
def service(folder: Path) -> Iterator[Service]:
    """Run gunicorn on Postgres and the emulator, with a dataset, a model and a prediction."""
    postgres, emulator = PostgresServer(folder / "pg"), AwsEmulator(folder / "aws")
    postgres.start()
    emulator.start()
    process = None
    try:
        migrate(postgres.url())
        environment = {
            **os.environ,
            **emulator.environment,
            "TRAINYARD_ENV": "test",
            "TRAINYARD_DATABASE_URL": postgres.url(),
            "TRAINYARD_WORK_DIR": str(folder / "work"),
        }
        keys = _publish(environment)
        port = free_port()
        command = [sys.executable, "-m", *GUNICORN, "--bind", f"127.0.0.1:{port}", "trainyard_ingest.wsgi:app()"]
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen(
                command,
                env=environment,
                stdout=log,
                stderr=log,
            )
        found = Service(f"http://127.0.0.1:{port}", keys, {"name": ["shop"], "model": ["buys"]})
        wait_until(lambda: answers(f"{found.url}/readyz"), "the ingest service", seconds=40)
        _fill(found, postgres)
        yield found
    finally:
        if process is not None:
            end(process)
        emulator.stop()
        postgres.stop()


def _publish(environment: dict[str, str]) -> dict[str, str]:
    config = load(environment)
    clients = AwsClients(config, access_key=ACCESS_KEY, secret_key=SECRET_KEY)
    AwsSetup(clients, config).ensure()
    keys = {name: make_key() for name in SCOPES}
    live = []
    for name, scopes in SCOPES.items():
        parsed = parse_key(keys[name])
        assert parsed is not None
        live.append(LiveKey(parsed.key_id, parsed.secret_sha256, scopes, None))
    S3Blobs(clients.s3, config.bucket).put(KEYS_OBJECT, encode_keys(live))
    clients.close()
    return {**keys, "wrong": make_key()}


def _fill(found: Service, postgres: PostgresServer) -> None:
    found.ask("PUT", "/v1/datasets/shop", {"columns": _COLUMNS})
    batch = found.ask("POST", "/v1/datasets/shop/rows", b"id,x\n" + b"1,2\n" * 30 + b"z,1\n", "text/csv")
    with psycopg2.connect(postgres.dsn()) as connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO core.model (name, dataset_id, label, task, policy)"
            " SELECT 'buys', id, 'x', 'auto', '{}' FROM core.dataset"
        )
    connection.close()
    engine = make_engine(postgres.url(), service="test")
    at = SystemClock().now()
    PostgresPredictionLog(engine).add([Prediction("p1", "buys", 1, "k", None, {"id": 1}, {"prediction": 2}, 5, at)])
    engine.dispose()
    found.known["ident"] = [batch["id"], "p1"]
    found.known["key"] = ["1", "2"]


def configuration(found: Service) -> str:
    """Return the settings of Schemathesis: what a JSON schema cannot say of right data.

    Rows must fit their dataset's columns and columns each other (422), a key that was used once goes with its body,
    and a cursor, a key to erase or a file of rows may be well-formed and still not one that the service reads (400).
    """
    document = found.ask("GET", "/openapi.json")
    lines = [f"hooks = {json.dumps(str(HERE / 'hooks.py'))}"]
    for name, values in found.known.items():
        lines += [f"[dictionaries.{name}]", f"values = {json.dumps(values)}"]
    lines += ["[parameters]"]
    for name in found.known:
        place = "path" if name in {"name", "ident"} else "query"
        lines += [f'"{place}.{name}" = {{ dictionary = "{name}", probability = 0.6 }}']
    lines += ["[checks]", 'positive_data_acceptance.expected-statuses = ["2xx", "404", "409", "422"]']
    lines += [f"negative_data_rejection.expected-statuses = {json.dumps(_REFUSALS)}"]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parameters = {p["name"] for p in operation["parameters"]}
            kinds = set(operation.get("requestBody", {}).get("content", ()))
            if parameters & {"cursor", "key"} or "text/csv" in kinds or path in _FREE:
                lines += ["[[operations]]", f'include-name = "{method.upper()} {path}"']
                lines += ['checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "404", "409", "422"]']
    return "\n".join(lines)


def schemathesis(folder: Path, found: Service, key: str | None, *words: str) -> int:
    """Run Schemathesis with a key; return its exit code."""
    settings = folder / "schemathesis.toml"
    settings.write_text(configuration(found))
    program = Path(sys.executable).with_name("schemathesis")
    command = [str(program), "--config-file", str(settings), "--no-color", "run", f"{found.url}/openapi.json"]
    header = ["--header", f"Authorization: Bearer {key}"] if key else []
    fixed = ["--seed", str(SEED), "--generation-database", "none", "--request-timeout", "60"]
    return subprocess.run([*command, *header, *fixed, *words], cwd=folder, check=False).returncode


def machine() -> str:
    """Return what this machine is, in a few words."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}"


def commit() -> str:
    """Return the commit of the sources, with ``+`` behind it when they have been changed since; or "unknown"."""
    git = shutil.which("git")
    if git is None:
        return "unknown"

    def asked(*words: str) -> str:
        return subprocess.run([git, *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    changed = asked("status", "--porcelain", "--", ".", ":(exclude)docs/evidence")
    return (asked("rev-parse", "--short", "HEAD") or "unknown") + "+" * bool(changed)


def answered(found: Service) -> dict[str, int]:
    """Return how many requests the service has answered, by status."""
    counts: dict[str, int] = {}
    for line in found.ask("GET", "/metrics").decode().splitlines():
        if line.startswith("trainyard_http_requests_total") and (status := re.search(r'status="(\d+)"', line)):
            counts[status[1]] = counts.get(status[1], 0) + int(float(line.split()[-1]))
    return counts


def phases(folder: Path, found: Service, examples: int, words: list[str]) -> list[dict[str, Any]]:
    """Run Schemathesis with every key; return what each run was answered, and whether it conformed."""
    keyless = ["--checks", _WITHOUT_KEY, "--phases", "coverage"]
    with_key = ["--checks", "all", "--max-examples", str(examples), *words]
    ran = []
    for name, key, options in (
        ("a key with every scope", found.keys["all"], with_key),
        ("a key with another scope", found.keys["none"], keyless),
        ("an unknown key", found.keys["wrong"], keyless),
        ("no key", None, keyless),
    ):
        before = answered(found)
        code = schemathesis(folder, found, key, *options)
        counts = {status: count - before.get(status, 0) for status, count in sorted(answered(found).items())}
        counts = {status: count for status, count in counts.items() if count}
        ran.append({"key": name, "conforms": code == 0, "requests": sum(counts.values()), "answers": counts})
    return ran


def evidence(ran: list[dict[str, Any]], examples: int) -> str:
    """Return the page for docs/evidence."""
    rows = [
        f"| {one['key']} | {one['requests']:,} | {'none' if one['conforms'] else 'SOME'} |"
        f" {', '.join(f'{count:,} x {status}' for status, count in one['answers'].items())} |"
        for one in ran
    ]
    head = [
        "# The ingest service against its own OpenAPI document",
        "",
        f"Schemathesis {version('schemathesis')}, `make api FULL=1`, seed {SEED}, commit `{commit()}`,",
        f"{examples} examples for each operation and phase, on {machine()}.",
        "",
        "| asked with | requests | nonconforming answers | answers by status |",
        "|---|---:|---|---|",
    ]
    return "\n".join([*head, *rows, ""])


def main() -> int:
    """Run every phase; print and, in full size, keep what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="20,000 requests, and write docs/evidence/api.md")
    parser.add_argument("--more", default="", help="more words for schemathesis, to look at one thing")
    options = parser.parse_args()
    wanted, examples = FULL if options.full else CI
    with tempfile.TemporaryDirectory() as name, service(Path(name)) as found:
        ran = phases(Path(name), found, examples, options.more.split())
        log = (Path(name) / "log").read_text(errors="replace")
    page = evidence(ran, examples)
    print("\n".join([*(line for line in log.splitlines() if "http.fault" in line), page]))
    faults = sum(count for one in ran for status, count in one["answers"].items() if int(status) >= 500)
    if options.full:
        EVIDENCE.write_text(page)
    return 0 if all(one["conforms"] for one in ran) and not faults and ran[0]["requests"] >= wanted else 1


if __name__ == "__main__":
    sys.exit(main())
