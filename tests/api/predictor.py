"""The predictor under test: on the emulator, with a model of two classes that has two versions.

There is no model without a champion: /v2 answers 503 for one, as its protocol wants it.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.api.service import HERE, Service, Subject, around, service_keys, serving

from trainyard.testing.models import sample_model
from trainyard.testing.processes import PREDICTOR
from trainyard.testing.publishing import point_alias, publish_version

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def running(folder: Path) -> Iterator[Service]:
    """Run gunicorn, and publish the models."""
    with around(folder, database=False) as stack:
        keys = service_keys(stack.blobs, ("predict",), ("read", "ingest", "operate", "feedback"))
        for version in (1, 2):
            pointer = publish_version(stack.blobs, sample_model("tree_ensemble", seed=version), version)
            point_alias(stack.blobs, pointer, seq=version, alias="champion" if version == 2 else "previous")
        environment = {**stack.environment, "TRAINYARD_DEFAULT_MODEL": "flights"}
        with serving(folder, environment, PREDICTOR) as url:
            yield Service(
                url,
                keys,
                {
                    "target": ["flights", "flights@1", "flights@previous", "flights@9"],
                    "model": ["flights"],
                    "X-Trainyard-Model": ["flights", "flights@1"],
                    "version": ["1", "2", "champion"],
                },
            )


def _inexact(name: str, _operation: dict[str, Any]) -> bool:
    """Tell of all that reads JSON: integers of more than 64 bits are refused, and rows that do not fit are a 400 to the
    foreign protocols.
    """
    return name.startswith("POST ")


SUBJECT = Subject(
    "predictor",
    running,
    HERE / "predictor_hooks.py",
    _inexact,
    keeps=True,
    examples=(130, 1_350),
)
