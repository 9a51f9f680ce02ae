"""Completion in a shell: the scripts, and what they are answered, as the three shells ask."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import click
import pytest
import requests
from command_tree import COMMANDS
from fake_api import error, page

from trainyard_client import Client
from trainyard_client.cli import completing
from trainyard_client.cli.exits import Exit
from trainyard_client.environments import Environment, Environments
from trainyard_client.main import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fake_api import FakeApi

    Offered = Callable[..., list[str]]

URL = "http://trainyard.test"


@pytest.fixture
def offered(
    api: FakeApi, clock: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Offered:
    """Ask as bash does: what may stand in place of the last word."""
    monkeypatch.setattr(
        completing, "Client", lambda url, key, **more: Client(url, key, clock=clock, session=api.session(), **more)
    )

    def ask(*words: str, asking: str = "bash", **environ: str) -> list[str]:
        monkeypatch.setenv("_TRAINYARD_COMPLETE", f"{asking}_complete")
        monkeypatch.setenv("COMP_WORDS", " ".join(("trainyard", *words)))
        monkeypatch.setenv("COMP_CWORD", words[-1] if asking == "fish" else str(len(words)))
        surroundings = {
            "TRAINYARD_CONFIG_DIR": str(tmp_path / "config"),
            "TRAINYARD_DATA_DIR": str(tmp_path / "none"),
            "TRAINYARD_URL": URL,
        }
        with pytest.raises(SystemExit):
            run([], surroundings | environ)
        captured = capsys.readouterr()
        assert captured.err == ""
        return [line for line in captured.out.splitlines() if line]

    return ask


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_a_script(trainyard: Any, shell: str) -> None:
    """It asks the command in the shell's own way, and is alone on standard output."""
    done = trainyard("completion", shell)
    assert (done.code, done.err) == (Exit.OK, "")
    assert f"_TRAINYARD_COMPLETE={shell}_complete" in done.out
    assert trainyard("completion", shell, "--json").json["script"] == done.out.removesuffix("\n")


def test_commands_options_and_choices(offered: Offered) -> None:
    """Whatever the parser knows."""
    assert offered("mod") == ["plain,model"]
    assert "plain,--min-new-rows" in offered("model", "create", "late", "--min")
    assert offered("train", "late", "--instance-t") == ["plain,--instance-type"]
    assert offered("batches", "shop", "--state", "l") == ["plain,loading"]
    assert offered("mod", asking="fish")[0].startswith("plain,model\t")
    assert offered("mod", asking="zsh")[:2] == ["plain", "model"]


def test_names_come_from_the_stack(offered: Offered, api: FakeApi) -> None:
    """Models, datasets, and what belongs to the model in front; asked once each, from the address given so far."""
    api.on("GET", "/v1/models", page({"name": "late"}, {"name": "large"}, {"name": "buys"}))
    api.on("GET", "/v1/datasets", page({"name": "flights"}))
    api.on("GET", "/v1/models/late/versions", page({"version": 12}, {"version": 3}))
    api.on("GET", "/v1/models/late/aliases", page({"name": "champion"}, {"name": "shadow"}))
    assert offered("train", "la") == ["plain,late", "plain,large"]
    assert offered("ingest", "f") == ["plain,flights"]
    assert offered("model", "create", "x", "--dataset", "f") == ["plain,flights"]
    assert offered("promote", "late", "1") == ["plain,12"]
    assert offered("alias", "set", "late", "s") == ["plain,shadow"]
    assert offered("runs", "--url", "http://other.test", "b") == ["plain,buys"]
    assert len(api.asked) == 6
    assert api.asked[-1].url.startswith("http://other.test/")


@pytest.mark.parametrize("answer", [requests.ConnectionError(), (401, error("no_key")), (503, error("unavailable"))])
def test_a_stack_that_does_not_answer_is_asked_once(offered: Offered, api: FakeApi, clock: Any, answer: Any) -> None:
    """There is nothing to offer and nothing to say; nobody waits at the prompt."""
    api.on("GET", "/v1/models", answer)
    assert offered("train", "la") == []
    assert (len(api.asked), clock.monotonic()) == (1, 0.0)


def test_environments_are_offered_and_asked(offered: Offered, api: FakeApi, tmp_path: Path) -> None:
    """One that is reached through AWS is not asked: that takes seconds."""
    kept = Environments(tmp_path / "config")
    kept.put(Environment("prod", url="http://prod.test", key="ty_prod"))
    kept.put(Environment("aws", region="eu-west-1"))
    api.on("GET", "/v1/models", page({"name": "late"}))
    assert offered("--env", "") == ["plain,local", "plain,aws", "plain,prod"]
    assert offered("env", "use", "p") == ["plain,prod"]
    assert offered("--env", "prod", "train", "l") == ["plain,late"]
    assert offered("--env", "aws", "train", "l") == []
    assert [one.url.partition("/v1")[0] for one in api.asked] == ["http://prod.test"]
    kept.path.write_text("{")
    assert offered("--env", "") == ["plain,local"]


def _words(command: click.Command) -> list[tuple[str, click.Parameter]]:
    return [(parameter.name or "", parameter) for parameter in command.params]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_argument_says_what_may_stand_there(name: str) -> None:
    """Names, files or nothing, on purpose: an argument that says nothing keeps the shell from offering files."""
    for word, parameter in _words(COMMANDS[name]):
        if isinstance(parameter, click.Argument) and not isinstance(
            parameter.type, click.Choice | click.types.IntParamType
        ):
            assert parameter._custom_shell_complete is not None, word
        if parameter.metavar in {"FILE", "OUT", "FILE..."}:
            context = click.Context(COMMANDS[name])
            assert [one.type for one in parameter.shell_complete(context, "a")] == ["file"], word


def test_bash_itself(tmp_path: Path) -> None:
    """The script is sourced and asked as an interactive shell does it."""
    program = tmp_path / "trainyard"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m trainyard_client.main "$@"\n')
    program.chmod(0o755)
    asked = (
        "source <(trainyard completion bash); COMP_WORDS=(trainyard deploy pl); COMP_CWORD=2;"
        ' _trainyard_completion trainyard pl deploy; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        [str(shutil.which("bash")), "--norc", "-c", asked],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("plan\n", "")
