"""What a function does beside its events: it tells which versions it answers with, and compares shadows.

Nothing runs between two events and nothing after the last, so both wait for a later event of the same environment: what
an environment still held when it ended is lost. Neither is imported before it is needed: a cold start does without.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from trainyard.clock import Clock
    from trainyard.contracts.blobs import BlobStore
    from trainyard.contracts.queue import Queue
    from trainyard_predictor.domain import Query
    from trainyard_predictor.edges.model_source import ModelSource
    from trainyard_predictor.edges.serving import ServingNotice
    from trainyard_predictor.edges.shadow import ShadowScorer
    from trainyard_predictor.use_cases import Answer, Served

#: How often an environment says the same again: each time is a write to S3, and there may be hundreds of environments.
#: After 20 s of silence it counts as gone.
NOTICE_SECONDS = 15.0


class Beside:
    """``offer`` is called by events, one at a time; ``step`` by one thread beside them."""

    def __init__(self, models: ModelSource, blobs: BlobStore, queue: Queue, clock: Clock, environment: str) -> None:
        self._models = models
        self._blobs = blobs
        self._queue = queue
        self._clock = clock
        self._environment = environment
        self._notice: ServingNotice | None = None
        self._shadow: ShadowScorer | None = None

    def offer(self, served: Served, query: Query, answer: Answer, size: int) -> None:
        """Take note of an answer that is to be compared, at one of the next events."""
        if self._shadow is None:
            from trainyard_predictor.edges.shadow import ShadowScorer  # noqa: PLC0415 - see above

            self._shadow = ShadowScorer(self._queue, self._clock)
        self._shadow.offer(served, query, answer, size)

    def step(self) -> None:
        """Tell what is served, if it has changed or was told long ago, and compare what waits."""
        if self._notice is None:
            from trainyard_predictor.edges.serving import ServingNotice  # noqa: PLC0415 - see above

            self._notice = ServingNotice(
                self._models, self._blobs, self._clock, self._environment, beat_seconds=NOTICE_SECONDS
            )
        self._notice.step()
        if self._shadow is not None:
            self._shadow.step()

    def forget(self) -> None:
        """Forget what this process was: it has become another one, with a name of its own and nothing that waits."""
        self._notice = self._shadow = None
