"""From columns, and from rows without names, to rows by column name: what protocols send that know no rows of ours.

The values stay as JSON has them and unchecked; the use case checks them as it does those of ``/v1/predict``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainyard.errors import Problem, ServiceError
from trainyard.schema import parse_text, parse_text_column, shown
from trainyard_predictor import domain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainyard.schema import Column, Schema


def rows_of_columns(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Return the rows of columns.

    Raises:
        ServiceError: ``bad_request`` when they are of different lengths, ``too_large`` or ``invalid_rows`` as
            :func:`domain.check_count`.
    """
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        raise ServiceError("bad_request", f"the columns are of different lengths: {sorted(lengths)}")
    domain.check_count(max(lengths, default=0))
    names = list(columns)
    return [dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def rows_of_lists(rows: Sequence[Sequence[Any]], names: Sequence[str], features: Schema) -> list[dict[str, Any]]:
    """Return rows whose values stand in the order of ``names``; in arrays of numbers, 0 and 1 are false and true.

    Raises:
        ServiceError: ``bad_request`` when a row is of another length or a name stands twice, else as
            :func:`rows_of_columns`.
    """
    if len(set(names)) != len(names):
        raise ServiceError("bad_request", "a column is named twice")
    domain.check_count(len(rows))
    wrong = next((number for number, row in enumerate(rows, start=1) if len(row) != len(names)), None)
    if wrong is not None:
        said = f"row {wrong} has {len(rows[wrong - 1])} values for {len(names)} columns"
        raise ServiceError("bad_request", f"{said}: {', '.join(map(shown, names[:20]))}")
    flags = [at for at, name in enumerate(names) if name in features and features.column(name).type == "bool"]
    result = [dict(zip(names, row, strict=True)) for row in rows]
    for at in flags:
        name = names[at]
        for row in result:
            if type(row[name]) in (int, float) and row[name] in (0, 1):
                row[name] = bool(row[name])
    return result


def rows_of_cells(cells: Sequence[Sequence[str]], names: Sequence[str], features: Schema) -> list[dict[str, Any]]:
    """Return the rows of a table of text, such as a CSV file; an empty cell is missing.

    Raises:
        ServiceError: ``invalid_rows`` with every cell that is not of its column's type, else as :func:`rows_of_lists`.
    """
    rows = rows_of_lists(cells, names, features)
    problems: list[Problem] = []
    for at, name in enumerate(names):
        if name not in features:
            continue  # the use case says so
        texts = [row[at] for row in cells]
        column = features.column(name)
        values, bad = _parsed(column, texts)
        for index in bad:
            _, expected = parse_text(column, texts[index])
            problems.append(Problem(index + 1, name, expected or "another value", shown(texts[index])))
        for row, value in zip(rows, values, strict=True):
            row[name] = value
    if problems:
        problems.sort(key=lambda problem: problem.row or 0)
        raise ServiceError("invalid_rows", f"{len(problems)} of the cells do not fit; the details list them", problems)
    return rows


def _parsed(column: Column, texts: Sequence[str]) -> tuple[Sequence[Any], list[int]]:
    """Return the values of one column of cells as JSON has them, and the indexes of the bad cells."""
    values, bad = parse_text_column(column, texts)
    if column.type in ("date", "timestamp"):
        return [text.strip() or None for text in texts], bad
    return values, bad
