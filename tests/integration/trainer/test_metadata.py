"""The trainer's view of the instance metadata service, on the EC2 host's own server."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from trainyard.clock import SystemClock
from trainyard.testing.processes import free_port, wait_until
from trainyard_ec2host.domain import Machine
from trainyard_ec2host.web import MetadataServer, MetadataStore
from trainyard_trainer.edges import Metadata, SpotWatch
from trainyard_trainer.ports import Stop

if TYPE_CHECKING:
    from collections.abc import Iterator

ID = "i-0123456789abcdef0"


def machine(interrupt_at: datetime | None = None) -> Machine:
    """Return the instance."""
    return Machine(ID, "c7i.large", "ami-1", "us-east-1a", "10.0.0.1", spot=True, interrupt_at=interrupt_at)


@pytest.fixture
def served() -> Iterator[tuple[MetadataStore, Metadata]]:
    """A metadata service for one instance, and that instance's view of it."""
    store = MetadataStore(SystemClock())
    store.publish({ID: machine()})
    server = MetadataServer(0, store)
    server.start()
    yield store, Metadata(f"http://127.0.0.1:{server.server_address[1]}/{ID}")
    server.shutdown()
    server.server_close()


def test_instance_id(served: tuple[MetadataStore, Metadata]) -> None:
    """The instance learns who it is, with a token of version 2."""
    _, metadata = served
    assert metadata.instance_id() == ID
    assert metadata.instance_type() == "c7i.large"
    assert metadata.interruption() is None


def test_spot_notice_stops_the_trainer(served: tuple[MetadataStore, Metadata]) -> None:
    """A notice that appears is passed on once."""
    store, metadata = served
    stop = Stop()
    watch = SpotWatch(metadata, stop.request, every_seconds=0.05)
    watch.start()
    assert stop.reason is None
    store.publish({ID: machine(datetime(2030, 1, 1, tzinfo=UTC))})
    wait_until(lambda: stop.reason == "spot notice", "the notice")
    watch.close()


def test_no_metadata_service() -> None:
    """Where nobody answers this is no instance, and asking takes a moment only."""
    metadata = Metadata(f"http://127.0.0.1:{free_port()}")
    assert metadata.instance_id() is None
    assert metadata.interruption() is None
