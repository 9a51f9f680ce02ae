"""The matrix and the source agree: every point of the code has a row, and every row a point."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from matrix import FAULTS, ROWS, Row, as_markdown

_ROOT = Path(__file__).parents[2]
_SOURCES = [path for folder in ("libs", "services", "deploy") for path in (_ROOT / folder).rglob("src/**/*.py")]
_CALLS = {"crashpoint", "step"}


def _points() -> dict[str, set[str]]:
    """Return each point of the product's source, with the calls (``crashpoint``, ``step``) that make it."""
    found: dict[str, set[str]] = {}
    for path in _SOURCES:
        if "testing" in path.parts or path.name == "crashpoints.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and (call := _name(node.func)) in _CALLS and _is_point(node):
                found.setdefault(node.args[0].value, set()).add(call)  # type: ignore[attr-defined]
    return found


def _name(function: ast.expr) -> str:
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def _is_point(node: ast.Call) -> bool:
    first = node.args[0] if len(node.args) == 1 else None
    return isinstance(first, ast.Constant) and isinstance(first.value, str) and first.value.startswith("K")


def test_every_point_has_one_row_and_every_row_a_point() -> None:
    """Whoever adds a point adds a row; whoever removes one removes its row."""
    names = [row.point for row in ROWS]
    assert len(names) == len(set(names))
    assert set(_points()) == set(names)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.point)
def test_replies_are_lost_where_something_is_asked(row: Row) -> None:
    """The fault ``lost`` is run at every step that something outside carries out, and nowhere else."""
    assert ("lost" in row.faults) == (_points()[row.point] == {"step"})


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.point)
def test_what_is_left_out_has_a_reason(row: Row) -> None:
    """A fault is run or explained."""
    assert set(row.without) <= set(FAULTS)
    assert all(len(reason) > 10 for reason in row.without.values())


def test_the_documented_table_is_the_matrix() -> None:
    """docs/reliability.md holds the table as the tests run it."""
    assert as_markdown() in (_ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
