"""The fleet contract on the fake and on EC2."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

import pytest

from trainyard.adapters.aws.ec2 import Ec2Fleet
from trainyard.adapters.aws.ensure import AwsSetup
from trainyard.contracts.fleet import LaunchSpec, NoCapacityError
from trainyard.testing.contracts import FleetContract
from trainyard.testing.fakes import MemoryFleet

if TYPE_CHECKING:
    from trainyard.adapters.aws.clients import AwsClients
    from trainyard.config import Config

_environments = (f"contract-{number}" for number in itertools.count(1))

pytestmark = pytest.mark.any_aws


class TestMemoryFleet(FleetContract):
    """The fake, and what only the fake can be told: that there is no capacity."""

    @pytest.fixture
    def fleet(self) -> MemoryFleet:
        """A fleet without instances."""
        return MemoryFleet()

    @pytest.fixture
    def other_environment(self) -> MemoryFleet:
        """Another one."""
        return MemoryFleet()

    def test_next_type_when_the_first_is_gone(self, fleet: MemoryFleet) -> None:
        """The types are tried in order."""
        fleet.no_capacity = {"c7i.large"}
        assert fleet.launch("launch-1", LaunchSpec(("c7i.large", "m6i.large"), spot=True)).instance_type == "m6i.large"

    def test_on_demand_when_spot_is_gone(self, fleet: MemoryFleet) -> None:
        """No spot capacity means on-demand capacity."""
        fleet.no_spot = {"c7i.large"}
        launched = fleet.launch("launch-1", LaunchSpec(("c7i.large",), spot=True))
        assert launched.instance_id not in fleet.spot

    def test_no_capacity_at_all(self, fleet: MemoryFleet) -> None:
        """Nothing to be had is an error of its own, and the same launch succeeds later."""
        spec = LaunchSpec(("c7i.large",), spot=True)
        fleet.no_capacity = {"c7i.large"}
        with pytest.raises(NoCapacityError, match="InsufficientInstanceCapacity"):
            fleet.launch("launch-1", spec)
        fleet.no_capacity = set()
        assert fleet.launch("launch-1", spec).launch_id == "launch-1"


class TestEc2Fleet(FleetContract):
    """The adapter, on the emulator; the launch template is made when the first launch misses it."""

    @pytest.fixture
    def fleet(self, aws_clients: AwsClients, aws_config: Config) -> Ec2Fleet:
        """A fleet of an environment of its own."""
        return _fleet(aws_clients, aws_config)

    @pytest.fixture
    def other_environment(self, aws_clients: AwsClients, aws_config: Config) -> Ec2Fleet:
        """Another environment on the same AWS account."""
        return _fleet(aws_clients, aws_config)


def _fleet(clients: AwsClients, config: Config) -> Ec2Fleet:
    own = dataclasses.replace(config, env=next(_environments))
    return Ec2Fleet(clients.ec2, own.env, on_missing=AwsSetup(clients, own).ensure)
