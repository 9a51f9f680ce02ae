"""`up`, `down`, `status`, `demo`: what they say and end with, whatever the local stack does."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests

from trainyard import private_records
from trainyard.clock import SystemClock
from trainyard_client.cli import stack
from trainyard_client.cli.exits import Exit
from trainyard_embedded import commands, errors
from trainyard_embedded.stack import Ready


@pytest.fixture
def ready(tmp_path):
    """A stack that is ready."""
    key = tmp_path / "admin.key"
    key.write_text("ty_admin\n")
    return Ready(
        pid=4711,
        url="http://127.0.0.1:8080",
        data_dir=str(tmp_path),
        logs_dir=str(tmp_path / "logs"),
        admin_key_file=str(key),
        database_url="postgresql+psycopg2://trainyard:secret@127.0.0.1:5432/trainyard",
        aws_endpoint_url="http://127.0.0.1:4566",
        aws_region="us-east-1",
        bucket="trainyard",
        ports={"TRAINYARD_ROUTER_PORT": 8080},
    )


@pytest.mark.parametrize("name", ["up", "down", "status", "demo"])
def test_a_client_without_the_local_stack_says_so(trainyard, monkeypatch, name):
    """A missing package is one sentence with the command that installs it."""

    def missing(module):
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    monkeypatch.setattr(stack.importlib, "import_module", missing)
    done = trainyard(name)
    assert (done.code, done.out) == (Exit.DEPENDENCY, "")
    assert "is not installed" in done.err
    assert "pip install" in done.err


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (errors.EXIT_NOT_READY, Exit.NOT_READY),
        (errors.EXIT_IN_USE, Exit.IN_USE),
        (errors.EXIT_PORT_BUSY, Exit.PORT_BUSY),
        (errors.EXIT_DATA_DIRECTORY, Exit.DATA_DIRECTORY),
        (errors.EXIT_DEPENDENCY, Exit.DEPENDENCY),
    ],
)
@pytest.mark.parametrize("name", ["up", "down"])
def test_the_stacks_troubles_are_one_sentence_and_a_code(trainyard, monkeypatch, name, code, expected):
    """What the stack says is printed as it is; the exit code names the kind."""

    def fail(*_, **__):
        raise errors.StackError(code, "port 8080 is in use; set TRAINYARD_ROUTER_PORT")

    monkeypatch.setattr(commands, name, fail)
    done = trainyard(name)
    assert done.code == expected
    assert "error: port 8080 is in use" in done.err


def test_up_prints_addresses_and_key(trainyard, monkeypatch, ready):
    """Everything that a user needs is printed; the database's password is not."""
    monkeypatch.setattr(commands, "up", lambda *_, on_ready, **__: on_ready(ready) or 0)
    done = trainyard("up")
    assert done.code == Exit.OK
    psql = "postgres.password) psql postgresql://trainyard@127.0.0.1:5432/trainyard"
    assert f"{ready.url}/sign-in/link?once=" in done.out
    for part in (ready.url, "ty_admin", ready.logs_dir, "Ctrl-C", psql):
        assert part in done.out
    assert "secret" not in done.out
    done = trainyard("up", "--detach", "--json")
    assert done.json["key"] == "ty_admin"
    assert "secret" not in done.out


@pytest.mark.parametrize(
    ("found", "code", "said"),
    [
        (commands.Status(False, None, None, {}), Exit.NOT_RUNNING, "nothing runs"),
        (commands.Status(True, 7, None, {"postgres": 8}), Exit.NOT_READY, "not ready"),
    ],
)
def test_status(trainyard, monkeypatch, found, code, said):
    """Status tells a stopped stack from one that starts, in words and by its code."""
    monkeypatch.setattr(commands, "status", lambda _config: found)
    done = trainyard("status")
    assert (done.code, said in done.out) == (code, True)
    assert trainyard("status", "--json").json["running"] is found.running


@pytest.fixture
def ready_status(monkeypatch, ready):
    """`status` finds a stack that is ready."""
    monkeypatch.setattr(commands, "status", lambda _config: commands.Status(True, 7, ready, {"postgres": 8}))


def _served(**changed):
    one = {"environment": "embedded", "process": "here-1", "model": "buys", "asked": "champion", "version": 3, "seq": 4}
    return {**one, "refused": None, "at": "2026-01-01T00:00:00+00:00", **changed}


def test_status_says_what_serves(trainyard, api, ready_status):
    """Each process with model, alias and version; nothing served yet is no error."""
    api.on("GET", "/v1/serving", {"items": [_served()]}, {"items": []}, {"items": [_served()]})
    done = trainyard("status")
    assert (done.code, "here-1" in done.out, "buys" in done.out) == (Exit.OK, True, True)
    done = trainyard("status")
    assert (done.code, "no predictor has been asked" in done.out) == (Exit.OK, True)
    assert trainyard("status", "--json").json["serving"] == [_served()]


@pytest.mark.parametrize(("version", "said"), [(3, "goes on with version 3"), (None, "has no version to answer with")])
def test_status_is_loud_about_a_version_that_is_refused(trainyard, api, ready_status, version, said):
    """Another exit code, who refuses what and why, and the command that mends it; with --json as well."""
    refused = _served(version=version, refused="checksum: the bytes are not those of the pointer")
    api.on("GET", "/v1/serving", {"items": [_served(process="here-2"), refused]})
    for arguments in ((), ("--json",)):
        done = trainyard("status", *arguments)
        assert done.code == Exit.FAILED
        for part in ("embedded/here-1 refuses what buys@champion points at", said, "checksum: the bytes"):
            assert part in done.err
        assert "trainyard rollback buys" in done.err
    assert done.json["serving"][1] == refused


def test_status_of_a_stack_that_says_ready_and_does_not_answer(trainyard, api, ready_status):
    """Not to know what serves is not success."""
    api.on("GET", "/v1/serving", requests.ConnectionError())
    assert trainyard("status").code == Exit.UNREACHABLE


def test_status_of_a_ready_stack(trainyard, api, ready_status, ready):
    """A ready stack is exit code 0 with its address and processes."""
    api.on("GET", "/v1/serving", {"items": []})
    done = trainyard("status")
    assert (done.code, ready.url in done.out, "postgres" in done.out) == (Exit.OK, True, True)
    assert ready.aws_endpoint_url in done.out
    assert "psql postgresql://trainyard@127.0.0.1:5432/trainyard" in done.out
    assert ":secret@" not in done.out
    done = trainyard("status", "--json")
    assert done.json["ready"]["url"] == ready.url
    assert done.json["ready"]["database_url"] == "postgresql+psycopg2://trainyard:***@127.0.0.1:5432/trainyard"
    assert done.json["ready"]["database_password_file"].endswith("postgres.password")
    assert "secret" not in done.out + done.err


def test_a_link_to_the_console_holds_the_admin_key_once(trainyard, monkeypatch, ready):
    """Each call prints another link; what it opens is in a folder of the stack and goes with the first use."""
    monkeypatch.setattr(commands, "status", lambda _config: commands.Status(True, 7, ready, {}))
    links = [trainyard("console").out.strip(), trainyard("console", "--json").json["url"]]
    kept = private_records.links(Path(ready.data_dir) / "console", SystemClock())
    for link in links:
        address, _, token = link.partition("?once=")
        assert address == f"{ready.url}/sign-in/link"
        assert kept.take(token) == {"key": "ty_admin"}
        assert kept.take(token) is None


def test_no_link_to_a_console_that_is_not_there(trainyard, monkeypatch):
    """Without a stack there is nothing to sign in to, and the command says what starts one."""
    monkeypatch.setattr(commands, "status", lambda _config: commands.Status(False, None, None, {}))
    done = trainyard("console")
    assert (done.code, done.out) == (Exit.NOT_RUNNING, "")
    assert "trainyard up" in done.err


def test_down(trainyard, monkeypatch):
    """Nothing to stop is no error."""
    monkeypatch.setattr(commands, "down", lambda _config: 0)
    assert trainyard("down").code == Exit.OK
    assert "stopped" in trainyard("down", "--json").json
