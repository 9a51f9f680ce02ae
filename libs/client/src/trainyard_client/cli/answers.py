"""Answers as a person reads them and as files keep them: CSV with a column for each number, or NDJSON as they came."""

from __future__ import annotations

import contextlib
import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainyard_client.cli import files
from trainyard_client.cli.exits import Exit
from trainyard_client.cli.frame import CommandError
from trainyard_client.frames import cells_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TextIO

    Json = dict[str, Any]

_REASONS = 3


def reasons(answer: Json) -> Json:
    """Return an explained answer with its largest contributions in words, as ``because``."""
    explanation = answer["explanation"]
    contributions = explanation["contributions"].items()
    largest = sorted(contributions, key=lambda one: (-abs(one[1]), one[0]))[:_REASONS]
    said = ", ".join(f"{name} {value:+.3g}" for name, value in largest if value)
    score = f"{explanation['score']:.4g} {explanation['unit']}"
    return {**answer, "because": said or "no column counts", "score": score, "base": f"{explanation['base']:.4g}"}


@contextlib.contextmanager
def writer(target: str) -> Iterator[Callable[[Json], int]]:
    """Give a function that writes one answer to the file and returns 1; the file appears whole or not at all."""
    format_ = files.format_of(target, None)
    if format_ == "json":
        raise CommandError("answers are written as CSV or NDJSON", Exit.USAGE, hint="name the file .csv or .ndjson")
    path = Path(target)
    half = path.with_name(f".{path.name}.part")
    try:
        with half.open("w", encoding="utf-8", newline="") as file:
            yield _csv_line(file) if format_ == "csv" else _ndjson_line(file)
        half.replace(path)
    except OSError as e:
        raise CommandError(f"{target} cannot be written: {e.strerror}", Exit.USAGE) from e
    finally:
        half.unlink(missing_ok=True)


def _ndjson_line(file: TextIO) -> Callable[[Json], int]:
    return lambda answer: file.write(json.dumps(answer) + "\n") and 1


def _csv_line(file: TextIO) -> Callable[[Json], int]:
    lines = csv.writer(file, lineterminator="\n")
    header: list[str] = []

    def write(answer: Json) -> int:
        cells = _cells(answer)
        if not header:
            header.extend(cells)
            lines.writerow(header)
        lines.writerow([cells.get(name) for name in header])
        return 1

    return write


def _cells(answer: Json) -> Json:
    """Return the cells of an answer by the names of their columns."""
    cells = cells_of(answer)
    return {"row": answer["row"], **cells, "prediction": _cell(cells["prediction"])}


def _cell(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value
