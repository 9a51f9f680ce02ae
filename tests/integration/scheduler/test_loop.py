"""The scheduler's loops over a real Postgres and the AWS emulator."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import sqlalchemy as sa
from tests.integration.scheduler.loops import (
    BY,
    ask_for,
    decisions_of,
    make_model,
    outlive_first_second,
    requests_of,
    running,
    take_ids,
)

from trainyard.adapters.aws.ec2 import Ec2Fleet
from trainyard.adapters.aws.s3 import S3Blobs
from trainyard.adapters.aws.sqs import SqsQueue
from trainyard.alias_object import decode_alias
from trainyard.auth import KEYS_OBJECT, decode_keys, make_key, parse_key
from trainyard.clock import SystemClock
from trainyard.config import load
from trainyard.contracts.blobs import BlobMissingError
from trainyard.contracts.fleet import Instance, LaunchSpec
from trainyard.contracts.queue import Outgoing
from trainyard.messages import DataArrived, TrainingRequest
from trainyard.testing.fakes import FixedPrices, MemoryFleet
from trainyard.testing.processes import wait_until
from trainyard_scheduler.domain.fleet import Rules
from trainyard_scheduler.use_cases import keys, policies
from trainyard_scheduler.use_cases.fleet import FleetKeeper, Looks
from trainyard_scheduler.use_cases.versions import remove_alias, set_alias

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.scheduler.warehouse import Warehouse

    from trainyard.adapters.aws.clients import AwsClients
    from trainyard.adapters.aws.ensure import AwsSetup
    from trainyard.adapters.postgres.scheduling import PostgresStore
    from trainyard.config import Config


def test_crossing_the_threshold(
    settings: Config, store: PostgresStore, warehouse: Warehouse, aws_clients: AwsClients
) -> None:
    """The batch that crosses the threshold, and none before, puts one request on the training queue and launches."""
    make_model(store, 10)
    outlive_first_second(aws_clients, settings)
    with running(settings):
        warehouse.add(9)
        wait_until(lambda: decisions_of(store)[:1] == ["not fired: 9 of 10 new rows"], "the first decision")
        assert requests_of(store) == []
        last = warehouse.add(1)
        ids = take_ids(aws_clients, settings.queue_training)
        (request,) = requests_of(store)
        assert ids == [request.id]
        assert (request.upto_seq, request.new_rows, request.reason) == (last, 10, "min_new_rows")
        fleet = Ec2Fleet(aws_clients.ec2, settings.env)
        wait_until(lambda: any(i.alive for i in fleet.instances()), "an instance")


def test_two_schedulers_at_once(
    settings: Config, store: PostgresStore, warehouse: Warehouse, aws_clients: AwsClients
) -> None:
    """Two schedulers over one database make one request, one decision and one launch."""
    make_model(store, 10)
    with ExitStack() as stack:
        stack.enter_context(running(settings))
        stack.enter_context(running(settings))
        for _ in range(4):
            warehouse.add(5)
        wait_until(lambda: len(requests_of(store)) > 0, "a request")
        warehouse.add(20)
        fleet = Ec2Fleet(aws_clients.ec2, settings.env)
        wait_until(lambda: any(i.alive for i in fleet.instances()), "an instance")
        newest = "not fired: a request is open already; "
        wait_until(lambda: decisions_of(store)[0].startswith(newest), "the decision after the last batch")
    assert len(requests_of(store)) == 1
    assert sum(reason.startswith("fired") for reason in decisions_of(store)) == 1
    assert len(fleet.instances()) == 1


def test_aliases_follow_the_database(
    settings: Config, store: PostgresStore, warehouse: Warehouse, aws_clients: AwsClients
) -> None:
    """An alias object appears with the alias, comes back after an overwrite and a deletion, and goes with the alias."""
    make_model(store, None)
    warehouse.add(20)
    request = ask_for(store)
    warehouse.claim(request.id)
    version = warehouse.finish(request.id)
    blobs = S3Blobs(aws_clients.s3, settings.bucket)

    def said() -> int | None:
        try:
            return decode_alias(blobs.get("aliases/late/champion").data).version
        except (BlobMissingError, ValueError):
            return None

    with running(settings):
        with store.begin() as records:
            set_alias(records, "late", "champion", version, expected_seq=0, reason="test", by=BY)
        wait_until(lambda: said() == version, "the alias object")
        blobs.put("aliases/late/champion", b"somebody else's")
        wait_until(lambda: said() == version, "the alias object after an overwrite", seconds=4)
        blobs.delete("aliases/late/champion")
        wait_until(lambda: said() == version, "the alias object after a deletion", seconds=4)
        with store.begin() as records:
            remove_alias(records, "late", "champion", BY)
        wait_until(lambda: said() is None, "the end of the alias object")


def test_keys_are_published(
    settings: Config, store: PostgresStore, aws_clients: AwsClients, tmp_path: Path, environment: dict[str, str]
) -> None:
    """The admin key of the file is registered and published at start, a revoked key leaves the object."""
    admin = make_key()
    (tmp_path / "admin").write_text(admin + "\n")
    blobs = S3Blobs(aws_clients.s3, settings.bucket)

    def published() -> set[str]:
        try:
            return set(decode_keys(blobs.get(KEYS_OBJECT).data))
        except BlobMissingError:
            return set()

    with running(load({**environment, "TRAINYARD_ADMIN_KEY_FILE": str(tmp_path / "admin")})):
        parsed = parse_key(admin)
        assert parsed is not None
        wait_until(lambda: published() == {parsed.key_id}, "the admin key")
        with store.begin() as records:
            made, _ = keys.make_key(records, "more", ["read"], None, BY)
        wait_until(lambda: published() == {parsed.key_id, made.id}, "the new key", seconds=4)
        with store.begin() as records:
            keys.revoke_key(records, made.id, BY)
        wait_until(lambda: published() == {parsed.key_id}, "the end of the revoked key", seconds=4)
        blobs.delete(KEYS_OBJECT)
        wait_until(lambda: published() == {parsed.key_id}, "the keys after a deletion", seconds=4)


def test_poison_on_the_arrived_queue(
    settings: Config, store: PostgresStore, warehouse: Warehouse, aws_clients: AwsClients, aws_setup: AwsSetup
) -> None:
    """Messages that are no news of a dataset stay for the dead letters; those behind them are worked on."""
    make_model(store, 10)
    warehouse.add(10, announce=False)
    queue = SqsQueue(aws_clients.sqs, settings.queue_arrived)
    poison = [
        Outgoing("DataArrived", "not base64!"),
        DataArrived("a\0b", "b", 1).outgoing(),
        DataArrived("Not a name", "b", 1).outgoing(),
        TrainingRequest("r").outgoing(),
    ]
    assert queue.send([*poison, DataArrived("flights", "b", 10).outgoing()]) == []
    assert policies.consume_arrived(store, queue, wait_seconds=5) == len(poison) + 1
    assert len(requests_of(store)) == 1
    wait_until(lambda: queue.depth().in_flight == len(poison), "the poison to be all that is left")


def test_instance_that_is_younger_than_a_slow_list(
    store: PostgresStore, warehouse: Warehouse, engine: sa.Engine
) -> None:
    """A scheduler whose view of EC2 is old does not take another's launch for gone, nor launch a second one."""
    fleet = MemoryFleet()
    make_model(store, None)
    warehouse.add(10)
    ask_for(store)

    class SlowFleet(MemoryFleet):
        """Lists what there was before another scheduler launched, fifteen seconds ago."""

        def instances(self) -> list[Instance]:
            listed = fleet.instances()
            keeper(fleet).step()
            with engine.begin() as connection:
                connection.execute(sa.text("UPDATE core.launch SET launched_at = launched_at - interval '15 s'"))
            return listed

    rules = Rules(LaunchSpec(("c7i.large",), spot=False), fleet_max=2)

    def keeper(fleet: MemoryFleet) -> FleetKeeper:
        return FleetKeeper(store, fleet, FixedPrices({}), rules=rules, looks=Looks(lambda: 0), clock=SystemClock())

    assert keeper(SlowFleet()).step() == 0
    with store.begin() as records:
        assert [launch.state for launch in records.launches.open()] == ["launched"]
    assert len(fleet.instances()) == 1
