"""Asking for a version to be fitted again: what is made of it, and what is refused with which words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.unit.scheduler.request_scene import BY, NOWHERE, Scene

from trainyard.errors import ServiceError
from trainyard_scheduler.use_cases.reproductions import reproduce

if TYPE_CHECKING:
    from trainyard.contracts.requests import RequestRecord


class Versions(Scene):
    """A scene with versions."""

    def made(self, **settings: float) -> str:
        """Train a version; return the id of its run."""
        self.store.state.add_rows("flights", 1)
        _, request = self.ask(settings, priority=7, instance_types=["m7i.large"])
        self.claim(request.id)
        self.store.state.finish(request.id)
        return self.store.state.runs[-1].id

    def reproduce(self, run_id: str) -> tuple[bool, RequestRecord]:
        """Ask."""
        with self.store.begin() as records:
            return reproduce(records, run_id, BY)

    def refused(self, run_id: str) -> tuple[str, str]:
        """Ask in vain; return code and words."""
        with pytest.raises(ServiceError) as caught:
            self.reproduce(run_id)
        return caught.value.code, caught.value.message


@pytest.fixture
def scene() -> Versions:
    """A fresh scene."""
    return Versions()


def test_ask(scene: Versions) -> None:
    """It waits for the machines that made the version, with its budget; twice is once; it is sent and audited."""
    run_id = scene.made(budget_seconds=30)
    created, request = scene.reproduce(run_id)
    assert created
    assert (request.reason, request.reproduces, request.upto_seq, request.new_rows) == ("reproduce", 1, 0, 0)
    assert (request.priority, request.instance_types, request.settings["budget_seconds"]) == (7, ["m7i.large"], 30.0)
    assert scene.reproduce(run_id) == (False, request)
    assert len(scene.store.state.outbox) == 2
    assert scene.store.state.audit[-1].details["version"] == 1


def test_a_training_goes_its_way_meanwhile(scene: Versions) -> None:
    """An open reproduction is not taken for the training that somebody asks for, nor hinders it."""
    _, request = scene.reproduce(scene.made())
    created, training = scene.ask()
    assert created
    assert (training.id != request.id, training.reproduces) == (True, None)


def test_what_cannot_be_reproduced(scene: Versions) -> None:
    """Each refusal says why, and where one can go on."""
    assert scene.refused(NOWHERE)[0] == scene.refused("x")[0] == "unknown_run"
    first, second = scene.made(), scene.made()
    scene.reproduce(first)
    code, words = scene.refused(second)
    assert (code, "version 1, request " in words) == ("conflict", True)
    scene.store.state.rows_went(2)
    assert scene.refused(second) == ("conflict", "version 2 cannot be trained again to the same bytes: erased")
    scene.store.state.add_rows("flights", 1)
    _, request = scene.ask()
    scene.claim(request.id)
    scene.store.state.end(request.id, "failed")
    code, words = scene.refused(scene.store.state.runs[-1].id)
    assert (code, "trainyard runs late" in words) == ("conflict", True)


def test_what_became_of_it_is_explained(scene: Versions) -> None:
    """One that was refused for its rows says so, without advice that is for trainings."""
    _, request = scene.reproduce(scene.made())
    scene.claim(request.id)
    scene.store.state.end(request.id, "blocked_by_data", "version 1 cannot be trained again: erased")
    found = scene.explain(request.id)
    assert found["sentence"] == "its rows are gone: version 1 cannot be trained again: erased"
    assert found["to_do"] is None
