"""`trainyard deploy` on the command line, where no account is asked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from trainyard_client.cli.exits import Exit
from trainyard_client.main import run

if TYPE_CHECKING:
    import pytest


def test_plan_tells_costs_without_an_account(capsys: pytest.CaptureFixture[str]) -> None:
    """Each load has a sum that is the sum of its lines, to the cent."""
    assert run(["deploy", "plan", "--costs-only", "--json"], {}) == Exit.OK
    shown = json.loads(capsys.readouterr().out)
    assert shown["prices"]["date"]
    assert set(shown["costs"]) == {"idle", "small", "medium"}
    for bill in shown["costs"].values():
        assert abs(bill["usd"] - sum(line["usd"] for line in bill["lines"])) < 0.1
        assert bill["usd"] <= bill["usd_without_allowances"]


def test_steps_are_listed_without_an_account(capsys: pytest.CaptureFixture[str]) -> None:
    """Their names are what a killed deployment goes on from."""
    assert run(["deploy", "apply", "--list-steps", "--json"], {}) == Exit.OK
    steps = [one["step"] for one in json.loads(capsys.readouterr().out)]
    assert steps[0] == "stack network"
    assert steps[-2:] == ["smoke", "retire"]
    assert len(set(steps)) == len(steps)


def test_destroy_asks(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever does not type the name deletes nothing."""
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: "no")
    assert run(["deploy", "destroy", "--env", "prod"], {}) == Exit.REFUSED
    assert "nothing was deleted" in capsys.readouterr().err
