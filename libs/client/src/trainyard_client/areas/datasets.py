"""Datasets, and the ledger of what came into them."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from trainyard_client.areas.calls import Calls, in_path
from trainyard_client.errors import MisuseError
from trainyard_client.formats import CONTENT_TYPES
from trainyard_client.shown import Dataset

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Json = dict[str, Any]

REJECT_FORMATS = ("csv", "ndjson")


class Datasets(Calls):
    """Tables of typed rows."""

    def datasets(self) -> Iterator[Dataset]:
        """Yield every dataset."""
        return map(Dataset, self._items("/v1/datasets"))

    def dataset(self, name: str) -> Dataset:
        """Return a dataset with its columns and number of rows."""
        return Dataset(self._get(f"/v1/datasets/{in_path(name)}"))

    def infer(self, name: str, sample: bytes, content_type: str) -> list[Json]:
        """Return the columns that a sample of rows suggests (at most 8 MiB); creates nothing."""
        path = f"/v1/datasets/{in_path(name)}/infer"
        columns: list[Json] = self._transport.send("POST", path, data=sample, content_type=content_type)["columns"]
        return columns

    def create_dataset(self, name: str, columns: Sequence[Json], settings: Json | None = None) -> Dataset:
        """Create a dataset, or return the one that is there with the same columns.

        Args:
            columns: ``{"name", "type", "role"?, "nullable"?, "categories"?}`` each.
            settings: ``max_rejected_share``, ``new_columns`` and ``retention_days``; what is not given is as it was.
        """
        body: Json = {"columns": list(columns), **({"settings": settings} if settings else {})}
        return Dataset(self._put(f"/v1/datasets/{in_path(name)}", body))

    def alter_dataset(self, name: str, columns: Sequence[Json], settings: Json | None = None) -> Dataset:
        """Bring a dataset that is there to these columns: new ones are added, types are widened, nothing narrows.

        Raises:
            ApiError: ``unknown_dataset``: nothing is made; ``narrowing``: the details list what would be narrowed.
        """
        self.dataset(name)
        return self.create_dataset(name, columns, settings)

    def profile(self, name: str) -> Json:
        """Return what the rows of a dataset look like, column by column."""
        return self._get(f"/v1/datasets/{in_path(name)}/profile")

    def batch_quality(self, name: str) -> Iterator[Json]:
        """Yield rejected rows and missing values of each batch, newest first."""
        return self._items(f"/v1/datasets/{in_path(name)}/quality")

    def erase(self, name: str, key: str) -> Json:
        """Erase every row of a key: its value, or a JSON object of the values of several key columns."""
        path = f"/v1/datasets/{in_path(name)}/rows"
        return self._sent("DELETE", path, params={"key": key}, idempotency_key=str(uuid.uuid4()))

    def delete_dataset(self, name: str) -> None:
        """Delete a dataset that no model reads."""
        self._transport.send("DELETE", f"/v1/datasets/{in_path(name)}")

    def batches(self, dataset: str, *, state: str | None = None) -> Iterator[Json]:
        """Yield the dataset's batches, newest first; ``state`` is ``committed``, ``refused`` or ``loading``.

        Without ``state`` they are those of the ledger: committed and refused ones.
        """
        return self._items(f"/v1/datasets/{in_path(dataset)}/batches", {"state": state} if state else None)

    def batch(self, dataset: str, batch_id: str) -> Json:
        """Return one batch; one that is on its way in has the state ``loading`` and its ``progress``."""
        return self._get(f"/v1/datasets/{in_path(dataset)}/batches/{in_path(batch_id)}")

    def find_batch(self, batch_id: str) -> Json:
        """Return the batch with that id, whichever dataset it belongs to."""
        return self._get(f"/v1/batches/{in_path(batch_id)}")

    def rejects(self, dataset: str, batch_id: str) -> Iterator[Json]:
        """Yield what was wrong with the rows that a batch lost."""
        return self._items(f"/v1/datasets/{in_path(dataset)}/batches/{in_path(batch_id)}/rejects")

    def download_rejects(self, dataset: str, batch_id: str, format: str = "csv") -> Iterator[bytes]:  # noqa: A002
        """Yield the same list as ``csv`` or ``ndjson``, whole and in blocks of bytes as they come.

        In CSV, text that a spreadsheet would take for a formula begins with an apostrophe.
        """
        if format not in REJECT_FORMATS:
            raise MisuseError(f"{format!r} is no format of rejects; there are {', '.join(REJECT_FORMATS)}")
        path = f"/v1/datasets/{in_path(dataset)}/batches/{in_path(batch_id)}/rejects"
        return self._transport.download(path, accept=CONTENT_TYPES[format])
