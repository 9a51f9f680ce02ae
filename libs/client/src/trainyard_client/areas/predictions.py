"""Predictions, and what became of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainyard_client.areas.calls import PAGE, Calls, in_path
from trainyard_client.errors import ApiError, MisuseError
from trainyard_client.frames import frame_of, is_frame, rows_of
from trainyard_client.portions import MOST_EXPLAINED, MOST_ROWS, counted_on, portions
from trainyard_client.shown import Prediction

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

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
    ) -> Prediction:
        """Return predictions for at most 1,000 rows, or 100 that are to be explained.

        Args:
            version: a version's number or an alias; by default the champion.
            key: idempotency key; the same key gives the same prediction ids.
            explain: also return what each column contributes.
        """
        target = in_path(model) if version is None else f"{in_path(model)}@{in_path(str(version))}"
        body: Json = {"rows": list(rows), **({"explain": True} if explain else {})}
        predictor = self._predictors.of(model)
        return Prediction(predictor.send("POST", f"/v1/predict/{target}", json=body, idempotency_key=key))

    def predict_each(
        self, model: str, rows: Iterable[Json], *, version: int | str | None = None, explain: bool = False
    ) -> Iterator[Json]:
        """Yield the answer to each row, in order, of any number of rows: as many requests are sent as it takes.

        Each is one of ``rows`` of :meth:`predict` with its ``row``, counted from 1, and the ``version`` that answered.

        Raises:
            ApiError: the service refused; ``details`` count the rows of all requests.
            ClientError: a row cannot be written as JSON.
        """
        number = 0
        for portion in portions(rows, MOST_EXPLAINED if explain else MOST_ROWS):
            try:
                answer = self.predict(model, portion, version=version, explain=explain)
            except ApiError as e:
                raise counted_on(e, number) from e
            for row in answer["rows"]:
                number += 1
                yield {"row": number, "version": answer["version"], **row}

    def predict_frame(self, model: str, frame: Any, *, version: int | str | None = None, explain: bool = False) -> Any:
        """Return predictions for the rows of a pandas frame, of any number, as a frame with the same index.

        Columns of the answer: ``prediction``; ``probability_<class>`` for each class; ``version``; ``prediction_id``,
        for feedback; with ``explain`` also ``unit``, ``base``, ``score`` and ``contribution_<column>``. The label and
        columns with other roles (keys, times) are left out of the request, if the key may read the dataset.

        Raises:
            ApiError: the service refused; ``details`` count the frame's rows from 1.
            MissingPackageError: pandas is not installed.
        """
        rows = rows_of(frame, without=self._no_features(model))
        return frame_of(self.predict_each(model, rows, version=version, explain=explain), index=frame.index)

    def _no_features(self, model: str) -> list[str]:
        """Return the names of known columns that a model does not learn from; none if the key may not read them."""
        try:
            about = self._get(f"/v1/models/{in_path(model)}")
            columns = self._get(f"/v1/datasets/{in_path(about['dataset'])}")["columns"]
        except ApiError as e:
            if e.code != "wrong_scope":
                raise
            return []
        return [about["label"], *(one["name"] for one in columns if one["role"] != "feature")]

    def predictions(
        self, model: str | None = None, version: int | None = None, *, newest: bool = False, at_once: int = PAGE
    ) -> Iterator[Json]:
        """Yield the prediction log in its order, or ``newest`` first, each with the latest feedback as ``label``.

        Args:
            at_once: as many are asked for in one request, at most 1,000.
        """
        params = {"model": model, "version": version, "order": "newest" if newest else None}
        return self._items(
            "/v1/predictions", {name: value for name, value in params.items() if value is not None}, page_size=at_once
        )

    def feedback(self, items: Any) -> Json:
        """Send true labels: ``{"prediction_id", "label"}`` or ``{"model", "key", "label"}``, at most 10,000.

        Args:
            items: objects, or a pandas frame with the columns ``prediction_id`` and ``label``; others are left out.

        Raises:
            MisuseError: the frame lacks one of them.
        """
        if is_frame(items):
            wanted = ("prediction_id", "label")
            if not set(wanted) <= set(items.columns):
                raise MisuseError("a frame of labels has the columns prediction_id and label")
            items = rows_of(items, without=set(items.columns) - set(wanted))
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
