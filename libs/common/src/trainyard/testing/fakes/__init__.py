"""In-memory twins of the adapters; they pass the same contract suites (:mod:`trainyard.testing.contracts`)."""

from trainyard.testing.fakes.blobs import MemoryBlobs
from trainyard.testing.fakes.fleet import MemoryFleet
from trainyard.testing.fakes.queue import MemoryQueue

__all__ = ["MemoryBlobs", "MemoryFleet", "MemoryQueue"]
