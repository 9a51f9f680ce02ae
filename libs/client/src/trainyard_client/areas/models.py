"""Models, their training, their versions and who serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainyard_client.areas.calls import Calls, in_path
from trainyard_client.errors import WaitTimeoutError
from trainyard_client.shown import Model, Run, Version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Json = dict[str, Any]

#: A backlog of requests is one page: the service writes it faster whole than in parts.
REQUESTS_PAGE = 10_000
#: The content type of a model file.
ARTIFACT_TYPE = "application/vnd.trainyard.model"
#: A training request in one of these states will not change any more.
ENDED = frozenset({"done", "failed", "cancelled", "blocked_by_data"})
_POLL_SECONDS = 0.25
#: Aliases that every process follows which answers to the champion.
_BESIDE = ("challenger", "shadow")


class Models(Calls):
    """From a policy to a champion."""

    def models(self) -> Iterator[Model]:
        """Yield every model."""
        return map(Model, self._items("/v1/models"))

    def model(self, name: str) -> Model:
        """Return a model with its policy and the version that is champion."""
        return Model(self._get(f"/v1/models/{in_path(name)}"))

    def create_model(
        self, name: str, dataset: str, label: str, *, task: str = "auto", policy: Json | None = None
    ) -> Model:
        """Create a model, or change the policy of the one that is there."""
        body = {"dataset": dataset, "label": label, "task": task, **({"policy": policy} if policy else {})}
        return Model(self._put(f"/v1/models/{in_path(name)}", body))

    def delete_model(self, name: str) -> None:
        """Delete a model."""
        self._transport.send("DELETE", f"/v1/models/{in_path(name)}")

    def decisions(self, model: str) -> Iterator[Json]:
        """Yield what the policy decided and why, newest first."""
        return self._items(f"/v1/models/{in_path(model)}/decisions")

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
        return self._post(f"/v1/models/{in_path(model)}/requests", body)

    def requests(self, model: str | None = None, *, state: str | None = None) -> Iterator[Json]:
        """Yield training requests, newest first, of one model or of all; with ``state`` only those in it."""
        path = "/v1/requests" if model is None else f"/v1/models/{in_path(model)}/requests"
        return self._items(path, {"state": state} if state else None, page_size=REQUESTS_PAGE)

    def explain(self, ident: str) -> Json:
        """Return why a training request, or that of a run, waits, or what is being done about it."""
        return self._get(f"/v1/requests/{in_path(ident)}/explain")

    def request(self, request_id: str) -> Json:
        """Return one training request."""
        return self._get(f"/v1/requests/{in_path(request_id)}")

    def cancel(self, request_id: str) -> Json:
        """Ask for the end of a training request and return it."""
        return self._post(f"/v1/requests/{in_path(request_id)}/cancel", {})

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
                    f"training request {request_id} is still {request['state']} after {seconds:.0f} s",
                    look="trainyard runs",
                )
            self._clock.sleep(_POLL_SECONDS)

    def runs(self, model: str | None = None) -> Iterator[Run]:
        """Yield runs, newest first."""
        return map(Run, self._items("/v1/runs", {"model": model} if model else None))

    def run(self, run_id: str) -> Run:
        """Return a run with its trials."""
        return Run(self._get(f"/v1/runs/{in_path(run_id)}"))

    def overview(self) -> list[Json]:
        """Return the first 20 models by name, each with what is newest of it."""
        items: list[Json] = self._get("/v1/overview")["items"]
        return items

    def traffic(self, model: str, hours: int = 24) -> Json:
        """Return how many predictions the model answered lately, and how quickly; beyond 72 hours by the day."""
        return self._get(f"/v1/models/{in_path(model)}/traffic", {"hours": hours})

    def deployments_of_all(self) -> Iterator[Json]:
        """Yield the moves of all models' aliases, newest first."""
        return self._items("/v1/deployments")

    def run_logs(self, run_id: str) -> Iterator[Json]:
        """Yield what a run has said, newest line first, also while it runs."""
        return self._items(f"/v1/runs/{in_path(run_id)}/logs")

    def reproduce(self, run_id: str) -> Json:
        """Ask for the version of a run to be fitted again; return the training request.

        What came of it is in ``reproduction`` of the request's run (:meth:`run_of`).
        """
        return self._post(f"/v1/runs/{in_path(run_id)}/reproduce", {})

    def run_of(self, request: Json) -> Run | None:
        """Return the newest run of a training request with its trials; None before the first."""
        if request["attempt"] < 1:
            return None
        run = next((run for run in self.runs(request["model"]) if run["request_id"] == request["id"]), None)
        return None if run is None else self.run(run["id"])

    def versions(self, model: str) -> Iterator[Version]:
        """Yield the model's versions."""
        return map(Version, self._items(f"/v1/models/{in_path(model)}/versions"))

    def version(self, model: str, version: int) -> Version:
        """Return one version with its metrics and its gate report."""
        return Version(self._get(self._version_path(model, version)))

    def version_report(self, model: str, version: int) -> Json:
        """Return what the hold-out told of a version, with its model, run and trials."""
        return self._get(f"{self._version_path(model, version)}/report")

    def version_card(self, model: str, version: int, kind: str) -> Iterator[bytes]:
        """Yield the model card of a version, as ``html`` or ``markdown`` (UTF-8)."""
        return self._transport.download(f"{self._version_path(model, version)}/report", accept=f"text/{kind}")

    def import_version(self, model: str, artifact: bytes) -> Version:
        """Make a version of a model file that was made elsewhere and return it; the same bytes are the same version.

        Raises:
            ApiError: ``invalid_artifact``: it is no model file, or none of this model and its dataset.
        """
        path = f"/v1/models/{in_path(model)}/versions"
        return Version(self._sent("POST", path, data=artifact, content_type=ARTIFACT_TYPE, keyed=False))

    def _version_path(self, model: str, version: int) -> str:
        return f"/v1/models/{in_path(model)}/versions/{version}"

    def approve(self, model: str, version: int, *, approve: bool = True, reason: str | None = None) -> Version:
        """Approve a version that waits, which makes it champion, or reject it; return the version."""
        body: Json = {"approve": approve, **({"reason": reason} if reason else {})}
        return Version(self._post(f"/v1/models/{in_path(model)}/versions/{version}/approve", body))

    def aliases(self, model: str) -> list[Json]:
        """Return the model's aliases."""
        return list(self._items(f"/v1/models/{in_path(model)}/aliases"))

    def alias(self, model: str, alias: str) -> Json:
        """Return one alias."""
        return self._get(f"/v1/models/{in_path(model)}/aliases/{in_path(alias)}")

    def set_alias(
        self,
        model: str,
        alias: str,
        version: int,
        *,
        weight: float | None = None,
        expected_seq: int | None = None,
        reason: str | None = None,
    ) -> Json:
        """Point an alias to a version; with ``expected_seq`` only if nobody has moved it since.

        ``weight``: the share, 0 to 1, of the requests to the champion that a challenger answers or a shadow scores.
        """
        body: Json = {"version": version}
        if weight is not None:
            body["weight"] = weight
        if expected_seq is not None:
            body["expected_seq"] = expected_seq
        if reason:
            body["reason"] = reason
        return self._put(f"/v1/models/{in_path(model)}/aliases/{in_path(alias)}", body)

    def rollback(self, model: str, reason: str | None = None, *, expected_seq: int | None = None) -> Json:
        """Make the previous champion champion again; with ``expected_seq`` only if nobody has moved it since."""
        body: Json = {} if expected_seq is None else {"expected_seq": expected_seq}
        if reason:
            body["reason"] = reason
        return self._post(f"/v1/models/{in_path(model)}/rollback", body)

    def deployments(self, model: str, at: str | None = None) -> Iterator[Json]:
        """Yield who served when, newest first; with ``at`` only what served at that time."""
        return self._items(f"/v1/models/{in_path(model)}/deployments", {"at": at} if at else None)

    def serving(self, model: str | None = None) -> list[Json]:
        """Return which predictor processes answer with which version of the model, or of all, and what they refuse."""
        if model is None:
            everything: list[Json] = self._get("/v1/serving")["items"]
            return everything
        path = f"/v1/models/{in_path(model)}/deployments"
        found: list[Json] = self._get(path, {"limit": 1})["serving"]
        return found

    def wait_served(self, model: str, alias: Json, *, seconds: float) -> list[Json]:
        """Wait until every process that answers to the alias has followed it, and return what these say.

        Processes that have not been asked for it are not among them: they will read it when they are. A challenger or
        shadow is followed by those that answer to the champion.

        Args:
            alias: as :meth:`set_alias` returned it.
            seconds: longest wait.

        Raises:
            WaitTimeoutError: some have not followed in time; says which, and what they refuse.
        """
        deadline = self._clock.monotonic() + seconds
        while True:
            found, behind = _followed(self.serving(model), alias)
            if not behind:
                return found
            if self._clock.monotonic() >= deadline:
                raise WaitTimeoutError(
                    f"{len(behind)} process(es) have not followed after {seconds:.0f} s: {'; '.join(behind[:5])}",
                    look=f"trainyard history {model}",
                )
            self._clock.sleep(_POLL_SECONDS)

    def _newest_run(self, request: Json) -> Json | None:
        if request["attempt"] < 1:
            return None
        runs = self._get("/v1/runs", {"model": request["model"], "limit": 10})["items"]
        return next((run for run in runs if run["request_id"] == request["id"]), None)


def _followed(serving: Sequence[Json], alias: Json) -> tuple[list[Json], list[str]]:
    """Return the processes that answer to an alias, and in words those that have not followed its last move."""
    found = [one for one in serving if one["asked"] == alias["name"]]
    behind = [
        f"{_process(one)} answers with version {one['version']}"
        + (f" and refuses the new one: {one['refused']}" if one["refused"] else "")
        for one in found
        if (one["seq"] or 0) < alias["seq"]
    ]
    known = {_process(one) for one in found}
    beside = [_process(one) for one in serving if one["asked"] == "champion"] if alias["name"] in _BESIDE else []
    return found, [*behind, *(f"{process} has not seen it" for process in beside if process not in known)]


def _process(one: Json) -> str:
    return f"{one['environment']}/{one['process']}"
