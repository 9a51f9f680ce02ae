"""The list of tables (datasets.toml) and where their prepared form lies; imports nothing but the standard library."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

#: Everything that the benchmark makes: prepared tables, splits, results.
STATE = Path(".state/models-bench")
LIST = Path(__file__).with_name("datasets.toml")
TASKS = ("binary", "multiclass", "regression")
SPLITS = ("random", "time")


@dataclass(frozen=True, eq=False)
class Dataset:
    """One table as datasets.toml describes it.

    Attributes:
        path: of the file, below the packages' directory.
        exclude: columns that no method may see, each with the reason.
        order: the column that tells the rows' time, left out too; "" if they are in order already, or have none.
        header: whether a CSV file's first line names its columns.
        sha256: of the prepared CSV.
    """

    name: str
    package: str
    path: str
    licence: str
    label: str
    task: str
    split: str
    sha256: str
    exclude: dict[str, str] = field(default_factory=dict)
    order: str = ""
    header: bool = True

    @property
    def prepared(self) -> Path:
        """The CSV that all methods' rows come from."""
        return STATE / "tables" / f"{self.name}.csv"

    @property
    def metric(self) -> str:
        """Name of the metric, of which less is better."""
        return "rmse" if self.task == "regression" else "log_loss"

    def is_prepared(self) -> bool:
        """Tell whether the prepared CSV is there, to the byte."""
        return self.prepared.exists() and digest(self.prepared) == self.sha256


def load(file: Path = LIST) -> dict[str, Dataset]:
    """Return the tables of the list by name."""
    with file.open("rb") as content:
        described = tomllib.load(content)["dataset"]
    return {entry["name"]: Dataset(**entry) for entry in described}


def digest(file: Path) -> str:
    """Return the SHA-256 of a file."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
