"""In-memory twins of the adapters; they pass the same contract suites (:mod:`trainyard.testing.contracts`)."""

from trainyard.testing.fakes.blobs import MemoryBlobs
from trainyard.testing.fakes.fleet import MemoryFleet
from trainyard.testing.fakes.queue import MemoryQueue
from trainyard.testing.fakes.runs import MemoryRuns
from trainyard.testing.fakes.snapshots import MemorySnapshots

__all__ = ["MemoryBlobs", "MemoryFleet", "MemoryQueue", "MemoryRuns", "MemorySnapshots"]
