"""What the reader of the demo sees: chapters, steps with the time since the start, tables, one live line."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import TextIO

    from trainyard.clock import Clock

_PIPE_COLUMNS = 160


class Narrator:
    """Prints to one stream; the live line only shows on a terminal and leaves nothing behind."""

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        self._clock = clock
        self._began = clock.monotonic()
        width = None if stream.isatty() else _PIPE_COLUMNS
        self._console = Console(file=stream, highlight=False, markup=False, width=width)

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._clock.monotonic() - self._began

    def say(self, text: str = "") -> None:
        """Print text as it is."""
        self._console.print(Text(text), soft_wrap=True)

    def chapter(self, title: str) -> None:
        """Begin a part of the story."""
        self._console.print()
        self._console.print(Rule(Text(title, style="bold"), align="left", style="dim"))

    def step(self, text: str, style: str = "") -> None:
        """Print one thing that happened, after the time since the start."""
        self._console.print(Text(f"{self.elapsed:6.1f} s  ", style="dim") + Text(text, style=style), soft_wrap=True)

    def table(self, rows: Sequence[Mapping[str, str]], *, indent: int = 0) -> None:
        """Print rows of text under their keys."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in rows[0]:
            table.add_column(name)
        for row in rows:
            table.add_row(*(Text(value) for value in row.values()))
        grid = Table.grid()
        grid.add_row(" " * indent, table)
        self._console.print(grid)

    @contextmanager
    def live(self, text: str) -> Iterator[Callable[[str, Any, Any], None]]:
        """Show a line that moves while the block runs; gives a function (text, done, total) that changes it."""
        columns = (TextColumn("          {task.description}", markup=False), BarColumn(), TimeElapsedColumn())
        disabled = not self._console.is_terminal
        with Progress(*columns, console=self._console, transient=True, disable=disabled) as progress:
            task = progress.add_task(text, total=None)
            yield lambda said, done, total: progress.update(task, description=said[:70], completed=done, total=total)
