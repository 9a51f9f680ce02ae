"""The fields of log lines: those that the code writes are those of the table, no more and no fewer."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

from trainyard.telemetry.log_fields import ALWAYS, FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
_LEVELS = {"debug", "info", "warning", "error"}


def _calls() -> Iterator[tuple[str, ast.Call]]:
    """Yield what writes a log line or binds fields to those that follow, each with its place."""
    for source in sorted(ROOT.glob("*/*/src/**/*.py")):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
                writes = owner in {"_log", "log"} and node.func.attr in _LEVELS
                if writes or (owner, node.func.attr) == ("logs", "bound"):
                    yield f"{source.relative_to(ROOT)}:{node.lineno}", node


def test_every_field_is_declared_and_every_declared_field_is_written() -> None:
    """``error`` is no field: it is told as the traceback."""
    written: dict[str, str] = {}
    for place, call in _calls():
        for keyword in call.keywords:
            assert keyword.arg is not None, f"{place} hides the names of its fields"
            written[keyword.arg] = place
    del written["error"]
    assert {name: place for name, place in written.items() if name not in FIELDS} == {}
    assert set(FIELDS) - set(written) == set()
    assert not set(FIELDS) & set(ALWAYS)
