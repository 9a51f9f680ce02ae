"""One behaviour suite for each protocol: subclass the mixin in a test module and give it its fixtures."""

from trainyard.testing.contracts.blobs import BlobStoreContract
from trainyard.testing.contracts.copies import CopiesContract, ShelfContract
from trainyard.testing.contracts.fleet import FleetContract
from trainyard.testing.contracts.keeping import KeepingContract
from trainyard.testing.contracts.launches import LaunchesContract
from trainyard.testing.contracts.loading import LoadingContract
from trainyard.testing.contracts.monitoring import MonitoringContract
from trainyard.testing.contracts.part_store import PartStoreContract
from trainyard.testing.contracts.prediction_log import PredictionLogContract
from trainyard.testing.contracts.prediction_months import PredictionMonthsContract
from trainyard.testing.contracts.queue import QueueContract
from trainyard.testing.contracts.runs import RunsContract
from trainyard.testing.contracts.scheduling import SchedulingContract
from trainyard.testing.contracts.searches import SearchesContract
from trainyard.testing.contracts.snapshots import SnapshotsContract
from trainyard.testing.contracts.sources import SourcesContract
from trainyard.testing.contracts.studies import StudiesContract
from trainyard.testing.contracts.upkeep import UpkeepContract
from trainyard.testing.contracts.warehouse import WarehouseContract
from trainyard.testing.contracts.workers import WorkersContract

__all__ = [
    "BlobStoreContract",
    "CopiesContract",
    "FleetContract",
    "KeepingContract",
    "LaunchesContract",
    "LoadingContract",
    "MonitoringContract",
    "PartStoreContract",
    "PredictionLogContract",
    "PredictionMonthsContract",
    "QueueContract",
    "RunsContract",
    "SchedulingContract",
    "SearchesContract",
    "ShelfContract",
    "SnapshotsContract",
    "SourcesContract",
    "StudiesContract",
    "UpkeepContract",
    "WarehouseContract",
    "WorkersContract",
]
