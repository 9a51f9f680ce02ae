"""`trainyard env` and `--env`: which services a command asks, with which key, and what signs for a function."""

from __future__ import annotations

import io
import stat
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from fake_api import page

from trainyard_client import Client, UnreachableError, reaching
from trainyard_client.cli.exits import Exit
from trainyard_client.environments import Environments
from trainyard_deploy.ports import DeployError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROD = "https://prod.test"
FUNCTION = "https://abc.lambda-url.eu-west-1.on.aws"
OWN = "https://own.lambda-url.eu-central-1.on.aws"
PREDICTED = {"model": "late", "version": 3, "rows": [{"prediction": True, "prediction_id": "p1"}]}
AWS = {"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "token"}


@pytest.fixture
def kept(tmp_path: Path) -> Environments:
    """What `trainyard env` keeps."""
    return Environments(tmp_path / "config")


@pytest.fixture
def prod(trainyard: Any, tmp_path: Path) -> str:
    """An environment whose key is in a file; returns the key."""
    (tmp_path / "prod.key").write_text("ty_prod\n")
    assert trainyard("env", "add", "prod", "--url", PROD, "--key-file", str(tmp_path / "prod.key")).code == Exit.OK
    return "ty_prod"


def _asked(api: Any) -> list[tuple[str, str | None]]:
    """Return address and key of every request."""
    return [(one.url.partition("/v1")[0], one.headers.get("Authorization")) for one in api.asked]


def test_a_named_environment_brings_address_and_key(trainyard: Any, api: Any, prod: str) -> None:
    """It comes before the variables, and its key goes nowhere else; an option's key comes before its own."""
    api.on("GET", "/v1/models", page())
    trainyard("--env", "prod", "model", "list")
    trainyard("model", "list")
    trainyard("--env", "prod", "model", "list", "--url", "https://elsewhere.test")
    trainyard("--env", "prod", "model", "list", "--api-key", "ty_mine")
    (first, variables, named, mine) = _asked(api)
    assert first == (PROD, f"Bearer {prod}")
    assert (variables[0], named[0]) == ("http://trainyard.test", "https://elsewhere.test")
    assert prod not in str(variables[1]) + str(named[1])
    assert mine == (PROD, "Bearer ty_mine")


def test_the_environment_in_use_is_what_nothing_else_names(trainyard: Any, api: Any, prod: str) -> None:
    """`env use` counts where no variable says otherwise; `local` is this machine again."""
    api.on("GET", "/v1/models", page())
    assert trainyard("env", "use", "prod").code == Exit.OK
    trainyard("model", "list", TRAINYARD_URL="")
    trainyard("model", "list")
    assert [url for url, _ in _asked(api)] == [PROD, "http://trainyard.test"]
    assert "comes before it" in trainyard("env", "use", "prod").err

    assert trainyard("--env", "local", "model", "list", TRAINYARD_URL="").code == Exit.UNREACHABLE
    trainyard("env", "use", "local")
    done = trainyard("model", "list", TRAINYARD_URL="")
    assert (done.code, "trainyard env list" in done.err) == (Exit.UNREACHABLE, True)


def test_the_file_is_its_owners_alone(trainyard: Any, prod: str, kept: Environments) -> None:
    """It may hold a key, so it and its directory are private."""
    assert stat.S_IMODE(kept.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.path.parent.stat().st_mode) == 0o700
    assert prod not in kept.path.read_text()


def test_a_key_from_standard_input_is_kept_and_never_shown(
    trainyard: Any, api: Any, kept: Environments, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in no history of a shell, in no list, and in no JSON."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("ty_typed\n"))
    added = trainyard("env", "add", "prod", "--url", PROD, "--key-file", "-", "--use", "--json")
    listed = trainyard("env", "list"), trainyard("env", "list", "--json")
    assert all("ty_typed" not in done.out + done.err for done in (added, *listed))
    assert listed[1].json[1]["in_use"] is True
    api.on("GET", "/v1/models", page())
    trainyard("model", "list", TRAINYARD_URL="")
    assert _asked(api) == [(PROD, "Bearer ty_typed")]


def test_an_environment_is_forgotten(trainyard: Any, prod: str, kept: Environments) -> None:
    """If it was in use, none is; commands that name it say what there is."""
    trainyard("env", "use", "prod")
    assert trainyard("env", "remove", "prod").code == Exit.OK
    assert (kept.current, kept.all()) == (None, {})
    for command in (("env", "use"), ("env", "remove")):
        done = trainyard(*command, "prod")
        assert (done.code, "trainyard env add prod" in done.err) == (Exit.USAGE, True)
    assert "there is no environment 'prod'" in trainyard("--env", "prod", "model", "list").err


@pytest.mark.parametrize(
    "arguments",
    [
        ("prod",),
        ("prod", "--url", PROD, "--deployed"),
        ("prod", "--url", PROD, "--key-file", "a", "--key-parameter", "b"),
        ("prod", "--url", PROD, "--function", "late"),
        ("local", "--url", PROD),
        ("No", "--url", PROD),
    ],
)
def test_what_cannot_be_kept_is_wrong_use(trainyard: Any, kept: Environments, arguments: tuple[str, ...]) -> None:
    """Nothing is written."""
    assert trainyard("env", "add", *arguments).code == Exit.USAGE
    assert not kept.path.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"current": null, "environments": {"a": {"what": 1}}}'])
def test_a_broken_file_is_named(trainyard: Any, kept: Environments, text: str) -> None:
    """It is not written over: somebody may want what it held."""
    kept.path.parent.mkdir()
    kept.path.write_text(text)
    done = trainyard("env", "add", "prod", "--url", PROD)
    assert (done.code, str(kept.path) in done.err.replace("\n", "")) == (Exit.USAGE, True)
    assert kept.path.read_text() == text


def test_a_key_file_that_is_gone_is_named(trainyard: Any, prod: str, tmp_path: Path) -> None:
    """Rather than asking without a key."""
    (tmp_path / "prod.key").unlink()
    done = trainyard("--env", "prod", "model", "list")
    assert (done.code, "prod.key" in done.err) == (Exit.USAGE, True)


@pytest.mark.parametrize("name", ["up", "down", "status", "console", "demo", "backup x", "restore x"])
def test_what_is_about_this_machine_takes_no_environment(trainyard: Any, prod: str, name: str) -> None:
    """`trainyard --env prod down` must not stop the stack of this machine."""
    done = trainyard("--env", "prod", *name.split())
    assert (done.code, "leave --env out" in done.err) == (Exit.USAGE, True)


def test_deploy_takes_the_environment_from_the_front(trainyard: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to name it mean the same; the nearer one counts."""
    destroyed: list[str] = []
    monkeypatch.setattr("trainyard_client.cli.deploy._target", lambda _p, _s, _c, where: destroyed.append(where["env"]))
    monkeypatch.setattr("trainyard_deploy.commands.destroy", lambda *_, **__: None)
    trainyard("--env", "test", "deploy", "destroy", "--yes")
    trainyard("--env", "test", "deploy", "destroy", "--yes", "--env", "other")
    trainyard("deploy", "destroy", "--yes")
    assert destroyed == ["test", "other", "prod"]


def test_predictions_go_to_the_functions_and_are_signed(
    trainyard: Any, api: Any, prod: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As botocore would sign them: for the region in the URL, with the token; no API key goes there."""
    for name, value in AWS.items():
        monkeypatch.setenv(name, value)
    api.on("GET", "/v1/models/late", {"name": "late", "dataset": "d", "label": "y"})
    api.on("GET", "/v1/models/buys", {"name": "buys", "dataset": "d", "label": "y"})
    api.on("GET", "/v1/datasets/d", {"columns": [{"name": "x", "type": "float", "role": "feature"}]})
    api.on("POST", "/v1/predict/late", PREDICTED).on("POST", "/v1/predict/buys@2", PREDICTED)
    trainyard(
        "env", "add", "prod", "--url", PROD, "--key-file", str(tmp_path / "prod.key"),
        "--predictor-url", FUNCTION, "--function", f"buys={OWN}/",
    )  # fmt: skip
    (tmp_path / "rows.csv").write_text("x\n1.5\n")
    done = trainyard("--env", "prod", "predict", "late", str(tmp_path / "rows.csv"), "--json", **AWS)
    assert done.code == Exit.OK, done.err
    assert trainyard("--env", "prod", "predict", "buys", str(tmp_path / "rows.csv"), "--version", "2", **AWS).code == 0
    sent = [one for one in api.asked if one.method == "POST"]
    assert [one.url for one in sent] == [f"{FUNCTION}/v1/predict/late", f"{OWN}/v1/predict/buys@2"]
    for one, region in zip(sent, ("eu-west-1", "eu-central-1"), strict=True):
        assert prod not in str(one.headers)
        theirs = AWSRequest("POST", one.url, {"content-type": one.headers["content-type"]}, one.body)
        signer = SigV4Auth(BotoCredentials(*AWS.values()), "lambda", region)
        monkeypatch.setattr("botocore.auth.get_current_datetime", lambda at=one.headers["x-amz-date"]: _time(at))
        signer.add_auth(theirs)
        assert one.headers["authorization"] == theirs.headers["Authorization"]
    services = [one for one in api.asked if one.method == "GET"]
    assert {one.headers["Authorization"] for one in services} == {f"Bearer {prod}"}


def test_an_open_function_gets_the_key(trainyard: Any, api: Any, prod: str, tmp_path: Path) -> None:
    """With --unsigned the URL is open, and the key says who asks."""
    api.on("GET", "/v1/models/late", {"name": "late", "dataset": "d", "label": "y"})
    api.on("GET", "/v1/datasets/d", {"columns": []}).on("POST", "/v1/predict/late", PREDICTED)
    trainyard(
        "env", "add", "prod", "--url", PROD, "--key-file", str(tmp_path / "prod.key"),
        "--predictor-url", FUNCTION, "--unsigned",
    )  # fmt: skip
    (tmp_path / "rows.csv").write_text("x\n1.5\n")
    assert trainyard("--env", "prod", "predict", "late", str(tmp_path / "rows.csv")).code == Exit.OK
    assert _asked(api)[-1] == (FUNCTION, f"Bearer {prod}")


class FakeAccess:
    """AWS as `trainyard_deploy.access` shows it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []
        self.open = 0
        self.problem: str | None = None

    def described(self, env: str, *, region: str | None, endpoint: str | None) -> dict[str, Any]:
        if self.problem:
            raise DeployError(self.problem)
        return {"url": None, "region": region, "key_parameter": f"/trainyard/{env}/keys/admin", "predictor": FUNCTION,
                "functions": {"late": OWN}, "signed": True}  # fmt: skip

    def parameter(self, name: str, *, region: str | None, endpoint: str | None) -> str:
        self.asked.append((name, region))
        return "ty_parameter"

    @contextmanager
    def tunnel(self, env: str, *, region: str | None, endpoint: str | None) -> Iterator[str]:
        if self.problem:
            raise DeployError(self.problem)
        self.open += 1
        yield "http://127.0.0.1:9999"
        self.open -= 1


def test_a_deployed_environment_is_reached_through_aws(
    trainyard: Any, api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One command finds all of it; each command after it opens the way and closes it, with the key of the parameter."""
    access = FakeAccess()
    monkeypatch.setattr(reaching, "through_aws", lambda: access)
    added = trainyard("env", "add", "prod", "--deployed", "--region", "eu-west-1", "--json").json
    assert (added["predictor"], added["functions"], added["signed"]) == (FUNCTION, {"late": OWN}, True)
    api.on("GET", "/v1/models", page())
    assert trainyard("--env", "prod", "model", "list").code == Exit.OK
    assert _asked(api) == [("http://127.0.0.1:9999", "Bearer ty_parameter")]
    assert access.asked == [("/trainyard/prod/keys/admin", "eu-west-1")]
    assert access.open == 0

    access.problem = "no connection came about"
    done = trainyard("--env", "prod", "model", "list")
    assert (done.code, "no connection came about" in done.err) == (Exit.UNREACHABLE, True)
    assert trainyard("env", "add", "other", "--deployed").code == Exit.FAILED


def test_without_the_package_the_way_is_said(trainyard: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client alone knows nothing of AWS."""

    def missing(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(reaching, "importlib", SimpleNamespace(import_module=missing))
    done = trainyard("env", "add", "prod", "--deployed")
    assert (done.code, "trainyard-client[deploy]" in done.err) == (Exit.DEPENDENCY, True)


def test_the_sdk_connects_as_the_command_line_does(
    trainyard: Any, prod: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By name, by what is in use, or to what a variable says; a way through AWS is closed with the client."""
    monkeypatch.setenv("TRAINYARD_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("TRAINYARD_DATA_DIR", str(tmp_path / "none"))
    monkeypatch.delenv("TRAINYARD_URL", raising=False)
    with Client.connect("prod") as client:
        assert client.base_url == PROD
    with pytest.raises(UnreachableError):
        Client.connect()
    trainyard("env", "use", "prod")
    assert Client.connect().base_url == PROD
    monkeypatch.setenv("TRAINYARD_URL", "http://variable.test")
    assert Client.connect().base_url == "http://variable.test"

    access = FakeAccess()
    monkeypatch.setattr(reaching, "through_aws", lambda: access)
    trainyard("env", "add", "aws", "--deployed", "--region", "eu-west-1")
    client = Client.connect("aws")
    assert access.open == 1
    client.close()
    assert access.open == 0


def _time(stamp: str) -> datetime:
    return datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
