"""What every store of training requests does for trainers. The class needs the fixture ``desk``."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from trainyard.contracts.runs import (
    MAX_ATTEMPTS,
    Champion,
    Job,
    LeaseLostError,
    Line,
    NewVersion,
    Original,
    Reproduction,
    Trial,
)

if TYPE_CHECKING:
    from trainyard.contracts.runs import Claim, Runs

_LEASE = 60.0


class RunsDesk(Protocol):
    """The other side of the store: what schedulers and people do to requests, and what they see."""

    runs: Runs

    def request(
        self,
        model: str = "flights",
        upto_seq: int = 100,
        *,
        priority: int = 0,
        instance_types: tuple[str, ...] = (),
        spot: bool | None = None,
    ) -> str:
        """Queue a request; return its id."""
        ...

    def reproduction(self, model: str, version: int) -> str:
        """Queue a request to fit the version again; return its id."""
        ...

    def rows_went(self, model: str, version: int, why: str) -> None:
        """Note that rows which the version was trained on were removed."""
        ...

    def run_row(self, request_id: str) -> tuple[Any, Any]:
        """Return environment and reproduction (as JSON) of the newest run of the request."""
        ...

    def launched(self, instance_id: str, market: str) -> None:
        """Note that the scheduler launched this instance, of c7i.large, on that market."""
        ...

    def expire(self, request_id: str) -> None:
        """Let the lease run out."""
        ...

    def ask_to_cancel(self, request_id: str) -> None:
        """Set the wish to cancel."""
        ...

    def delete_model(self, model: str) -> None:
        """Mark the model deleted, and remove its aliases."""
        ...

    def move_champion(self, model: str, version: int) -> None:
        """Point the champion elsewhere, as an operator does."""
        ...

    def row(self, request_id: str) -> dict[str, Any]:
        """Return state, attempt, fence, error_class and error of the request."""
        ...

    def run_states(self, request_id: str) -> list[str]:
        """Return the states of the request's runs, oldest first."""
        ...

    def progress(self, request_id: str) -> dict[str, Any]:
        """Return the progress of the newest run."""
        ...

    def posted(self) -> list[str]:
        """Return the requests that have a message waiting to be sent."""
        ...

    def trials(self, request_id: str) -> list[list[Trial]]:
        """Return the stored trials of each of the request's runs, oldest run first."""
        ...

    def lines(self, run_id: str) -> list[Line]:
        """Return the stored lines of a run by their numbers."""
        ...

    def pending(self, model: str) -> dict[int, int]:
        """Return the versions that wait for a person, each with the champion's seq that it was judged against."""
        ...

    def versions(self, model: str) -> list[int]:
        """Return the numbers of the model's versions."""
        ...

    def report(self, model: str, version: int) -> Any:
        """Return the report that is stored with a version."""
        ...

    def aliases(self, model: str) -> dict[str, tuple[int, int]]:
        """Return version and seq by alias."""
        ...


def new_version(*, passed: bool = True, name: str = "a") -> NewVersion:
    """Return a version whose artifact is called after ``name`` (one hex digit)."""
    return NewVersion(
        artifact_key=f"models/flights/{name * 64}.msgpack",
        sha256=name * 64,
        size_bytes=10,
        snapshot_rows=99,
        snapshot_hash="0" * 64,
        holdout={"rule": "hash", "test_rows": 20},
        metrics={"log_loss": 0.5},
        gate={"summary": "passed: better" if passed else "refused: no better", "passed": passed},
        passed=passed,
        trials=[Trial(1, "linear", {"strength": 1.0}, {"loss": 0.5}, 0.1, chosen=True)],
    )


def claim(
    desk: RunsDesk, request_id: str, instance_type: str | None = "c7i.large", instance_id: str | None = "i-1"
) -> Claim:
    """Claim as some worker."""
    return desk.runs.claim(
        request_id, worker="w:1", instance_id=instance_id, instance_type=instance_type, lease_seconds=_LEASE
    )


def trial(number: int, loss: float = 0.5) -> Trial:
    """Return a finished trial."""
    return Trial(number, "tree_ensemble", {"num_leaves": 31, "length": 7}, {"loss": loss}, 0.25, chosen=False)


def line(number: int, level: str = "info", source: str = "trainer") -> Line:
    """Return a line that a run has said."""
    at = datetime(2026, 1, 2, 3, 4, 5, 678_000 + number, tzinfo=UTC)
    return Line(number, at, level, source, f"line {number} \N{LATIN SMALL LETTER U WITH DIAERESIS}")


def claimed(desk: RunsDesk, request_id: str) -> Job:
    """Claim, and have it."""
    job = claim(desk, request_id).job
    assert job is not None
    return job


class RunsContract:
    """Claims, leases, fences, ends, and publication with promotion."""

    def test_claim(self, desk: RunsDesk) -> None:
        """A queued request is taken with all that its run needs, and counts one attempt."""
        request_id = desk.request(upto_seq=70)
        job = claimed(desk, request_id)
        assert (job.lease.request_id, job.lease.fence, job.attempt) == (request_id, 1, 1)
        assert (job.model, job.upto_seq, job.known_seq, job.champion) == ("flights", 70, 0, None)
        assert job.settings["metric"] == "auto"
        row = desk.row(request_id)
        assert (row["state"], row["attempt"], row["fence"]) == ("running", 1, 1)
        assert desk.run_states(request_id) == ["running"]

    def test_unknown_request(self, desk: RunsDesk) -> None:
        """A request that does not exist is said to be unknown."""
        assert claim(desk, "00000000-0000-4000-8000-000000000000").outcome == "unknown"

    # --- which one ---

    def test_the_most_urgent_is_taken(self, desk: RunsDesk) -> None:
        """A message is a ticket: whatever it names, the highest priority goes first, then what it names, then age."""
        first, second = desk.request(upto_seq=1), desk.request(upto_seq=2)
        low, high = desk.request(upto_seq=3, priority=-5), desk.request(upto_seq=4, priority=9)
        taken = [claimed(desk, low).lease.request_id for _ in range(2)]
        assert taken == [high, first]
        third = desk.request(upto_seq=5)
        assert [claimed(desk, third).lease.request_id for _ in range(3)] == [third, second, low]
        assert claim(desk, low).outcome == "held"

    def test_as_many_tickets_as_requests(self, desk: RunsDesk) -> None:
        """However tickets and requests are mixed up, each ticket takes one and every request is taken."""
        ids = [desk.request(upto_seq=n, priority=n % 3) for n in range(6)]
        assert {claimed(desk, ident).lease.request_id for ident in ids} == set(ids)

    def test_workers_at_once_take_different_requests(self, desk: RunsDesk) -> None:
        """Tickets of four requests, used at the same moment: no two workers get one request, and none is left over."""
        ids = [desk.request(upto_seq=n) for n in range(4)]
        waiting = list(ids)
        taken: list[str] = []
        for _ in range(20):
            with ThreadPoolExecutor(4) as pool:
                answers = list(zip(waiting, pool.map(lambda ident: claim(desk, ident), waiting), strict=True))
            taken += [answer.job.lease.request_id for _, answer in answers if answer.job is not None]
            waiting = [ident for ident, answer in answers if answer.job is None]  # hidden for a moment, then again
            if not waiting:
                break
        assert sorted(taken) == sorted(ids)
        assert [desk.run_states(ident) for ident in ids] == [["running"]] * 4

    def test_a_request_for_other_machines_is_left_to_them(self, desk: RunsDesk) -> None:
        """What does not suit is not claimed, whatever its priority; its ticket is replaced whatever that one took."""
        gpu = desk.request(upto_seq=1, priority=9, instance_types=("g5.xlarge", "g6.xlarge"))
        other = desk.request(upto_seq=2)
        assert claimed(desk, gpu).lease.request_id == other
        assert desk.posted() == [gpu]
        assert claim(desk, gpu).outcome == "unsuited"
        assert desk.posted() == [gpu, gpu]
        assert claim(desk, other).outcome == "held"
        job = claim(desk, other, "g6.xlarge").job
        assert job is not None
        assert job.lease.request_id == gpu
        assert claim(desk, gpu).outcome == "held"

    def test_a_ticket_that_takes_another_leaves_none_behind(self, desk: RunsDesk) -> None:
        """Only a named request that waits for other machines gets a fresh message, not one that suits or is settled."""
        named, urgent = desk.request(upto_seq=1), desk.request(upto_seq=2, priority=9)
        assert claimed(desk, named).lease.request_id == urgent
        gpu, next_one = desk.request(upto_seq=3, instance_types=("g5.xlarge",)), desk.request(upto_seq=4)
        assert claimed(desk, urgent).lease.request_id == named
        assert desk.posted() == []
        assert claim(desk, gpu, "g5.xlarge").outcome == "claimed"
        assert claimed(desk, gpu).lease.request_id == next_one
        assert desk.posted() == []

    def test_what_refuses_spot_is_not_served_by_it(self, desk: RunsDesk) -> None:
        """Whatever its priority it is left to other capacity; a request that does not care is taken from both."""
        desk.launched("i-spot", "spot")
        desk.launched("i-firm", "on-demand")
        firm = desk.request(upto_seq=1, priority=9, spot=False)
        assert (desk.runs.open_requests("c7i.large", "i-spot"), desk.runs.open_requests("c7i.large", "i-firm")) == (
            0,
            1,
        )
        assert claim(desk, firm, "c7i.large", "i-spot").outcome == "unsuited"
        assert desk.posted() == [firm]
        for number, spot in enumerate((True, None), start=2):
            other = desk.request(upto_seq=number, spot=spot)
            job = claim(desk, firm, "c7i.large", "i-spot").job
            assert job is not None
            assert job.lease.request_id == other
        assert claim(desk, firm, "c7i.large", "i-firm").outcome == "claimed"

    def test_a_worker_on_no_instance_of_ours_is_no_spot_capacity(self, desk: RunsDesk) -> None:
        """A process on somebody's machine, or an instance that the ledger does not know, serves what refuses spot."""
        for number, instance in enumerate((None, "i-unknown")):
            assert claim(desk, desk.request(upto_seq=number, spot=False), None, instance).outcome == "claimed"

    def test_a_worker_without_a_type_suits_everything(self, desk: RunsDesk) -> None:
        """A process that is on no instance serves what comes."""
        gpu = desk.request(instance_types=("g5.xlarge",))
        assert claim(desk, gpu, None).outcome == "claimed"

    def test_what_must_not_be_trained_is_settled_on_the_way(self, desk: RunsDesk) -> None:
        """A cancelled request in front is ended, and the ticket still takes the one behind it."""
        gone = desk.request("deleted", priority=5)
        desk.delete_model("deleted")
        request_id = desk.request()
        assert claimed(desk, request_id).lease.request_id == request_id
        assert desk.row(gone)["state"] == "cancelled"
        assert claim(desk, gone).outcome == "settled"

    def test_a_message_of_another_environment_is_no_ticket(self, desk: RunsDesk) -> None:
        """It takes nothing, because it would be deleted for it."""
        desk.request()
        assert claim(desk, "00000000-0000-4000-8000-000000000000").outcome == "unknown"

    # --- trials ---

    def test_trials_are_shown_as_they_finish(self, desk: RunsDesk) -> None:
        """What a run has finished is on record, once each, the first word counts, and the next run begins anew."""
        request_id = desk.request()
        job = claimed(desk, request_id)
        for _ in range(2):
            desk.runs.keep_trials(job.lease, [trial(1)])
        desk.runs.keep_trials(job.lease, [trial(1), trial(2, 0.125), trial(2, 0.25)])
        desk.runs.release(job.lease, reason="spot notice")
        again = claimed(desk, request_id)
        theirs = replace(trial(3), worker="h:2")
        desk.runs.keep_trials(again.lease, [theirs])
        assert desk.trials(request_id) == [[trial(1), trial(2, 0.125)], [theirs]]

    def test_the_published_run_has_the_whole_study(self, desk: RunsDesk) -> None:
        """The version's run shows every trial, those of earlier runs included, and which ones were chosen."""
        request_id = desk.request()
        job = claimed(desk, request_id)
        desk.runs.keep_trials(job.lease, [trial(1)])
        desk.runs.release(job.lease, reason="spot notice")
        job = claimed(desk, request_id)
        desk.runs.keep_trials(job.lease, [trial(2)])
        study = [trial(1), replace(trial(2), chosen=True), replace(trial(3), pruned=True)]
        desk.runs.publish(job.lease, replace(new_version(), trials=study), compared_with=None)
        assert desk.trials(request_id) == [[trial(1)], study]

    # --- what runs say ---

    def test_lines_are_kept_as_they_come(self, desk: RunsDesk) -> None:
        """Each once, also those of a run that is over, by their numbers; the next run's are its own."""
        request_id = desk.request()
        job = claimed(desk, request_id)
        said = [line(1), line(2, "warning", "training"), line(3)]
        desk.runs.keep_lines(job.lease.run_id, said[:2])
        desk.runs.keep_lines(job.lease.run_id, [replace(said[1], text="again"), said[2]])
        desk.runs.release(job.lease, reason="spot notice")
        late = line(4, "error")
        desk.runs.keep_lines(job.lease.run_id, [late])
        again = claimed(desk, request_id)
        desk.runs.keep_lines(again.lease.run_id, [line(1)])
        assert desk.lines(job.lease.run_id) == [*said, late]
        assert desk.lines(again.lease.run_id) == [line(1)]

    # --- leases ---

    def test_live_lease_is_respected(self, desk: RunsDesk) -> None:
        """A second claim learns for how long the first one holds, and changes nothing."""
        request_id = desk.request()
        claimed(desk, request_id)
        second = claim(desk, request_id)
        assert (second.outcome, second.job) == ("held", None)
        assert 0 < second.seconds_left <= _LEASE
        assert desk.row(request_id)["attempt"] == 1

    def test_only_one_of_many_claims_wins(self, desk: RunsDesk) -> None:
        """Of eight claims at once exactly one gets the request."""
        request_id = desk.request()
        with ThreadPoolExecutor(8) as pool:
            outcomes = list(pool.map(lambda _: claim(desk, request_id).outcome, range(8)))
        assert sorted(outcomes) == ["claimed"] + ["held"] * 7
        assert desk.run_states(request_id) == ["running"]

    def test_lost_lease_is_taken_over(self, desk: RunsDesk) -> None:
        """When a lease has run out the next claim wins with a higher fence, and the old run counts as lost."""
        request_id = desk.request()
        zombie = claimed(desk, request_id)
        desk.expire(request_id)
        job = claimed(desk, request_id)
        assert (job.lease.fence, job.attempt) == (2, 2)
        assert desk.run_states(request_id) == ["lost", "running"]
        for write in (
            lambda: desk.runs.beat(zombie.lease, lease_seconds=_LEASE),
            lambda: desk.runs.keep_trials(zombie.lease, [trial(1)]),
            lambda: desk.runs.release(zombie.lease, reason="?"),
            lambda: desk.runs.retry(zombie.lease, error_class="crash", error="?"),
            lambda: desk.runs.fail(zombie.lease, error_class="crash", error="?"),
            lambda: desk.runs.block(zombie.lease, reason="?"),
            lambda: desk.runs.cancel(zombie.lease),
            lambda: desk.runs.publish(zombie.lease, new_version(), compared_with=None),
        ):
            with pytest.raises(LeaseLostError) as lost:
                write()
            assert lost.value.code == "zombie"
        assert desk.row(request_id)["state"] == "running"
        assert desk.trials(request_id) == [[], []]
        assert desk.versions("flights") == []

    def test_a_beat_keeps_the_lease(self, desk: RunsDesk) -> None:
        """A renewed lease is whole again; the progress is seen; the wish to cancel is told."""
        request_id = desk.request()
        job = claimed(desk, request_id)
        desk.expire(request_id)
        progress = {"stage": "fitting", "done": 3, "total": 9}
        assert desk.runs.beat(job.lease, lease_seconds=_LEASE, progress=progress) is False
        assert claim(desk, request_id).outcome == "held"
        assert desk.progress(request_id) == progress
        desk.ask_to_cancel(request_id)
        assert desk.runs.beat(job.lease, lease_seconds=_LEASE) is True
        assert desk.progress(request_id) == progress

    def test_release_is_free(self, desk: RunsDesk) -> None:
        """A request that was handed back is queued with a new message, and the attempt is not counted."""
        request_id = desk.request()
        for fence in range(1, MAX_ATTEMPTS + 3):
            job = claimed(desk, request_id)
            assert (job.attempt, job.lease.fence) == (1, fence)
            desk.runs.release(job.lease, reason="spot notice")
        row = desk.row(request_id)
        assert (row["state"], row["attempt"]) == ("queued", 0)
        assert desk.posted() == [request_id] * (MAX_ATTEMPTS + 2)
        assert set(desk.run_states(request_id)) == {"released"}

    def test_retry_counts(self, desk: RunsDesk) -> None:
        """A failed attempt counts, says why, and the request comes again."""
        request_id = desk.request()
        desk.runs.retry(claimed(desk, request_id).lease, error_class="oom", error="killed")
        row = desk.row(request_id)
        assert (row["state"], row["attempt"], row["error_class"]) == ("queued", 1, "oom")
        assert desk.posted() == [request_id]
        assert claimed(desk, request_id).attempt == 2

    def test_silent_deaths_end(self, desk: RunsDesk) -> None:
        """A request whose workers die without a word fails when its attempts are used up."""
        request_id = desk.request()
        for _ in range(MAX_ATTEMPTS):
            claimed(desk, request_id)
            desk.expire(request_id)
        last = claim(desk, request_id)
        assert (last.outcome, last.state) == ("settled", "failed")
        row = desk.row(request_id)
        assert (row["state"], row["error_class"]) == ("failed", "lost")
        assert desk.run_states(request_id) == ["lost"] * MAX_ATTEMPTS

    def test_failure_is_final(self, desk: RunsDesk) -> None:
        """A failed request keeps class and words, is not claimed again, and no message is posted for it."""
        request_id = desk.request()
        desk.runs.fail(claimed(desk, request_id).lease, error_class="data", error="one class")
        row = desk.row(request_id)
        assert (row["state"], row["error_class"], row["error"]) == ("failed", "data", "one class")
        again = claim(desk, request_id)
        assert (again.outcome, again.state) == ("settled", "failed")
        assert desk.posted() == []
        assert desk.run_states(request_id) == ["failed"]

    def test_blocked_by_data_is_an_end(self, desk: RunsDesk) -> None:
        """A request whose rows allow no version ends with the reason, is no failure and does not come again."""
        request_id = desk.request()
        desk.runs.block(claimed(desk, request_id).lease, reason="no new rows")
        row = desk.row(request_id)
        assert (row["state"], row["error_class"], row["error"]) == ("blocked_by_data", None, "no new rows")
        again = claim(desk, request_id)
        assert (again.outcome, again.state) == ("settled", "blocked_by_data")
        assert desk.posted() == []
        assert desk.run_states(request_id) == ["blocked_by_data"]
        assert desk.versions("flights") == []

    def test_cancelled_while_running(self, desk: RunsDesk) -> None:
        """A run that stopped on request leaves a cancelled request."""
        request_id = desk.request()
        job = claimed(desk, request_id)
        desk.ask_to_cancel(request_id)
        desk.runs.cancel(job.lease)
        assert desk.row(request_id)["state"] == "cancelled"
        assert desk.run_states(request_id) == ["cancelled"]

    def test_cancelled_when_nobody_holds_it(self, desk: RunsDesk) -> None:
        """A request that was asked to be cancelled while its worker was dying is cancelled by the next claim."""
        request_id = desk.request()
        claimed(desk, request_id)
        desk.ask_to_cancel(request_id)
        desk.expire(request_id)
        assert claim(desk, request_id).state == "cancelled"
        assert desk.row(request_id)["state"] == "cancelled"

    def test_deleted_model(self, desk: RunsDesk) -> None:
        """A request of a deleted model is cancelled instead of trained."""
        request_id = desk.request()
        desk.delete_model("flights")
        assert claim(desk, request_id).state == "cancelled"

    def test_first_version_becomes_champion(self, desk: RunsDesk) -> None:
        """The first version that passes is promoted; request, run and version are done together."""
        request_id = desk.request(upto_seq=70)
        job = claimed(desk, request_id)
        assert desk.runs.published(request_id) is None
        published = desk.runs.publish(job.lease, new_version(), compared_with=job.champion)
        assert (published.version, published.run_id, published.promoted) == (1, job.lease.run_id, True)
        assert published.words == "promoted: better"
        assert desk.runs.published(request_id) == published
        assert desk.row(request_id)["state"] == "done"
        assert desk.run_states(request_id) == ["done"]
        assert desk.aliases("flights") == {"champion": (1, 1)}
        assert claim(desk, request_id).state == "done"

    def test_better_challenger_takes_over(self, desk: RunsDesk) -> None:
        """The next version that passes becomes champion, and the old champion is 'previous'."""
        self._published(desk, upto_seq=70)
        job = claimed(desk, desk.request(upto_seq=90))
        assert (job.known_seq, job.known_version) == (70, 1)
        assert job.champion == Champion(1, 1, new_version().artifact_key, "a" * 64)
        published = desk.runs.publish(job.lease, new_version(name="b"), compared_with=job.champion)
        assert (published.version, published.promoted) == (2, True)
        assert desk.aliases("flights") == {"champion": (2, 2), "previous": (1, 1)}

    def test_the_report_is_stored_with_the_version(self, desk: RunsDesk) -> None:
        """Whatever JSON the report is, it is stored as it was given; a version without one has none."""
        job = claimed(desk, desk.request(upto_seq=70))
        report = {"form": 1, "metrics": {"roc_auc": {"value": 0.5, "low": None}}, "names": ["ü", "<b>", "\u2028"]}
        desk.runs.publish(job.lease, replace(new_version(), report=report), compared_with=job.champion)
        job = claimed(desk, desk.request(upto_seq=90))
        desk.runs.publish(job.lease, new_version(name="b"), compared_with=job.champion)
        assert (desk.report("flights", 1), desk.report("flights", 2)) == (report, None)

    def test_refused_challenger_is_kept_as_a_version(self, desk: RunsDesk) -> None:
        """A version that did not pass is registered, says why, and moves nothing."""
        self._published(desk, upto_seq=70)
        job = claimed(desk, desk.request(upto_seq=90))
        published = desk.runs.publish(job.lease, new_version(passed=False), compared_with=job.champion)
        assert (published.version, published.promoted) == (2, False)
        assert published.words == "not promoted: no better"
        assert desk.versions("flights") == [1, 2]
        assert desk.aliases("flights") == {"champion": (1, 1)}

    def test_version_that_waits(self, desk: RunsDesk) -> None:
        """A version that a person decides on moves nothing and is noted with the champion it was judged against."""
        self._published(desk, upto_seq=70)
        for number, passed in ((2, True), (3, False)):
            job = claimed(desk, desk.request(upto_seq=70 + number))
            waiting = replace(new_version(passed=passed, name="b"), waits=True)
            published = desk.runs.publish(job.lease, waiting, compared_with=job.champion)
            assert (published.version, published.promoted) == (number, False)
            assert published.words == f"pending approval: {'passed: better' if passed else 'refused: no better'}"
            assert desk.runs.published(job.lease.request_id) == published
        assert desk.pending("flights") == {2: 1, 3: 1}
        assert desk.aliases("flights") == {"champion": (1, 1)}

    def test_nobody_waits_for_a_comparison_that_is_over(self, desk: RunsDesk) -> None:
        """When the champion was moved meanwhile, a version that would wait is not promoted, and does not wait."""
        self._published(desk, upto_seq=70)
        job = claimed(desk, desk.request(upto_seq=90))
        desk.move_champion("flights", 1)
        published = desk.runs.publish(job.lease, replace(new_version(), waits=True), compared_with=job.champion)
        assert "the alias was moved" in published.words
        assert desk.pending("flights") == {}

    def test_champion_moved_meanwhile(self, desk: RunsDesk) -> None:
        """A version that was compared with another champion is not promoted, and the record says so."""
        self._published(desk, upto_seq=70)
        self._published(desk, upto_seq=80, name="b")
        job = claimed(desk, desk.request(upto_seq=90))
        desk.move_champion("flights", 1)
        published = desk.runs.publish(job.lease, new_version(name="c"), compared_with=job.champion)
        assert not published.promoted
        assert "compared with version 2" in published.words
        assert desk.aliases("flights")["champion"][0] == 1

    def test_champion_went_and_came_back(self, desk: RunsDesk) -> None:
        """Compare-and-set is on the alias's seq: a champion that was moved away and back is not the same."""
        self._published(desk, upto_seq=70)
        job = claimed(desk, desk.request(upto_seq=90))
        desk.move_champion("flights", 1)
        assert not desk.runs.publish(job.lease, new_version(name="c"), compared_with=job.champion).promoted

    def test_versions_of_two_runs_at_once(self, desk: RunsDesk) -> None:
        """Two publications at the same time get numbers 1 and 2, and only one is promoted."""
        jobs = [claimed(desk, desk.request(upto_seq=upto)) for upto in (70, 90)]
        with ThreadPoolExecutor(2) as pool:
            done = list(
                pool.map(lambda job: desk.runs.publish(job.lease, new_version(), compared_with=job.champion), jobs)
            )
        assert sorted(p.version for p in done) == [1, 2]
        assert sorted(p.promoted for p in done) == [False, True]
        assert desk.versions("flights") == [1, 2]

    def test_reproduction(self, desk: RunsDesk) -> None:
        """A version is fitted again from its own rows; request and run end with the outcome, and no version comes."""
        place = {"python": "3.11.7", "cpu": "x86_64", "packages": "a" * 64}
        made = claimed(desk, desk.request(upto_seq=70))
        desk.runs.publish(made.lease, replace(new_version(), environment=place), compared_with=None)
        desk.request(upto_seq=90)
        request_id = desk.reproduction("flights", 1)
        desk.rows_went("flights", 1, "erased")
        job = claimed(desk, request_id)
        assert job.upto_seq == 70
        assert job.reproduces == Original(1, f"models/flights/{'a' * 64}.msgpack", "a" * 64, "erased", place)
        outcome = Reproduction(1, "b" * 64, "a" * 64, ("numpy: 2 here, 1 there",))
        desk.runs.reproduced(job.lease, outcome, environment=place)
        assert (desk.row(request_id)["state"], desk.run_states(request_id)) == ("done", ["done"])
        assert desk.run_row(request_id) == (place, outcome.as_dict())
        assert desk.run_row(made.lease.request_id) == (place, None)
        assert (desk.versions("flights"), desk.runs.published(request_id)) == ([1], None)
        with pytest.raises(LeaseLostError):
            desk.runs.reproduced(job.lease, outcome, environment=place)

    def test_published_twice(self, desk: RunsDesk) -> None:
        """A second publication under the same lease is refused: the first one ended it."""
        job = claimed(desk, desk.request())
        desk.runs.publish(job.lease, new_version(), compared_with=None)
        with pytest.raises(LeaseLostError):
            desk.runs.publish(job.lease, new_version(name="b"), compared_with=None)
        assert desk.versions("flights") == [1]

    def test_model_deleted_while_running(self, desk: RunsDesk) -> None:
        """A version of a model that was deleted meanwhile is not promoted."""
        job = claimed(desk, desk.request())
        desk.delete_model("flights")
        published = desk.runs.publish(job.lease, new_version(), compared_with=None)
        assert not published.promoted
        assert "deleted" in published.words
        assert desk.aliases("flights") == {}

    def test_numbers_go_on_under_a_name_that_was_used_before(self, desk: RunsDesk) -> None:
        """A model made again under the name of a deleted one reuses no version number, nor does a late run of the old.

        Version objects and logged predictions know models by their names only.
        """
        self._published(desk, upto_seq=70)
        late = claimed(desk, desk.request(upto_seq=75))
        desk.delete_model("flights")
        job = claimed(desk, desk.request(upto_seq=80))
        assert (job.champion, job.known_seq) == (None, 0)
        assert job.model_id != late.model_id
        numbers = [
            desk.runs.publish(of.lease, new_version(name=name), compared_with=of.champion).version
            for of, name in ((late, "b"), (job, "c"))
        ]
        assert numbers == [2, 3]
        assert desk.aliases("flights")["champion"][0] == 3

    def test_open_requests_that_suit(self, desk: RunsDesk) -> None:
        """A worker can ask for what concerns it."""
        desk.request(upto_seq=1)
        desk.request(upto_seq=2, instance_types=("g5.xlarge",))
        counts = [desk.runs.open_requests(kind) for kind in (None, "c7i.large", "g5.xlarge")]
        assert counts == [2, 1, 2]

    def test_open_requests(self, desk: RunsDesk) -> None:
        """Queued and running requests count as open, others do not."""
        assert desk.runs.open_requests() == 0
        first, _ = desk.request(upto_seq=70), desk.request(upto_seq=80)
        job = claimed(desk, first)
        assert desk.runs.open_requests() == 2
        desk.runs.fail(job.lease, error_class="data", error="?")
        assert desk.runs.open_requests() == 1

    def _published(self, desk: RunsDesk, *, upto_seq: int, name: str = "a") -> None:
        job = claimed(desk, desk.request(upto_seq=upto_seq))
        assert desk.runs.publish(job.lease, new_version(name=name), compared_with=job.champion).promoted
