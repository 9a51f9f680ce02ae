"""Rejected rows as files: NDJSON, and CSV that no spreadsheet takes for formulas."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trainyard.errors import Problem

_COLUMNS = ("row", "column", "expected", "got")
#: What makes a spreadsheet compute, fetch or run what stands in a cell.
_DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n", "\0")


def csv_header() -> bytes:
    """Return the header row."""
    return (",".join(_COLUMNS) + "\r\n").encode()


def csv_lines(problems: Iterable[Problem]) -> bytes:
    """Return problems as CSV (RFC 4180); text that begins like a formula gets an apostrophe in front."""
    text = io.StringIO()
    writer = csv.writer(text)
    for problem in problems:
        row = "" if problem.row is None else problem.row
        writer.writerow([row, safe(problem.column or ""), safe(problem.expected), safe(problem.got)])
    return text.getvalue().encode()


def ndjson_lines(problems: Iterable[Problem]) -> bytes:
    """Return problems as one JSON object in a line each."""
    return b"".join(json.dumps(problem.as_dict(), ensure_ascii=False).encode() + b"\n" for problem in problems)


def safe(text: str) -> str:
    """Return the text as a cell that is only text."""
    return f"'{text}" if text.startswith(_DANGEROUS) else text
