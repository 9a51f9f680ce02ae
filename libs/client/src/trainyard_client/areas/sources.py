"""Pull sources: described, looked at, pulled now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainyard_client.areas.calls import Calls, in_path
from trainyard_client.errors import WaitTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Json = dict[str, Any]

_POLL_SECONDS = 0.25


class Sources(Calls):
    """What is pulled into a dataset again and again (docs/sources.md)."""

    def sources(self, dataset: str) -> Iterator[Json]:
        """Yield the dataset's pull sources."""
        return self._items(f"/v1/datasets/{in_path(dataset)}/sources")

    def source(self, dataset: str, name: str) -> Json:
        """Return a source with its state and how its last pull ended."""
        return self._get(_path(dataset, name))

    def put_source(self, dataset: str, name: str, description: Json) -> Json:
        """Make or change a source; ``description`` is that of docs/sources.md."""
        return self._put(_path(dataset, name), description)

    def delete_source(self, dataset: str, name: str) -> None:
        """Remove a source; the rows that came from it stay."""
        self._transport.send("DELETE", _path(dataset, name))

    def pull_source(self, dataset: str, name: str) -> Json:
        """Ask for a pull now and return the source."""
        return self._post(f"{_path(dataset, name)}/pull", {})

    def wait_for_pull(self, asked: Json, *, seconds: float, on_progress: Callable[[Json], None] | None = None) -> Json:
        """Wait until the pull that :meth:`pull_source` has asked for is done, and return the source.

        Raises:
            WaitTimeoutError: it is not done in time.
        """
        deadline = self._clock.monotonic() + seconds
        while True:
            source = self.source(asked["dataset"], asked["name"])
            if on_progress is not None:
                on_progress(source)
            if source["answered"] >= asked["asked"]:
                return source
            if self._clock.monotonic() >= deadline:
                raise WaitTimeoutError(
                    f"the pull of {asked['name']} is not done after {seconds:.0f} s",
                    look=f"trainyard source show {asked['dataset']} {asked['name']}",
                )
            self._clock.sleep(_POLL_SECONDS)


def _path(dataset: str, name: str) -> str:
    return f"/v1/datasets/{in_path(dataset)}/sources/{in_path(name)}"
