"""The SDK: one method for each thing that the HTTP API does (docs/api.md), plus waiting and reading lists page by page.

Answers are the API's JSON objects, as dictionaries. Every method raises :class:`~trainyard_client.errors.ApiError` when
the service refuses and :class:`~trainyard_client.errors.UnreachableError` when nobody answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, Self
from urllib.parse import quote

from trainyard.clock import SystemClock
from trainyard_client.errors import ClientError, MisuseError, WaitTimeoutError
from trainyard_client.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import requests

    from trainyard.clock import Clock

    Json = dict[str, Any]

PAGE = 1000
#: A backlog of requests is one page: the service writes it faster whole than in parts.
REQUESTS_PAGE = 10_000
#: a training request in one of these states will not change any more
ENDED = frozenset({"done", "failed", "cancelled", "blocked_by_data"})
_POLL_SECONDS = 0.25


class Readable(Protocol):
    """A binary file, as far as an upload needs it."""

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, at most ``size`` of them."""
        ...


class Client:
    """All services behind one address.

    Args:
        base_url: address of the router, such as ``http://127.0.0.1:8080``.
        key: API key (``ty_...``).
        timeout: longest wait for an answer in seconds; uploads too, from their last byte.
        clock: for pauses between repeats; tests pass one of their own.
        session: a requests session, for those who bring adapters or certificates.
    """

    def __init__(
        self,
        base_url: str,
        key: str | None,
        *,
        timeout: float = 120.0,
        clock: Clock | None = None,
        session: requests.Session | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._transport = Transport(base_url, key, clock=self._clock, timeout=timeout, session=session)

    @property
    def base_url(self) -> str:
        """The address, without a slash at its end."""
        return self._transport.base_url

    def close(self) -> None:
        """Give connections back."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- datasets and rows ---------------------------------------------------------------------------------------

    def datasets(self) -> Iterator[Json]:
        """Yield every dataset."""
        return self._items("/v1/datasets")

    def dataset(self, name: str) -> Json:
        """Return a dataset with its columns and number of rows."""
        return self._get(f"/v1/datasets/{_in_path(name)}")

    def infer(self, name: str, sample: bytes, content_type: str) -> list[Json]:
        """Return the columns that a sample of rows suggests (at most 8 MiB); creates nothing."""
        path = f"/v1/datasets/{_in_path(name)}/infer"
        columns: list[Json] = self._transport.send("POST", path, data=sample, content_type=content_type)["columns"]
        return columns

    def create_dataset(self, name: str, columns: Sequence[Json]) -> Json:
        """Create a dataset, or return the one that is there with the same columns."""
        return self._put(f"/v1/datasets/{_in_path(name)}", {"columns": list(columns)})

    def delete_dataset(self, name: str) -> None:
        """Delete a dataset that no model reads."""
        self._transport.send("DELETE", f"/v1/datasets/{_in_path(name)}")

    def push(self, name: str, rows: Sequence[Json]) -> Json:
        """Send rows and return their batch; the same rows again return the same batch."""
        return self._sent("POST", f"/v1/datasets/{_in_path(name)}/rows", json={"rows": list(rows)}, keyed=False)

    def upload(self, name: str, body: Readable | Iterable[bytes], content_type: str, *, key: str | None = None) -> Json:
        """Stream a file or an iterator of bytes and return its batch; memory does not grow with its size.

        The same body again is the same batch, unless another ``key`` says that it is not.

        Args:
            body: an open binary file is repeated from its start when a connection breaks, anything else is sent once.
            content_type: ``text/csv``, ``application/x-ndjson`` or ``application/json``.
            key: idempotency key, for rows that are meant to arrive twice.
        """
        rewind = _rewinder(body)
        return self._sent(
            "POST",
            f"/v1/datasets/{_in_path(name)}/rows",
            data=body,
            content_type=content_type,
            idempotency_key=key,
            keyed=False,
            rewind=rewind,
            once=rewind is None,
        )

    def batches(self, dataset: str) -> Iterator[Json]:
        """Yield the dataset's batches, committed and refused."""
        return self._items(f"/v1/datasets/{_in_path(dataset)}/batches")

    def batch(self, dataset: str, batch_id: str) -> Json:
        """Return one batch."""
        return self._get(f"/v1/datasets/{_in_path(dataset)}/batches/{_in_path(batch_id)}")

    def rejects(self, dataset: str, batch_id: str) -> Iterator[Json]:
        """Yield what was wrong with the rows that a batch lost."""
        return self._items(f"/v1/datasets/{_in_path(dataset)}/batches/{_in_path(batch_id)}/rejects")

    # --- sources ---------------------------------------------------------------------------------------------------

    def sources(self, dataset: str) -> Iterator[Json]:
        """Yield the dataset's pull sources."""
        return self._items(f"/v1/datasets/{_in_path(dataset)}/sources")

    def source(self, dataset: str, name: str) -> Json:
        """Return a source with its state and how its last pull ended."""
        return self._get(_source_path(dataset, name))

    def put_source(self, dataset: str, name: str, description: Json) -> Json:
        """Make or change a source; ``description`` is that of docs/sources.md."""
        return self._put(_source_path(dataset, name), description)

    def delete_source(self, dataset: str, name: str) -> None:
        """Remove a source; the rows that came from it stay."""
        self._transport.send("DELETE", _source_path(dataset, name))

    def pull_source(self, dataset: str, name: str) -> Json:
        """Ask for a pull now and return the source."""
        return self._post(f"{_source_path(dataset, name)}/pull", {})

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
                raise WaitTimeoutError(f"the pull of {asked['name']} is not done after {seconds:.0f} s")
            self._clock.sleep(_POLL_SECONDS)

    # --- models, training, versions ------------------------------------------------------------------------------

    def models(self) -> Iterator[Json]:
        """Yield every model."""
        return self._items("/v1/models")

    def model(self, name: str) -> Json:
        """Return a model with its policy and the version that is champion."""
        return self._get(f"/v1/models/{_in_path(name)}")

    def create_model(
        self, name: str, dataset: str, label: str, *, task: str = "auto", policy: Json | None = None
    ) -> Json:
        """Create a model, or change the policy of the one that is there."""
        body = {"dataset": dataset, "label": label, "task": task, **({"policy": policy} if policy else {})}
        return self._put(f"/v1/models/{_in_path(name)}", body)

    def delete_model(self, name: str) -> None:
        """Delete a model."""
        self._transport.send("DELETE", f"/v1/models/{_in_path(name)}")

    def decisions(self, model: str) -> Iterator[Json]:
        """Yield what the policy decided and why, newest first."""
        return self._items(f"/v1/models/{_in_path(model)}/decisions")

    def train(
        self,
        model: str,
        settings: Json | None = None,
        *,
        priority: int | None = None,
        instance_types: Sequence[str] | None = None,
        spot: bool | None = None,
    ) -> Json:
        """Ask for a training now and return the request; what is not given is as the model's policy says."""
        given: Json = {"settings": settings or None, "priority": priority, "spot": spot}
        given["instance_types"] = None if instance_types is None else list(instance_types)
        body = {name: value for name, value in given.items() if value is not None}
        return self._post(f"/v1/models/{_in_path(model)}/requests", body)

    def requests(self, model: str | None = None, *, state: str | None = None) -> Iterator[Json]:
        """Yield training requests, newest first, of one model or of all; with ``state`` only those in it."""
        path = "/v1/requests" if model is None else f"/v1/models/{_in_path(model)}/requests"
        return self._items(path, {"state": state} if state else None, page_size=REQUESTS_PAGE)

    def explain(self, ident: str) -> Json:
        """Return why a training request, or that of a run, waits, or what is being done about it."""
        return self._get(f"/v1/requests/{_in_path(ident)}/explain")

    def request(self, request_id: str) -> Json:
        """Return one training request."""
        return self._get(f"/v1/requests/{_in_path(request_id)}")

    def cancel(self, request_id: str) -> Json:
        """Ask for the end of a training request and return it."""
        return self._post(f"/v1/requests/{_in_path(request_id)}/cancel", {})

    def wait(
        self, request_id: str, *, seconds: float, on_progress: Callable[[Json, Json | None], None] | None = None
    ) -> Json:
        """Wait until a training request has ended, and return it.

        Args:
            seconds: longest wait.
            on_progress: called with the request and its newest run (None before the first) at every look.

        Raises:
            WaitTimeoutError: it has not ended in time.
        """
        deadline = self._clock.monotonic() + seconds
        while True:
            request = self.request(request_id)
            if on_progress is not None:
                on_progress(request, self._newest_run(request))
            if request["state"] in ENDED:
                return request
            if self._clock.monotonic() >= deadline:
                raise WaitTimeoutError(
                    f"training request {request_id} is still {request['state']} after {seconds:.0f} s"
                )
            self._clock.sleep(_POLL_SECONDS)

    def runs(self, model: str | None = None) -> Iterator[Json]:
        """Yield runs, newest first."""
        return self._items("/v1/runs", {"model": model} if model else None)

    def run(self, run_id: str) -> Json:
        """Return a run with its trials."""
        return self._get(f"/v1/runs/{_in_path(run_id)}")

    def run_of(self, request: Json) -> Json | None:
        """Return the newest run of a training request with its trials; None before the first."""
        if request["attempt"] < 1:
            return None
        run = next((run for run in self.runs(request["model"]) if run["request_id"] == request["id"]), None)
        return None if run is None else self.run(run["id"])

    def versions(self, model: str) -> Iterator[Json]:
        """Yield the model's versions."""
        return self._items(f"/v1/models/{_in_path(model)}/versions")

    def version(self, model: str, version: int) -> Json:
        """Return one version with its metrics and its gate report."""
        return self._get(f"/v1/models/{_in_path(model)}/versions/{version}")

    def aliases(self, model: str) -> list[Json]:
        """Return the model's aliases."""
        return list(self._items(f"/v1/models/{_in_path(model)}/aliases"))

    def alias(self, model: str, alias: str) -> Json:
        """Return one alias."""
        return self._get(f"/v1/models/{_in_path(model)}/aliases/{_in_path(alias)}")

    def set_alias(
        self, model: str, alias: str, version: int, *, expected_seq: int | None = None, reason: str | None = None
    ) -> Json:
        """Point an alias to a version; with ``expected_seq`` only if nobody has moved it since."""
        body: Json = {"version": version}
        if expected_seq is not None:
            body["expected_seq"] = expected_seq
        if reason:
            body["reason"] = reason
        return self._put(f"/v1/models/{_in_path(model)}/aliases/{_in_path(alias)}", body)

    def rollback(self, model: str, reason: str | None = None, *, expected_seq: int | None = None) -> Json:
        """Make the previous champion champion again; with ``expected_seq`` only if nobody has moved it since."""
        body: Json = {} if expected_seq is None else {"expected_seq": expected_seq}
        if reason:
            body["reason"] = reason
        return self._post(f"/v1/models/{_in_path(model)}/rollback", body)

    def deployments(self, model: str, at: str | None = None) -> Iterator[Json]:
        """Yield who served when, newest first; with ``at`` only what served at that time."""
        return self._items(f"/v1/models/{_in_path(model)}/deployments", {"at": at} if at else None)

    # --- predictions and what became of them ---------------------------------------------------------------------

    def predict(
        self, model: str, rows: Sequence[Json], *, version: int | str | None = None, key: str | None = None
    ) -> Json:
        """Return predictions for at most 1,000 rows.

        Args:
            version: a version's number or an alias; by default the champion.
            key: idempotency key; the same key gives the same prediction ids.
        """
        target = _in_path(model) if version is None else f"{_in_path(model)}@{_in_path(str(version))}"
        return self._sent("POST", f"/v1/predict/{target}", json={"rows": list(rows)}, idempotency_key=key)

    def predictions(self, model: str | None = None, version: int | None = None) -> Iterator[Json]:
        """Yield the prediction log in its order, each with the latest feedback as ``label``."""
        params = {"model": model, "version": version}
        return self._items("/v1/predictions", {name: value for name, value in params.items() if value is not None})

    def feedback(self, items: Sequence[Json]) -> Json:
        """Send true labels: ``{"prediction_id", "label"}`` or ``{"model", "key", "label"}``, at most 10,000."""
        return self._post("/v1/feedback", {"items": list(items)})

    def quality(self, model: str) -> list[Json]:
        """Return live metrics of each version, of the predictions that no closed window has, and their feedback."""
        windows: list[Json] = self._get(f"/v1/models/{_in_path(model)}/quality")["windows"]
        return windows

    def watched(self, model: str) -> Json:
        """Return all of live quality: open ``windows``, closed ones as ``drift`` and ``live``, ``alarms``, what is
        ``missing``.
        """
        return self._get(f"/v1/models/{_in_path(model)}/quality")

    # --- operation -----------------------------------------------------------------------------------------------

    def fleet(self) -> Json:
        """Return the training instances."""
        return self._get("/v1/fleet")

    def costs(self, first: str | None = None, last: str | None = None) -> Json:
        """Return what runs and instances cost, by day; ``first`` and ``last`` are days such as 2026-01-31."""
        days = {name: day for name, day in (("from", first), ("upto", last)) if day is not None}
        return self._get("/v1/costs", days)

    def queues(self) -> list[Json]:
        """Return the queues with their backlog."""
        found: list[Json] = self._get("/v1/queues")["queues"]
        return found

    def dead_letters(self, queue: str, limit: int = 20) -> list[Json]:
        """Return up to ``limit`` (1 to 100) dead letters of a queue; they stay where they are."""
        found: list[Json] = self._get(f"/v1/queues/{_in_path(queue)}/dead", {"limit": limit})["items"]
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
        self._transport.send("DELETE", f"/v1/keys/{_in_path(key_id)}")

    def doctor(self, *, everything: bool = False) -> Json:
        """Return the doctor's report; with ``everything`` not only of the newest part of large tables."""
        return self._get("/v1/doctor", {"everything": "true"} if everything else None)

    # --- how ------------------------------------------------------------------------------------------------------

    def _newest_run(self, request: Json) -> Json | None:
        if request["attempt"] < 1:
            return None
        runs = self._get("/v1/runs", {"model": request["model"], "limit": 10})["items"]
        return next((run for run in runs if run["request_id"] == request["id"]), None)

    def _sent(self, method: str, path: str, **arguments: Any) -> Json:
        answer: Json = self._transport.send(method, path, **arguments)
        return answer

    def _get(self, path: str, params: Json | None = None) -> Json:
        return self._sent("GET", path, params=params)

    def _put(self, path: str, body: Json) -> Json:
        return self._sent("PUT", path, json=body)

    def _post(self, path: str, body: Json) -> Json:
        return self._sent("POST", path, json=body)

    def _items(self, path: str, params: Json | None = None, *, page_size: int = PAGE) -> Iterator[Json]:
        cursor: str | None = None
        while True:
            page = self._get(path, {**(params or {}), "limit": page_size, **({"cursor": cursor} if cursor else {})})
            yield from page["items"]
            cursor = page.get("next_cursor")
            if cursor is None:
                return


def _source_path(dataset: str, name: str) -> str:
    return f"/v1/datasets/{_in_path(dataset)}/sources/{_in_path(name)}"


def _in_path(text: str) -> str:
    if text in {"", ".", ".."}:  # would name another route
        raise MisuseError(f"{text!r} is not a name")
    return quote(text, safe="", errors="replace")


def _rewinder(body: Any) -> Callable[[], object] | None:
    return (lambda: body.seek(0)) if hasattr(body, "seekable") and body.seekable() else None
