"""What every fleet does. The class needs the fixtures ``fleet`` and ``other_environment``, both without instances."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trainyard.contracts.fleet import LaunchSpec

if TYPE_CHECKING:
    from trainyard.contracts.fleet import Fleet

_SPEC = LaunchSpec(("c7i.large", "m6i.large"), spot=True)


class FleetContract:
    """Launching once, looking and ending."""

    @pytest.mark.parametrize("spot", [True, False])
    def test_launched_instance_is_seen(self, fleet: Fleet, spot: bool) -> None:
        """A launch gives a live instance of the best type, and the list carries its launch id."""
        launched = fleet.launch("launch-1", LaunchSpec(("c7i.large", "m6i.large"), spot=spot))
        assert launched.alive
        assert (launched.launch_id, launched.instance_type) == ("launch-1", "c7i.large")
        assert launched.market == ("spot" if spot else "on-demand")
        (seen,) = fleet.instances()
        assert (seen.instance_id, seen.launch_id, seen.alive) == (launched.instance_id, "launch-1", True)

    def test_same_launch_twice(self, fleet: Fleet) -> None:
        """A launch that is repeated, because its answer was lost, gives the instance of the first."""
        first = fleet.launch("launch-1", _SPEC)
        again = fleet.launch("launch-1", _SPEC)
        other = fleet.launch("launch-2", _SPEC)
        assert first.instance_id == again.instance_id != other.instance_id
        assert len(fleet.instances()) == 2

    def test_terminate(self, fleet: Fleet) -> None:
        """An ended instance is no longer alive; the others are."""
        ended, kept = fleet.launch("launch-1", _SPEC), fleet.launch("launch-2", _SPEC)
        fleet.terminate([ended.instance_id])
        alive = {i.instance_id for i in fleet.instances() if i.alive}
        assert alive == {kept.instance_id}

    def test_terminate_again_and_unknown(self, fleet: Fleet) -> None:
        """Ending nothing, an instance twice, or one that EC2 has forgotten, is no error and spares nobody else."""
        launched = fleet.launch("launch-1", _SPEC)
        fleet.terminate([])
        fleet.terminate(["i-0123456789abcdef0", launched.instance_id])
        fleet.terminate([launched.instance_id])
        assert not any(i.alive for i in fleet.instances())

    def test_ended_launch_is_not_launched_again(self, fleet: Fleet) -> None:
        """A launch id stands for one instance for ever."""
        launched = fleet.launch("launch-1", _SPEC)
        fleet.terminate([launched.instance_id])
        again = fleet.launch("launch-1", _SPEC)
        assert again.instance_id == launched.instance_id
        assert not again.alive

    def test_more_instances_than_one_page(self, fleet: Fleet) -> None:
        """All instances are listed, however many there are."""
        ids = {fleet.launch(f"launch-{i}", _SPEC).launch_id for i in range(120)}
        assert {i.launch_id for i in fleet.instances()} == ids

    def test_environments_do_not_see_each_other(self, fleet: Fleet, other_environment: Fleet) -> None:
        """The same launch id in two environments is two instances, and neither list shows the other's."""
        mine = fleet.launch("launch-1", _SPEC)
        theirs = other_environment.launch("launch-1", _SPEC)
        assert [i.instance_id for i in fleet.instances()] == [mine.instance_id]
        assert [i.instance_id for i in other_environment.instances()] == [theirs.instance_id]
