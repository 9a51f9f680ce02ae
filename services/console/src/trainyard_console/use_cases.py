"""Asking all services at once, and giving up on those that take too long."""

from __future__ import annotations

from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from trainyard_console import domain
from trainyard_console.domain import Fetched

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from trainyard.clock import Clock

MOST_MODELS = 12
#: For all questions together; the second round (versions of each model) has the same again.
DEADLINE_SECONDS = 3.0
_QUESTIONS = {
    "datasets": ("ingest", "/v1/datasets?limit=50"),
    "models": ("scheduler", f"/v1/models?limit={MOST_MODELS}"),
    "runs": ("scheduler", "/v1/runs?limit=15"),
    "fleet": ("scheduler", "/v1/fleet"),
    "queues": ("scheduler", "/v1/queues"),
    **{f"ready:{name}": (name, "/readyz") for name in domain.SERVICES},
}


class Api(Protocol):
    """The services' HTTP APIs."""

    def get(self, service: str, path: str) -> Fetched:
        """Return the JSON that a service answers, or why there is none; never raises."""
        ...


class Overview:
    """The whole loop at a glance."""

    def __init__(self, api: Api, clock: Clock, pool: Executor) -> None:
        self._api = api
        self._clock = clock
        self._pool = pool

    def __call__(self) -> domain.Page:
        """Return the page as of now; whatever does not answer is shown as such."""
        answers = self._ask(_QUESTIONS)
        models = domain.names(answers["models"], MOST_MODELS)
        about = {f"versions:{name}": f"/v1/models/{quote(name, safe='')}/versions?limit=5" for name in models}
        about |= {f"decisions:{name}": f"/v1/models/{quote(name, safe='')}/decisions?limit=1" for name in models}
        answers |= self._ask({question: ("scheduler", path) for question, path in about.items()})
        return domain.page(answers, self._clock.now())

    def _ask(self, questions: dict[str, tuple[str, str]]) -> dict[str, Fetched]:
        futures: dict[str, Future[Any]] = {
            question: self._pool.submit(self._api.get, service, path) for question, (service, path) in questions.items()
        }
        wait(futures.values(), timeout=DEADLINE_SECONDS)
        for future in futures.values():
            future.cancel()  # what has not begun need not begin
        return {
            question: future.result() if future.done() and not future.cancelled() else Fetched(missing="takes too long")
            for question, future in futures.items()
        }
