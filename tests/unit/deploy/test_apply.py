"""`deploy apply` and `destroy`, step by step, against an account in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from trainyard import crashpoints
from trainyard.clock import ManualClock
from trainyard.crashpoints import CrashPointError
from trainyard.errors import ConfigError
from trainyard.testing.fakes.blobs import MemoryBlobs
from trainyard_deploy.choices import Choices
from trainyard_deploy.engine import Engine, Records, Report
from trainyard_deploy.ports import DeployError
from trainyard_deploy.stacks import Place
from trainyard_deploy.steps import Deployment, Outside
from trainyard_deploy.testing import MemoryCloud, MemoryImages, MemorySmoke

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PLACE = Place("test", "111122223333", "eu-west-1")
CHOICES = Choices(own_functions=("late", "buys"))


@dataclass
class Account:
    """An account, and everything that deploys to it."""

    cloud: MemoryCloud = field(default_factory=lambda: MemoryCloud("test"))
    images: MemoryImages = field(default_factory=MemoryImages)
    smoke: MemorySmoke = field(default_factory=MemorySmoke)
    blobs: MemoryBlobs = field(default_factory=MemoryBlobs)
    told: list[str] = field(default_factory=list)
    choices: Choices = CHOICES

    @property
    def deployment(self) -> Deployment:
        return Deployment(PLACE, self.choices, Outside(self.cloud, self.images, self.smoke, ManualClock()))

    def apply(self, check: Callable[[], None] = lambda: None) -> None:
        deployment = self.deployment
        report = Report(
            began=lambda step: self.told.append(step.name),
            skipped=lambda step: self.told.append(f"({step.name})"),
            rolled_back=lambda step, _: self.told.append(f"back from {step.name}"),
        )
        engine = Engine(
            Records(self.blobs, "test"),
            deployment.steps(),
            check=check,
            roll_back=deployment.roll_back,
            report=report,
        )
        engine.apply(deployment.inputs(self.images.source), deployment.before)


STEPS = [step.name for step in Account().deployment.steps()]


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    """Leave no armed point behind."""
    yield
    crashpoints.arm({})


def arm(step: str, action: str) -> None:
    crashpoints.arm({"TRAINYARD_ENV": "test", "CHAOS": f"deploy {step}:{action}"})


def test_apply_makes_everything() -> None:
    """After it there is every stack, the release runs on the newest schema, and all functions answer at their alias."""
    account = Account()
    account.apply()

    made = account.cloud.stacks
    assert list(made) == [
        *("network", "queues", "storage", "registry", "database", "roles", "services", "fleet"),
        *("predictor", "predictor-late", "predictor-buys", "alarms"),
    ]
    assert account.cloud.running == account.cloud.wanted_release
    assert account.cloud.migrated == [account.cloud.running]
    assert [bool(made[part]["ReleaseVersion"]) for part in ("predictor", "predictor-late", "predictor-buys")] == [
        True
    ] * 3
    assert made["predictor-late"]["Model"] == "late"
    assert made["fleet"]["Image"].startswith(
        "111122223333.dkr.ecr.eu-west-1.amazonaws.com/trainyard-test/trainer@sha256:"
    )
    assert account.smoke.runs == 1
    assert account.told == STEPS


def test_apply_twice_changes_nothing() -> None:
    """Nothing is left to do, and every step may be done once more."""
    account = Account()
    account.apply()
    once = repr(account.cloud.state)
    account.apply()
    assert repr(account.cloud.state) == once


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("action", ["error", "lost"])
def test_killed_at_any_step_it_ends_the_same(step: str, action: str) -> None:
    """Killed before a step's effect, or behind it and before it was written down; run again; the same end state."""
    undisturbed = Account()
    undisturbed.apply()
    account = Account()
    arm(step, action)
    with pytest.raises(CrashPointError):
        account.apply()
    crashpoints.arm({})
    account.told.clear()

    account.apply()

    assert account.cloud.state == undisturbed.cloud.state
    before = STEPS[: min(STEPS.index(step), STEPS.index("run"))]
    assert account.told[: len(before)] == [f"({name})" for name in before]


@pytest.mark.parametrize("step", STEPS)
def test_a_new_release_that_was_killed_ends_the_same(step: str) -> None:
    """As above, for the second release of an environment."""
    undisturbed = Account()
    undisturbed.apply()
    undisturbed.images.source = "two"
    undisturbed.apply()
    account = Account()
    account.apply()
    account.images.source = "two"
    arm(step, "lost")
    with pytest.raises(CrashPointError):
        account.apply()
    crashpoints.arm({})

    account.apply()

    assert account.cloud.state == undisturbed.cloud.state


def test_a_failed_smoke_test_brings_the_old_release_back() -> None:
    """People have what they had: the services' release and every function's version."""
    account = Account()
    account.apply()
    running, functions = account.cloud.running, ("trainyard-test-predictor", "trainyard-test-predictor-late")
    live = [account.cloud.live(name) for name in functions]
    account.images.source = "two"
    account.smoke.problem = "no prediction came"

    with pytest.raises(DeployError, match="no prediction came"):
        account.apply()

    assert account.cloud.running == running
    assert [account.cloud.live(name) for name in functions] == live
    assert account.told[-1] == "back from smoke"

    account.smoke.problem = None
    account.apply()
    assert account.cloud.running != running
    assert [account.cloud.live(name) for name in functions] != live


def test_a_sick_function_never_reaches_people() -> None:
    """A new version is asked how it is before anything that people meet has changed."""
    account = Account()
    account.apply()
    running, live = account.cloud.running, account.cloud.live("trainyard-test-predictor")
    account.images.source = "two"
    account.cloud.sick = True

    with pytest.raises(DeployError, match="not healthy"):
        account.apply()

    assert account.cloud.running == running
    assert account.cloud.live("trainyard-test-predictor") == live
    assert "run" not in account.told[len(STEPS) :]


def test_a_release_replaces_one_that_never_ended() -> None:
    """What an unfinished deployment found live is what a failure of the next one brings back."""
    account = Account()
    account.apply()
    good = account.cloud.running
    account.images.source = "two"
    arm("move predictor", "lost")
    with pytest.raises(CrashPointError):
        account.apply()
    crashpoints.arm({})
    account.images.source = "three"
    account.smoke.problem = "broken"
    with pytest.raises(DeployError):
        account.apply()
    assert account.cloud.running == good


def test_a_lost_lease_ends_it_before_the_next_step() -> None:
    """Whoever was taken for dead changes nothing any more."""
    account = Account()
    left = iter(range(3))

    def check() -> None:
        if next(left, None) is None:
            raise DeployError("taken over")

    with pytest.raises(DeployError, match="taken over"):
        account.apply(check)
    assert list(account.cloud.stacks) == STEPS_OF_STACKS[:3]


STEPS_OF_STACKS = [name.removeprefix("stack ") for name in STEPS if name.startswith("stack ")]


def test_destroy_keeps_the_data() -> None:
    """Everything goes but the bucket; Postgres leaves a snapshot, which its template says."""
    account = Account()
    account.apply()
    for step in account.deployment.destroy_steps(data_too=False):
        step.do(None)  # type: ignore[arg-type]
    assert list(account.cloud.stacks) == ["storage"]
    assert account.cloud.release() is None

    for step in account.deployment.destroy_steps(data_too=True):
        step.do(None)  # type: ignore[arg-type]
    assert account.cloud.stacks == {}


def test_destroy_changes_nothing_of_postgres_but_its_protection() -> None:
    """Whoever destroys without the file of choices gives Postgres no other size on its last way."""
    account = Account(choices=Choices(database_class="db.t4g.small"))
    account.apply()
    account.choices = Choices()
    before = account.cloud.parameters("database")
    _destroy_step(account, "unprotect")

    assert account.cloud.parameters("database") == {**(before or {}), "DeletionProtection": "false"}


def test_destroy_makes_no_postgres_that_never_was() -> None:
    """An `apply` that came as far as the registry leaves nothing to unprotect."""
    account = Account()
    _destroy_step(account, "unprotect")
    assert account.cloud.stacks == {}


def test_destroy_ends_the_trainers_behind_who_launches_them() -> None:
    """A trainer in a subnet keeps the network, and the scheduler launches another one for each that ends."""
    account = Account()
    account.apply()
    account.cloud.trainers = 2
    for step in account.deployment.destroy_steps(data_too=False):
        step.do(None)  # type: ignore[arg-type]
    assert list(account.cloud.stacks) == ["storage"]


def _destroy_step(account: Account, name: str) -> None:
    (step,) = (step for step in account.deployment.destroy_steps(data_too=False) if step.name == name)
    step.do(None)  # type: ignore[arg-type]


def test_plan_shows_what_would_change() -> None:
    """All stacks before the first deployment; those that the choice touches after it; none when nothing changed."""
    account = Account()
    assert [change.stack for change in account.deployment.preview(None)] == STEPS_OF_STACKS
    account.apply()
    record = Records(account.blobs, "test").load()
    assert list(account.deployment.preview(record)) == []

    account.choices = Choices(own_functions=("late", "buys"), database_class="db.t4g.small")
    assert [change.stack for change in account.deployment.preview(record)] == ["database"]


def test_a_model_that_leaves_the_list_takes_its_function_along() -> None:
    """The plan says so, `apply` does it when the release is good, and the other model's function stays."""
    account = Account()
    account.apply()
    account.choices = Choices(own_functions=("buys",))
    record = Records(account.blobs, "test").load()
    (change,) = account.deployment.preview(record)
    assert (change.stack, change.action) == ("predictor-late", "Remove")

    account.smoke.problem = "no prediction came"
    with pytest.raises(DeployError, match="no prediction came"):
        account.apply()
    assert "predictor-late" in account.cloud.stacks, "who comes back finds what was there"

    account.smoke.problem = None
    account.apply()
    assert "predictor-late" not in account.cloud.stacks
    assert account.cloud.live("trainyard-test-predictor-buys")
    assert list(account.deployment.preview(Records(account.blobs, "test").load())) == []


def test_a_function_that_cannot_be_deleted_takes_no_release_back() -> None:
    """The new release is good already: it stays, and the next `apply` begins at the deletion."""
    account = Account()
    account.apply()
    account.choices, account.images.source = Choices(own_functions=("buys",)), "two"
    before = account.cloud.running
    arm("retire", "error")
    with pytest.raises(CrashPointError):
        account.apply()
    crashpoints.arm({})
    released = account.cloud.running
    assert released != before
    account.told.clear()

    account.apply()

    assert (account.told[-2], account.told[-1]) == ("(smoke)", "retire")
    assert (account.cloud.running, "predictor-late" in account.cloud.stacks) == (released, False)


def test_destroy_finds_functions_that_no_choice_names() -> None:
    """Whoever destroys without the file of choices leaves no function behind."""
    account = Account()
    account.apply()
    account.choices = Choices()
    for step in account.deployment.destroy_steps(data_too=False):
        step.do(None)  # type: ignore[arg-type]
    assert list(account.cloud.stacks) == ["storage"]


def test_a_function_is_named_by_its_model() -> None:
    """Stacks have no _ in their names, functions have; what AWS would not take is refused before anything is made."""
    account = Account(choices=Choices(own_functions=("late_flights",)))
    account.apply()
    assert account.cloud.stacks["predictor-late-flights"]["Model"] == "late_flights"
    assert account.cloud.live("trainyard-test-predictor-late_flights")
    with pytest.raises(ConfigError, match="longer than the 64"):
        _ = Account(choices=Choices(own_functions=("m" * 48,))).deployment


@pytest.mark.parametrize("names", [("late", "late"), ("Late",), ("a-b",), (3,)])
def test_names_that_no_model_has_are_refused(names: tuple[str, ...]) -> None:
    """A stack of a name that is none would fail late, and halfway."""
    with pytest.raises(ConfigError, match="own_functions"):
        Choices(own_functions=names)
