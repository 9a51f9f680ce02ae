"""What every place where studies are kept must do."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import pytest

from trainyard.contracts.runs import Trial
from trainyard.contracts.studies import Choice, Method, Planned, Range, StudyGoneError, study_name

if TYPE_CHECKING:
    from trainyard.contracts.studies import Proposal, Studies, Study

PLAN = (
    Planned("prior", {}),
    Planned("tree_ensemble", {"num_leaves": 31, "own": True}, "boosted", {"num_leaves": 31, "rate": 0.05}),
    Planned("neural_network", {"hidden": [64, 32]}, "network", {"hidden": [64, 32], "alpha": 9.0}),
)
SPACE = {
    "boosted": Method(
        "tree_ensemble", {"num_leaves": Range(4, 255, log=True, whole=True), "rate": Range(0.02, 0.2, log=True)}
    ),
    "network": Method("neural_network", {"hidden": Choice(([64, 32], [128])), "alpha": Range(0.0, 1.0)}),
}
_SEED = 7
_PROPOSED = 6


class StudiesDesk(Protocol):
    """The studies under test, and what else the contract needs: a request whose end can be seen."""

    studies: Studies

    def request(self) -> str:
        """Return the id of an open request."""
        ...

    def end(self, request_id: str) -> None:
        """End it."""
        ...


def result(proposal: Proposal) -> Trial:
    """Return what came of a proposal: worse the more leaves it has."""
    loss = 0.5 + proposal.params.get("num_leaves", 100) / 1_000
    return Trial(proposal.number, proposal.kind, proposal.params, {"loss": loss}, 0.25, chosen=False)


def step(study: Study) -> Proposal:
    """Ask and tell."""
    proposal = study.ask()
    study.tell(result(proposal))
    return proposal


class StudiesContract:
    """Plans, proposals, and searches that go on elsewhere."""

    def test_what_is_planned_comes_first(self, desk: StudiesDesk) -> None:
        """In its order, with its parameters to the letter; then come proposals from the space."""
        study = desk.studies.join(study_name(desk.request(), 0, "1"), seed=_SEED, metric="auto")
        study.plan(PLAN, SPACE)
        asked = [step(study) for _ in range(len(PLAN) + _PROPOSED)]
        assert [one.number for one in asked] == list(range(1, len(asked) + 1))
        assert [(one.kind, one.params) for one in asked[: len(PLAN)]] == [(one.kind, one.params) for one in PLAN]
        kinds = {method.kind: method.params for method in SPACE.values()}
        for proposal in asked[len(PLAN) :]:
            space = kinds[proposal.kind]
            assert proposal.params.keys() == space.keys()
            assert all(value in space[name] for name, value in proposal.params.items()), proposal

    def test_it_is_remembered(self, desk: StudiesDesk) -> None:
        """Whoever comes later reads what was told; a study that nobody began has nothing."""
        name = study_name(desk.request(), 0, "1")
        assert desk.studies.finished(name) == []
        study = desk.studies.join(name, seed=_SEED, metric="auto")
        study.plan(PLAN, SPACE)
        told = [result(step(study)) for _ in PLAN]
        assert desk.studies.finished(name) == told
        assert desk.studies.finished(study_name(name.split("/")[0], 9, "1")) == []

    def test_what_was_pruned_is_remembered(self, desk: StudiesDesk) -> None:
        """It is a finished trial, and what comes next learns from it."""
        name = study_name(desk.request(), 0, "1")
        study = desk.studies.join(name, seed=_SEED, metric="auto")
        study.plan(PLAN, SPACE)
        pruned = [replace(result(study.ask()), pruned=True)]
        study.tell(pruned[0])
        told = [*pruned, *(result(step(study)) for _ in range(7))]
        assert desk.studies.finished(name) == told

    def test_telling_again_changes_nothing(self, desk: StudiesDesk) -> None:
        """An answer that was lost makes the holder say it twice."""
        name = study_name(desk.request(), 0, "1")
        study = desk.studies.join(name, seed=_SEED, metric="auto")
        study.plan(PLAN, SPACE)
        first = result(study.ask())
        study.tell(first)
        study.tell(Trial(1, first.kind, {}, {"loss": 9.0}, 1.0, chosen=False))
        assert desk.studies.finished(name) == [first]
        assert study.ask().number == 2

    def test_what_was_skipped_does_not_come_again(self, desk: StudiesDesk) -> None:
        """It leaves a gap in the numbers, and no trial."""
        name = study_name(desk.request(), 0, "1")
        study = desk.studies.join(name, seed=_SEED, metric="auto")
        study.plan(PLAN, SPACE)
        for _ in range(2):
            step(study)
        study.skip(study.ask().number)
        step(study)
        assert [trial.number for trial in desk.studies.finished(name)] == [1, 2, 4]

    @pytest.mark.parametrize("after", [1, len(PLAN) + 3])
    def test_an_interrupted_search_is_proposed_the_same(self, desk: StudiesDesk, after: int) -> None:
        """What was asked for and never told is asked for again under its number, and nothing after it differs."""
        peaceful = desk.studies.join(study_name(desk.request(), 0, "1"), seed=_SEED, metric="auto")
        peaceful.plan(PLAN, SPACE)
        expected = [step(peaceful) for _ in range(len(PLAN) + _PROPOSED)]
        name = study_name(desk.request(), 0, "1")
        first = desk.studies.join(name, seed=_SEED, metric="auto")
        first.plan(PLAN, SPACE)
        asked = [step(first) for _ in range(after)]
        first.ask()
        second = desk.studies.join(name, seed=_SEED, metric="auto")
        second.plan(PLAN, SPACE)
        asked += [step(second) for _ in range(len(expected) - after)]
        assert asked == expected

    def test_who_helps_tries_other_candidates(self, desk: StudiesDesk) -> None:
        """Leader and helper are never given the same one, and each hears what the other has told, once."""
        name = study_name(desk.request(), 0, "1")
        leader = desk.studies.join(name, seed=_SEED, metric="auto", seated=lambda: {"seat"})
        leader.plan(PLAN, SPACE)
        first = result(step(leader))
        helper = desk.studies.help(name, seed=_SEED, metric="auto", seat="seat")
        helper.plan((), SPACE)
        assert helper.news() == [first]
        told = {"leader": [first], "helper": []}
        for _ in range(4):
            asked = {"leader": leader.ask(), "helper": helper.ask()}
            for who, study in (("helper", helper), ("leader", leader)):
                told[who].append(replace(result(asked[who]), worker=who))
                study.tell(told[who][-1])
        numbers = [trial.number for trials in told.values() for trial in trials]
        assert sorted(numbers) == list(range(1, 10))
        assert leader.news() == told["helper"]
        assert helper.news() == told["leader"][1:]
        assert leader.news() == helper.news() == []
        assert desk.studies.finished(name) == sorted(told["leader"] + told["helper"], key=lambda trial: trial.number)

    def test_what_a_helper_leaves_the_leader_tries(self, desk: StudiesDesk) -> None:
        """Not while the helper has its seat, and no other helper; what both have told in the end counts once."""
        name = study_name(desk.request(), 0, "1")
        seats = {"gone", "there"}
        leader = desk.studies.join(name, seed=_SEED, metric="auto", seated=lambda: seats)
        leader.plan(PLAN, SPACE)
        step(leader)
        gone, there = (desk.studies.help(name, seed=_SEED, metric="auto", seat=seat) for seat in ("gone", "there"))
        for helper in (gone, there):
            helper.plan((), SPACE)
        left = gone.ask()
        assert step(leader).number == 3
        seats.remove("gone")
        assert step(there).number == 4
        again = leader.ask()
        assert again == left
        gone.tell(result(left))
        leader.tell(replace(result(again), seconds=9.0))
        assert [trial.seconds for trial in desk.studies.finished(name) if trial.number == left.number] == [0.25]
        assert leader.ask().number == 5

    def test_whoever_takes_over_tries_what_a_helper_was_at(self, desk: StudiesDesk) -> None:
        """A new leader knows none of the old one's helpers."""
        name = study_name(desk.request(), 0, "1")
        leader = desk.studies.join(name, seed=_SEED, metric="auto", seated=lambda: {"seat"})
        leader.plan(PLAN, SPACE)
        step(leader)
        helper = desk.studies.help(name, seed=_SEED, metric="auto", seat="seat")
        helper.plan((), SPACE)
        asked = {helper.ask().number, leader.ask().number}
        second = desk.studies.join(name, seed=_SEED, metric="auto", seated=set)
        second.plan(PLAN, SPACE)
        assert {step(second).number for _ in asked} == asked

    def test_a_study_is_not_made_again(self, desk: StudiesDesk) -> None:
        """One that wakes up after the end of its request finds none, and makes none."""
        name = study_name(desk.request(), 0, "1")
        desk.studies.join(name, seed=1, metric="auto").plan(PLAN, SPACE)
        desk.end(name.split("/")[0])
        with pytest.raises(StudyGoneError):
            desk.studies.join(name, seed=1, metric="auto")
        with pytest.raises(StudyGoneError):
            desk.studies.help(name, seed=1, metric="auto", seat="seat")

    def test_the_seed_decides(self, desk: StudiesDesk) -> None:
        """Two seeds propose different things."""
        asked = []
        for seed in (1, 2):
            study = desk.studies.join(study_name(desk.request(), 0, "1"), seed=seed, metric="auto")
            study.plan(PLAN, SPACE)
            asked.append([step(study) for _ in range(len(PLAN) + 3)][len(PLAN) :])
        assert asked[0] != asked[1]

    def test_a_study_goes_with_its_request(self, desk: StudiesDesk) -> None:
        """When the request has ended nothing is left, and a holder that does not know it yet is told."""
        request_id, other = desk.request(), desk.request()
        names = [study_name(request_id, 0, "1"), study_name(other, 3, "1")]
        studies = [desk.studies.join(name, seed=1, metric="auto") for name in names]
        for study in studies:
            study.plan(PLAN, SPACE)
            step(study)
        desk.end(request_id)
        assert desk.studies.finished(study_name(request_id, 0, "1")) == []
        assert len(desk.studies.finished(study_name(other, 3, "1"))) == 1
        with pytest.raises(StudyGoneError):
            studies[0].ask()
