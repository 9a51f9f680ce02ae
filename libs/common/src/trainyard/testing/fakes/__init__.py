"""In-memory twins of the adapters; they pass the same contract suites (:mod:`trainyard.testing.contracts`)."""

from trainyard.testing.fakes.blobs import MemoryBlobs
from trainyard.testing.fakes.fleet import FixedPrices, MemoryFleet
from trainyard.testing.fakes.keeping import MemoryKeeping
from trainyard.testing.fakes.loading import MemoryLoadingBoard
from trainyard.testing.fakes.prediction_log import MemoryPredictionLog
from trainyard.testing.fakes.queue import MemoryQueue
from trainyard.testing.fakes.runs import MemoryRuns
from trainyard.testing.fakes.scheduling import MemoryStore
from trainyard.testing.fakes.searches import MemorySearches
from trainyard.testing.fakes.snapshots import MemorySnapshots
from trainyard.testing.fakes.sources import MemorySources
from trainyard.testing.fakes.studies import MemoryStudies
from trainyard.testing.fakes.warehouse import MemoryWarehouse
from trainyard.testing.fakes.workers import MemoryAttendance

__all__ = [
    "FixedPrices",
    "MemoryAttendance",
    "MemoryBlobs",
    "MemoryFleet",
    "MemoryKeeping",
    "MemoryLoadingBoard",
    "MemoryPredictionLog",
    "MemoryQueue",
    "MemoryRuns",
    "MemorySearches",
    "MemorySnapshots",
    "MemorySources",
    "MemoryStore",
    "MemoryStudies",
    "MemoryWarehouse",
]
