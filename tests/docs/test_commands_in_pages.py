"""What the documents tell a reader to type is there: every command of `trainyard`, with every option."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from trainyard_client.main import make_command

ROOT = Path(__file__).parents[2]
#: Decisions tell of their time.
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def _typed(page: Path) -> list[str]:
    """Return the command lines of a page: whole lines in its code, and what stands between backticks in its text."""
    text = page.read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"^```(?:sh|bash)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    lines = [line.removeprefix("$ ") for line in blocks.replace("\\\n", " ").splitlines()]
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [one for one in [*lines, *re.findall(r"`([^`\n]+)`", prose)] if one.startswith("trainyard ")]


def _unknown(line: str) -> str | None:
    """Say what of a command line the parser does not know; None when it knows all of it."""
    words = shlex.split(re.split(r" #| [|>]|;| && ", line)[0])[1:]
    command: click.Command = make_command()
    options = {name for parameter in command.params for name in parameter.opts} | {"--help", "-h"}
    for word in words:
        if word.startswith("--") and word.partition("=")[0] not in options:
            return word
        if not isinstance(command, click.Group) or word.startswith("-") or word in {"…", "NAME", "prod", "local"}:
            continue
        if word not in command.commands:
            return word
        command = command.commands[word]
        options |= {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_exist(page: Path) -> None:
    """A reader who types what stands there is understood."""
    wrong = {line: unknown for line in _typed(page) if (unknown := _unknown(line))}
    assert wrong == {}


def test_what_does_not_exist_is_found() -> None:
    """The check itself can tell."""
    assert _unknown("trainyard model craete x") == "craete"
    assert _unknown("trainyard train x --wiat") == "--wiat"
    assert _unknown("trainyard --env prod train x --wait  # comment") is None
    assert sum(len(_typed(page)) for page in PAGES) > 100
