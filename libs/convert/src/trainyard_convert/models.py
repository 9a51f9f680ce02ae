"""From a conversion to a whole model: name, lineage, golden rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from importlib.metadata import version as installed
from typing import TYPE_CHECKING, Any

from trainyard.model import Lineage, Model, Predictor, with_golden
from trainyard.model.checks import check
from trainyard_convert.errors import ConversionError
from trainyard_convert.parity import Parity, check_parity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainyard_convert.converted import Converted

GOLDEN_ROWS = 16
_NOTHING = sha256(b"").hexdigest()


@dataclass(frozen=True, eq=False)
class Imported:
    """A model ready to be stored, and the report of its comparison with the library."""

    model: Model
    parity: Parity


def model_of(
    converted: Converted, name: str, dataset: str, rows: Sequence[Mapping[str, Any]], *, source: bytes | None = None
) -> Imported:
    """Return the model with golden rows, after holding it against the library: its metrics say how far they are apart.

    Args:
        converted: a conversion whose ``native`` is there.
        name: the model's name.
        dataset: where its columns are those of.
        rows: clean rows of the dataset; those without a value where the model needs one are left out.
        source: the file that the model was read from, whose hash its lineage keeps.

    Raises:
        ConversionError: an answer differs from the library's, or no row can be asked.
        ArtifactError: the model breaks a rule or a limit of the format.
    """
    model = bare_model(converted, name, dataset, source=source)
    check(model)  # before the library walks along trees that may have come from a hostile file
    features = converted.schema.features
    fit = [row for row in rows if all(c.nullable or row[c.name] is not None for c in features)]
    if not fit:
        raise ConversionError("rows to compare with", "none has a value in every column that the model needs")
    parity = check_parity(converted, Predictor(model), {c.name: [row[c.name] for row in fit] for c in features})
    every = max(1, len(fit) // GOLDEN_ROWS)
    model = replace(model, metrics={"parity": parity.largest})
    return Imported(with_golden(model, fit[::every][:GOLDEN_ROWS]), parity)


def bare_model(converted: Converted, name: str, dataset: str, *, source: bytes | None = None) -> Model:
    """Return the model without golden rows, compared with nothing."""
    return Model(
        name=name,
        task=converted.task,
        schema=converted.schema,
        pipeline=converted.pipeline,
        classes=converted.classes,
        lineage=_lineage(converted, dataset, source),
        calibration=converted.calibration,
        threshold=converted.threshold,
    )


def _lineage(converted: Converted, dataset: str, source: bytes | None) -> Lineage:
    """Return where the model came from: no rows of ours, but a library and a file."""
    library, version = converted.library
    imported = {
        "library": library,
        "version": version,
        "kind": converted.kind,
        "sha256": None if source is None else sha256(source).hexdigest(),
        "notes": list(converted.notes),
    }
    return Lineage(
        dataset=dataset,
        snapshot_upto_seq=0,
        snapshot_rows=0,
        snapshot_sha256=_NOTHING,
        configuration={"imported": imported},
        code_version=installed("trainyard"),
        seed=0,
        libraries={library: version},
    )
