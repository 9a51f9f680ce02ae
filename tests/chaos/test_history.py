"""The checker finds what it is there to find."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from history import Effect, Entry, History, check

if TYPE_CHECKING:
    from pathlib import Path

_ASKED = [Entry("k1", "m", "r1", 1), Entry("k2", "m", "r2", 3)]
_FINE = [Effect("r1", "m", "done", 1), Effect("r2", "m", "done", 1)]


def test_all_is_well() -> None:
    """Everything asked for is done once; an answer that needed more than one try counts as recovered."""
    verdict = check(_ASKED, _FINE)
    assert verdict.clean
    assert (verdict.asked, verdict.ok, verdict.recovered) == (2, 2, 1)


@pytest.mark.parametrize(
    ("effects", "lost", "unexpected", "duplicated"),
    [
        (_FINE[:1], ["r2"], [], []),
        ([_FINE[0], Effect("r2", "m", "failed", 0)], ["r2"], [], []),
        ([_FINE[0], Effect("r2", "m", "running", 0)], ["r2"], [], []),
        ([*_FINE, Effect("r3", "m", "queued", 0)], [], ["r3"], []),
        ([_FINE[0], Effect("r2", "m", "done", 2)], [], [], ["r2"]),
    ],
)
def test_what_is_wrong_is_named(
    effects: list[Effect], lost: list[str], unexpected: list[str], duplicated: list[str]
) -> None:
    """A request that is gone, failed or stuck is lost; one that nobody asked for is unexpected; two effects are two."""
    verdict = check(_ASKED, effects)
    assert (verdict.lost, verdict.unexpected, verdict.duplicated) == (lost, unexpected, duplicated)
    assert not verdict.clean


def test_the_log_outlives_the_client(tmp_path: Path) -> None:
    """Each accepted request is a line in the file at once."""
    history = History(tmp_path / "history.jsonl")
    for entry in _ASKED:
        history.accepted(entry)
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 2
    assert history.entries == _ASKED
