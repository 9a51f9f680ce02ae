"""Predictions, and what became of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainyard_client.areas.calls import Calls, in_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Json = dict[str, Any]


class Predictions(Calls):
    """Asking a model, telling it what was true, and how well it does."""

    def predict(
        self,
        model: str,
        rows: Sequence[Json],
        *,
        version: int | str | None = None,
        key: str | None = None,
        explain: bool = False,
    ) -> Json:
        """Return predictions for at most 1,000 rows, or 100 that are to be explained.

        Args:
            version: a version's number or an alias; by default the champion.
            key: idempotency key; the same key gives the same prediction ids.
            explain: also return what each column contributes.
        """
        target = in_path(model) if version is None else f"{in_path(model)}@{in_path(str(version))}"
        body: Json = {"rows": list(rows), **({"explain": True} if explain else {})}
        predictor = self._predictors.of(model)
        answer: Json = predictor.send("POST", f"/v1/predict/{target}", json=body, idempotency_key=key)
        return answer

    def predictions(self, model: str | None = None, version: int | None = None) -> Iterator[Json]:
        """Yield the prediction log in its order, each with the latest feedback as ``label``."""
        params = {"model": model, "version": version}
        return self._items("/v1/predictions", {name: value for name, value in params.items() if value is not None})

    def feedback(self, items: Sequence[Json]) -> Json:
        """Send true labels: ``{"prediction_id", "label"}`` or ``{"model", "key", "label"}``, at most 10,000."""
        return self._post("/v1/feedback", {"items": list(items)})

    def quality(self, model: str) -> list[Json]:
        """Return live metrics of each version, of the predictions that no closed window has, and their feedback."""
        windows: list[Json] = self._get(f"/v1/models/{in_path(model)}/quality")["windows"]
        return windows

    def watched(self, model: str) -> Json:
        """Return all of live quality: open ``windows``, closed ones as ``drift`` and ``live``, ``alarms``, what is
        ``missing``.
        """
        return self._get(f"/v1/models/{in_path(model)}/quality")
