"""What operators look at and change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainyard_client.areas.calls import Calls, in_path
from trainyard_client.errors import ClientError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Json = dict[str, Any]


class Operation(Calls):
    """Fleet, costs, queues, keys, the doctor."""

    def fleet(self) -> Json:
        """Return the training instances."""
        return self._get("/v1/fleet")

    def costs(self, first: str | None = None, last: str | None = None) -> Json:
        """Return what runs and instances cost, by day; ``first`` and ``last`` are days such as 2026-01-31."""
        days = {name: day for name, day in (("from", first), ("upto", last)) if day is not None}
        return self._get("/v1/costs", days)

    def trace(self, ident: str) -> Json:
        """Return what led to what, as ``nodes`` in the order of the chain, each with those it came ``after``.

        Args:
            ident: a trace id, or that of a batch, request, run, prediction or version (``model@3``).
        """
        return self._get(f"/v1/trace/{in_path(ident)}")

    def queues(self) -> list[Json]:
        """Return the queues with their backlog."""
        found: list[Json] = self._get("/v1/queues")["queues"]
        return found

    def dead_letters(self, queue: str, limit: int = 20) -> list[Json]:
        """Return up to ``limit`` (1 to 100) dead letters of a queue; they stay where they are."""
        found: list[Json] = self._get(f"/v1/queues/{in_path(queue)}/dead", {"limit": limit})["items"]
        return found

    def redrive(self, queue: str, limit: int | None = None) -> Json:
        """Send dead letters back to their queue, at most ``limit`` (1 to 500) or, with None, all of them."""
        return self._post(
            "/v1/queues/dlq/redrive", {"queue": queue} if limit is None else {"queue": queue, "limit": limit}
        )

    def keys(self) -> Iterator[Json]:
        """Yield the API keys, without their secrets."""
        return self._items("/v1/keys")

    def create_key(self, name: str, scopes: Sequence[str], expires_in_days: int | None = None) -> Json:
        """Make an API key; its ``key`` is shown this once.

        Raises:
            ClientError: the key was made, but the answer that held it was lost.
        """
        body: Json = {"name": name, "scopes": list(scopes)}
        if expires_in_days is not None:
            body["expires_in_days"] = expires_in_days
        made = self._post("/v1/keys", body)
        if made["key"] is None:  # what a repeat is answered
            raise ClientError(f"key {made['id']} was made but its answer was lost: revoke it and make another")
        return made

    def revoke_key(self, key_id: str) -> None:
        """Revoke an API key."""
        self._transport.send("DELETE", f"/v1/keys/{in_path(key_id)}")

    def doctor(self, *, everything: bool = False) -> Json:
        """Return the doctor's report; with ``everything`` not only of the newest part of large tables."""
        return self._get("/v1/doctor", {"everything": "true"} if everything else None)
