"""What the commands print: tables and sentences for people, JSON for programs, progress on a terminal.

Text that came from data or from the network is printed without control characters: a value in a CSV file must not be
able to move the cursor, colour the screen or hide a line.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from trainyard_client.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import TextIO

_PIPE_COLUMNS = 200
#: Longer tables are not fitted to the width of the terminal: that takes milliseconds a row.
_MOST_FITTED_ROWS = 200
_MOST_IN_CELL = 3


def _brief(value: object) -> object:
    """Return a value that fits a cell: of a list its first items, of an object its values."""
    if isinstance(value, list):
        more = ["…"] if len(value) > _MOST_IN_CELL else []
        return ", ".join([printable(_brief(one)) for one in value[:_MOST_IN_CELL]] + more)
    if isinstance(value, dict):
        return " ".join(printable(_brief(one)) for one in value.values() if one is not None)
    return value


def _width(text: str) -> int:
    return len(text) if text.isascii() else cell_len(text)


class Output:
    """Where one command prints.

    ``as_json``: exactly one JSON document on standard output and nothing else there; on standard error a JSON object
    in each line, ``{"error": …}`` or ``{"note": …}``.
    """

    def __init__(self, *, as_json: bool, stdout: TextIO, stderr: TextIO) -> None:
        self.as_json = as_json
        self._stdout = stdout
        self._stderr = stderr
        self._console = Console(
            file=stdout, highlight=False, markup=False, width=None if stdout.isatty() else _PIPE_COLUMNS
        )
        self._errors = Console(file=stderr, highlight=False, markup=False, soft_wrap=True)

    def data(self, value: Any) -> bool:
        """Print the JSON document if JSON is wanted; tell whether it was."""
        if self.as_json:
            json.dump(value, self._stdout, indent=2, ensure_ascii=True, default=str)
            self._stdout.write("\n")
        return self.as_json

    def say(self, sentence: str) -> None:
        """Print a line for people."""
        self._console.print(Text(printable(sentence)), soft_wrap=True)

    def note(self, sentence: str) -> None:
        """Print a line beside the result, on standard error."""
        if self.as_json:
            self._stderr.write(json.dumps({"note": sentence}) + "\n")
            return
        self._errors.print(Text(printable(sentence), style="dim"))

    def hint(self, sentence: str) -> None:
        """Print a line beside the result if a person reads the result: a script that is piped on needs no advice."""
        if self._stdout.isatty():
            self.note(sentence)

    def table(self, rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, empty: str) -> None:
        """Print rows under the named columns, or the sentence ``empty``."""
        if not rows:
            self.say(empty)
            return
        titles = [printable(name).replace("_", " ") for name in columns]
        numeric = [all(isinstance(row.get(name), int | float | None) for row in rows) for name in columns]
        cells = [[printable(row.get(name)) for name in columns] for row in rows]
        if len(rows) > _MOST_FITTED_ROWS:
            self._long_table(titles, numeric, cells)
            return
        table = Table(box=None, pad_edge=False, header_style="bold")
        for title, right in zip(titles, numeric, strict=True):
            table.add_column(title, justify="right" if right else "left", overflow="fold")
        for line in cells:
            table.add_row(*(Text(cell) for cell in line))
        self._console.print(table)

    def _long_table(self, titles: Sequence[str], numeric: Sequence[bool], cells: Sequence[Sequence[str]]) -> None:
        """Print a line for each row, however wide it gets."""
        widths = [max(map(_width, column)) for column in zip(titles, *cells, strict=True)]

        def line(row: Sequence[str]) -> str:
            padded = []
            for cell, width, right in zip(row, widths, numeric, strict=True):
                space = " " * (width - _width(cell))
                padded.append(space + cell if right else cell + space)
            return "  ".join(padded)

        self._console.print(Text(line(titles), style="bold"), soft_wrap=True)
        self._stdout.writelines(f"{line(row)}\n" for row in cells)

    def fields(self, value: Mapping[str, Any], names: Sequence[str]) -> None:
        """Print the named fields of one object, a line each."""
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        for name in names:
            table.add_row(name.replace("_", " "), Text(printable(value.get(name))))
        self._console.print(table)

    def beside(self, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
        """Print a table beside the result, on standard error."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in columns:
            table.add_column(printable(name).replace("_", " "), overflow="fold")
        for row in rows:
            table.add_row(*(Text(printable(row.get(name))) for name in columns))
        self._errors.print(table)

    def report(self, report: Mapping[str, Any]) -> None:
        """Print a quality report: its own facts as fields, its ``columns`` as a table of whatever each says."""
        columns = report.get("columns")
        facts = [name for name, value in report.items() if name != "columns" and value is not None]
        if facts:
            self.fields(report, facts)
        if isinstance(columns, dict):
            columns = [{"column": name, **of} for name, of in columns.items() if isinstance(of, dict)]
        lines = [line for line in columns or [] if isinstance(line, dict)]
        titles = list(dict.fromkeys(name for line in lines for name, value in line.items() if value is not None))
        if lines:
            self.table([{name: _brief(value) for name, value in line.items()} for line in lines], titles, empty="")

    def error(self, message: str, *, code: str, details: Sequence[Mapping[str, Any]] = (), hint: str = "") -> None:
        """Print what went wrong on standard error, with the next step; as JSON when JSON is wanted."""
        if self.as_json:
            said = {"error": {"code": code, "message": message, "details": list(details), "hint": hint}}
            self._stderr.write(json.dumps(said) + "\n")
            return
        self._errors.print(Text("error: ", style="bold red") + Text(printable(message)))
        for problem in details[:20]:
            where = [f"row {problem['row']}"] * (problem.get("row") is not None)
            where += [f"column {problem['column']!r}"] * (problem.get("column") is not None)
            expected, got = problem.get("expected"), problem.get("got")
            self._errors.print(Text(printable(f"  {', '.join(where) or 'input'}: expected {expected}, got {got}")))
        if len(details) > 20:
            self._errors.print(Text(f"  … and {len(details) - 20} more"))
        if hint:
            self._errors.print(Text(f"  next: {printable(hint)}", style="dim"))

    @contextmanager
    def progress(self, *, bytes_: bool = False) -> Iterator[Progress]:
        """Show progress bars on standard error while the block runs, if that is a terminal."""
        columns: list[ProgressColumn] = [TextColumn("{task.description}", markup=False), BarColumn()]
        if bytes_:  # tasks need the field ``said``: a word behind the figures
            said = TextColumn("{task.fields[said]}", markup=False)
            columns += [DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(compact=True), said]
        else:
            columns += [MofNCompleteColumn(), TimeElapsedColumn()]
        shown = self._stderr.isatty() and not self.as_json
        with Progress(*columns, console=self._errors, transient=True, disable=not shown) as progress:
            yield progress
