"""The processes' entries, as far as they go without a port."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import trainyard_ec2host.__main__ as ec2host
import trainyard_embedded.router.__main__ as router

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@pytest.mark.parametrize(
    ("main", "name", "variable"),
    [
        (ec2host.main, "trainyard-ec2host", "TRAINYARD_IMDS_PORT"),
        (router.main, "trainyard-router", "TRAINYARD_ROUTER_PORT"),
    ],
)
def test_bad_setting(
    main: Callable[[Mapping[str, str]], int], name: str, variable: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A setting that cannot be used is one sentence that names it, and exit code 2."""
    assert main({variable: "nonsense"}) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"{name}: {variable}='nonsense' cannot be read: ")
    assert said.count("\n") == 1
