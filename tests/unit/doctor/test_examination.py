"""The examination as a whole: a sound world is healthy, an outage is neither healthy nor an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.unit.doctor.scene import KEY, Scene

from trainyard.doctor import CHECKS, EVERYTHING, Check, Report
from trainyard.doctor.evidence import Audit, Ledger, LedgerGap
from trainyard.errors import TransientError

if TYPE_CHECKING:
    from trainyard.contracts.blobs import Blob


@pytest.fixture
def scene() -> Scene:
    """A sound world."""
    return Scene()


def test_a_sound_world_is_healthy(scene: Scene) -> None:
    """Every check of the table is made, in order, and passes."""
    checks = scene.examine()
    assert list(checks) == list(CHECKS) == [f"I{number}" for number in range(1, 10)]
    assert scene.problems() == {}
    assert [check.title for check in checks.values()] == [title for title, _ in CHECKS.values()]


@pytest.mark.parametrize(
    ("away", "unknown"),
    [
        ("database", set(CHECKS)),
        ("blobs", {"I4", "I7"}),
        ("training", {"I5"}),
        ("fleet", {"I8"}),
    ],
)
def test_an_outage_is_unknown_not_healthy(scene: Scene, away: str, unknown: set[str]) -> None:
    """What cannot be looked at says so with the reason; the other checks are made; nothing raises."""
    getattr(scene, away).outage = TransientError("connection refused")
    checks = scene.examine()
    assert {ident for ident, check in checks.items() if check.state == "unknown"} == unknown
    assert all("connection refused" in checks[ident].notes[-1] for ident in unknown)
    assert {check.state for ident, check in checks.items() if ident not in unknown} <= {"passed"}


def test_an_outage_costs_one_question(scene: Scene) -> None:
    """A database that is away is asked once, not once for each check: the answer comes within seconds."""
    scene.database.outage = TransientError("away")
    scene.examine()
    assert len(scene.database.asked) == 1


def test_a_check_that_breaks_is_unknown(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of the doctor's own hides no other check and is no false green."""

    def broken(_: int | None) -> Audit:
        raise KeyError("hash")

    monkeypatch.setattr(scene.database, "audit", broken)
    checks = scene.examine()
    assert checks["I9"].state == "unknown"
    assert "KeyError" in checks["I9"].notes[0]
    assert {check.state for check in checks.values()} == {"passed", "unknown"}


def test_problems_found_before_an_outage_stand(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that found something and then could not go on has failed, and says that it is not complete."""
    scene.blobs.delete(KEY)
    original = scene.blobs.get

    def get(key: str) -> Blob:
        if key.startswith("aliases/"):
            raise TransientError("S3 went away")
        return original(key)

    monkeypatch.setattr(scene.blobs, "get", get)
    check = scene.examine()["I4"]
    assert check.state == "failed"
    assert "there is no object" in check.problems[0]
    assert "could not look at everything: S3 went away" in check.notes[-1]
    assert [problems for _, problems in check.mends] == [check.problems, []]
    assert check.mend == " ".join(mend for mend, _ in check.mends)


def test_limits_reach_the_evidence(scene: Scene) -> None:
    """By default there are bounds; everything means none."""
    scene.examine()
    assert {2_000_000, 10_000, 200_000, 100_000} <= {limit for limit in scene.database.asked if isinstance(limit, int)}
    scene.database.asked.clear()
    scene.examine(EVERYTHING)
    assert not [limit for limit in scene.database.asked if isinstance(limit, int)]


def test_what_was_left_out_is_said(scene: Scene) -> None:
    """No silent cap: a part that was looked at is named with the whole."""
    scene.database.ledger_answer = Ledger(rows_seen=5, rows_total=1_000)
    scene.database.audit_answer = Audit(seen=7, total=70)
    checks = scene.examine()
    assert checks["I1"].notes == ["looked at the newest 5 of 1,000 rows"]
    assert checks["I9"].notes == ["looked at the newest 7 of 70 audit entries"]


def test_many_problems_are_counted(scene: Scene) -> None:
    """Twenty are listed, the rest is counted, advice is given once."""
    gaps = [LedgerGap("flights", f"b{number}", 3, 2, "1", "1") for number in range(25)]
    scene.database.ledger_answer = Ledger(gaps=gaps)
    check = scene.examine()["I1"]
    assert len(check.problems) == 21
    assert check.problems[-1] == "and 5 more"
    assert check.mend.count("restore the dataset from a backup") == 1
    assert check.as_dict()["mends"] == [{"mend": check.mend, "problems": check.problems[:20]}]


@pytest.mark.parametrize(
    ("states", "state"),
    [((), "passed"), (("passed", "unknown"), "unknown"), (("unknown", "failed", "passed"), "failed")],
)
def test_the_worst_check_names_the_report(states: tuple[str, ...], state: str) -> None:
    """Failed is worse than unknown, which is worse than passed; only passed is healthy."""
    report = Report([Check("I1", "t", each, [], [], "") for each in states])
    assert report.as_dict()["state"] == state
    assert report.as_dict()["healthy"] == (state == "passed")
    assert [check["passed"] for check in report.as_dict()["checks"]] == [each == "passed" for each in states]
