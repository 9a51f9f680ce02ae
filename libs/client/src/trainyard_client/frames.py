"""pandas frames in and out. pandas is the caller's: it is not imported unless a frame is given or asked for."""

from __future__ import annotations

import importlib
import math
from typing import TYPE_CHECKING, Any

from trainyard_client.errors import MissingPackageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    Json = dict[str, Any]


def is_frame(value: Any) -> bool:
    """Tell whether something is a pandas frame, without importing pandas."""
    return hasattr(value, "itertuples") and hasattr(value, "to_csv")


def rows_of(frame: Any, *, without: Collection[str] = ()) -> Iterator[Json]:
    """Yield the rows of a frame as JSON has them: what is missing is None, times are ISO 8601, numbers are Python's.

    Args:
        without: columns that are left out.
    """
    names = [str(name) for name in frame.columns]
    wanted = [at for at, name in enumerate(names) if name not in without]
    for cells in frame.itertuples(index=False, name=None):
        yield {names[at]: _plain(cells[at]) for at in wanted}


def frame_of(answers: Iterable[Json], index: Any = None) -> Any:
    """Return predictions as a frame: ``prediction``, a column for each probability and contribution, ids, version.

    Raises:
        MissingPackageError: pandas is not installed.
    """
    return pandas().DataFrame([cells_of(answer) for answer in answers], index=index)


def pandas() -> Any:
    """Return pandas.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        return importlib.import_module("pandas")
    except ModuleNotFoundError as e:
        raise MissingPackageError("this needs pandas, which is not installed: pip install pandas") from e


def cells_of(answer: Json) -> Json:
    """Return the cells of one answer by the names of their columns."""
    cells: Json = {"prediction": answer["prediction"]}
    cells |= {f"probability_{name}": value for name, value in (answer.get("probabilities") or {}).items()}
    cells |= {"version": answer.get("version"), "prediction_id": answer.get("prediction_id")}
    if explanation := answer.get("explanation"):
        cells |= {name: explanation[name] for name in ("unit", "base", "score")}
        cells |= {f"contribution_{name}": value for name, value in explanation["contributions"].items()}
    return cells


def _plain(value: Any) -> Any:
    """Return a cell as a value of JSON."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None if math.isnan(value) else str(value)
    if type(value).__name__ in {"NAType", "NaTType"}:
        return None
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return _plain(value.item()) if hasattr(value, "item") else str(value)
