"""The HTTP routes about what a dataset holds and what of it shall go (docs/api.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import request

from trainyard.adapters.web import Route, principal
from trainyard.errors import Problem, ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainyard.contracts.keeping import Keeping
    from trainyard.contracts.warehouse import Dataset
    from trainyard_ingest.use_cases.datasets import KeepDatasets

_NULLABLE_NUMBER = {"type": ["number", "null"]}
_COUNT = {"type": "integer", "minimum": 0}
_FIGURES = {
    "name": {"type": "string"},
    "type": {"type": "string"},
    "nulls": {"type": ["integer", "null"]},
    "min": {"type": ["number", "string", "null"]},
    "max": {"type": ["number", "string", "null"]},
    "mean": _NULLABLE_NUMBER,
    "std": _NULLABLE_NUMBER,
}
REPORT = {
    "type": ["object", "null"],
    "required": ["rows", "rejected", "removed", "seen", "sampled", "columns", "duplicates", "unanswered"],
    "properties": {
        "rows": _COUNT,
        "rejected": _COUNT,
        "removed": _COUNT,
        "seen": _COUNT,
        "sampled": {"type": "boolean"},
        "columns": {"type": "array", "items": {"type": "object", "required": ["name"], "properties": _FIGURES}},
        "duplicates": {"type": "object"},
        "unanswered": {"type": "array", "items": {"type": "string"}},
        "checksum": {"type": ["string", "null"]},
        "reported_at": {"type": "string"},
    },
}
_PROFILE = {
    "type": "object",
    "required": ["name", "rows", "batches", "reported", "merged", "sampled", "columns", "newest"],
    "properties": {
        "name": {"type": "string"},
        "rows": _COUNT,
        "batches": _COUNT,
        "reported": _COUNT,
        "merged": _COUNT,
        "sampled": {"type": "boolean"},
        "columns": {"type": "array", "items": {"type": "object", "required": ["name"], "properties": _FIGURES}},
        "newest": {"type": ["object", "null"]},
    },
}
_ERASURE = {
    "type": "object",
    "required": ["erased_rows", "erasure_id", "not_reproducible"],
    "properties": {
        "erased_rows": _COUNT,
        "erasure_id": {"type": "string"},
        "not_reproducible": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["model", "version"],
                "properties": {"model": {"type": "string"}, "version": {"type": "integer"}},
            },
        },
    },
}


class KeepingViews:
    """Profiles and erasures. ``named`` finds a dataset by the name in the path, ``repeated`` the Idempotency-Key."""

    def __init__(
        self,
        datasets: KeepDatasets,
        keeping: Keeping,
        *,
        named: Callable[[str], Dataset],
        repeated: Callable[[], str | None],
    ) -> None:
        self._datasets = datasets
        self._keeping = keeping
        self._named = named
        self._repeated = repeated

    def profile(self, name: str) -> tuple[int, Any]:
        """Return what the dataset holds."""
        return 200, self._keeping.profile(self._named(name))

    def erase(self, name: str) -> tuple[int, Any]:
        """Remove every row of a key."""
        self._named(name)
        key = request.args.get("key")
        if key is None:
            problem = Problem(None, "key", "the key of the rows to erase", "absent")
            raise ServiceError("bad_request", "say which rows: ?key= takes the key's value", [problem])
        erasure = self._datasets.erase(name, key, actor=principal().key_id, idempotency_key=self._repeated())
        return 200, erasure.as_dict()


def keeping_routes(views: KeepingViews) -> list[Route]:
    """Return the routes."""
    one = "/v1/datasets/<name>"
    return [
        Route("GET", f"{one}/profile", views.profile, "read", "What a dataset holds", answer=_PROFILE, statuses=(200,)),
        Route(
            "DELETE",
            f"{one}/rows",
            views.erase,
            "admin",
            "Erase every row of a key",
            answer=_ERASURE,
            parameters=("key",),
            needs=("key",),
            shapes={"key": {"type": "string"}},
            statuses=(200,),
            headers=("Idempotency-Key",),
        ),
    ]
