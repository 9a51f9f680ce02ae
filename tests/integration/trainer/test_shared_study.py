"""A search that another trainer goes on with, over the real pipe and Optuna's tables in Postgres."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conftest import Yard

#: Prior and four linear models are planned, the rest is proposed.
TRIALS = 12
STUDIES = "SELECT study_name FROM optuna.studies"
SETTINGS: dict[str, Any] = {"kinds": ["linear"], "budget_trials": TRIALS, "gate": {"min_rows": 50}}


def tried(yard: Yard, request: str) -> list[tuple[Any, ...]]:
    """Return the trials of the run that has published, without what they took."""
    found = yard.rows(
        "SELECT number, core.kind_of(family) AS kind, params, metrics FROM core.trial t"
        " JOIN core.run u ON u.id = t.run_id WHERE u.request_id = CAST(:id AS uuid) AND u.state = 'done'"
        " ORDER BY number",
        id=request,
    )
    return [tuple(row.values()) for row in found]


def test_whoever_takes_over_joins_the_study(yard: Yard) -> None:
    """Killed in the middle: the next trainer goes on, tries what one in peace tries, and the study goes at the end."""
    yard.add_rows(1_000)
    cut = yard.request(**SETTINGS)
    killed = yard.trainer(idle_seconds=30.0)
    yard.until_rows("SELECT 1 FROM core.trial", 2)
    killed.kill()
    killed.wait(10)
    (study,) = yard.rows(STUDIES)
    assert study["study_name"].startswith(f"{cut}/")
    yard.execute("UPDATE core.training_request SET lease_until = clock_timestamp() - interval '1 s'")
    yard.send(cut)
    yard.trainer(idle_seconds=30.0)
    yard.until(cut, "done")
    assert "study.joined" in yard.log()
    peaceful = yard.request(**SETTINGS)
    yard.until(peaceful, "done")
    assert [row[0] for row in tried(yard, cut)] == list(range(1, TRIALS + 1))
    assert tried(yard, cut) == tried(yard, peaceful)
    assert yard.rows(STUDIES) == []
    told = yard.rows(
        "SELECT count(*) AS trials FROM core.trial t JOIN core.run u ON u.id = t.run_id WHERE state = 'lost'"
    )
    assert told[0]["trials"] >= 2
