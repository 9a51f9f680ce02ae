"""Expand, migrate, contract: no revision takes away, or narrows, what the release before uses (docs/migrations.md)."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest
from tests.integration.postgres.previous_release import REVISION as SHIPPED
from tests.integration.postgres.schema import location
from tests.integration.postgres.stopping_migration import statements

if TYPE_CHECKING:
    from pathlib import Path

#: What a revision may do only when it is marked as a contraction.
_TAKES_AWAY = {
    "drops an object": r"\bDROP\s+(?:TABLE|VIEW|SCHEMA|SEQUENCE|FUNCTION|TYPE|DOMAIN|ROLE)\b",
    "drops a column": r"\bDROP\s+COLUMN\b",
    "drops a constraint": r"\bDROP\s+CONSTRAINT\b",
    "renames": r"\bRENAME\b",
    "changes a type": r"\bALTER\s+COLUMN\s+\w+\s+(?:SET\s+DATA\s+)?TYPE\b",
    "sets NOT NULL": r"\bSET\s+NOT\s+NULL\b",
    "adds a constraint": r"\bADD\s+(?:CONSTRAINT|CHECK|UNIQUE|PRIMARY|FOREIGN|EXCLUDE)\b",
    "deletes rows": r"\b(?:TRUNCATE|DELETE\s+FROM)\b",
}
_COMMENT = re.compile(r"--[^\n]*")
_BODY = re.compile(r"\$function\$.*?\$function\$", re.DOTALL)  # what a function does later, it does when it is called


def problems(text: str) -> list[str]:
    """Return what a text of SQL does that the release before may not survive."""
    made = set(re.findall(r"CREATE\s+(?:UNLOGGED\s+)?TABLE\s+([\w.]+)", text))
    found = []
    for statement in statements(text):
        bare = _BODY.sub("", _COMMENT.sub("", statement))
        found += [what for what, pattern in _TAKES_AWAY.items() if re.search(pattern, bare, re.IGNORECASE)]
        for column in re.findall(r"\bADD\s+COLUMN\s+([^,;]*)", bare, re.IGNORECASE):
            if re.search(r"\bNOT\s+NULL\b", column, re.IGNORECASE) and not re.search(
                r"\bDEFAULT\b", column, re.IGNORECASE
            ):
                found.append("adds a column that must be given")
        unique = re.search(r"\bCREATE\s+UNIQUE\s+INDEX\b.*?\bON\s+([\w.]+)", bare, re.IGNORECASE | re.DOTALL)
        if unique and unique[1] not in made:
            found.append("adds a unique index")
    return found


class Revision:
    """One module of the history, as it is written."""

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        tree = ast.parse(path.read_text())
        upgrade = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "upgrade")
        texts = [
            node.value for node in ast.walk(upgrade) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        self.sql = "\n".join(
            (location() / "sql" / text).read_text() if text.endswith(".sql") else f"{text};" for text in texts[1:]
        )
        self.constants = {
            node.targets[0].id: ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }

    @property
    def contracts(self) -> str | None:
        """The revision since which nothing uses what this one takes away; None: it takes nothing away."""
        found = self.constants.get("CONTRACTS")
        return None if found is None else str(found)


HISTORY = [Revision(path) for path in sorted((location() / "versions").glob("0*.py"))]


@pytest.mark.parametrize("revision", HISTORY[1:], ids=lambda revision: revision.name)
def test_revisions_only_add(revision: Revision) -> None:
    """A revision adds, or says since when nobody uses what it takes away, and that release has shipped."""
    if revision.contracts is None:
        assert problems(revision.sql) == []
    else:
        assert problems(revision.sql) != [], "it takes nothing away: no mark is needed"
        assert revision.contracts <= SHIPPED, "the release that stopped using it has not shipped yet"


def test_the_history_is_one_line() -> None:
    """Each revision's file is called after it and stands on the one before."""
    assert [revision.constants["revision"] for revision in HISTORY] == [revision.name[:4] for revision in HISTORY]
    below = [None, *(revision.constants["revision"] for revision in HISTORY[:-1])]
    assert [revision.constants["down_revision"] for revision in HISTORY] == below


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ALTER TABLE core.a ADD COLUMN b integer;", []),
        ("ALTER TABLE core.a ADD COLUMN b integer NOT NULL DEFAULT 1, ADD COLUMN c text;", []),
        ("CREATE TABLE core.a (b integer NOT NULL CHECK (b > 0));\nCREATE UNIQUE INDEX c ON core.a (b);", []),
        ("DROP INDEX core.a;", []),
        ("ALTER TABLE core.a ALTER COLUMN b DROP NOT NULL;", []),
        ("-- DROP TABLE core.a;\nSELECT 1;", []),
        ("CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $function$ DROP TABLE x; $function$;", []),
        ("DROP TABLE core.a;", ["drops an object"]),
        ("DO $$ BEGIN\nDROP VIEW a;\nEND $$;", ["drops an object"]),
        ("alter table core.a drop column b;", ["drops a column"]),
        ("ALTER TABLE core.a RENAME b TO c;", ["renames"]),
        ("ALTER TABLE core.a ALTER COLUMN b TYPE text;", ["changes a type"]),
        ("ALTER TABLE core.a ALTER COLUMN b SET NOT NULL;", ["sets NOT NULL"]),
        ("ALTER TABLE core.a ADD COLUMN b text NOT NULL;", ["adds a column that must be given"]),
        ("ALTER TABLE core.a ADD CHECK (b > 0);", ["adds a constraint"]),
        ("CREATE UNIQUE INDEX c ON core.a (b);", ["adds a unique index"]),
        ("DELETE FROM core.a;", ["deletes rows"]),
    ],
)
def test_what_takes_away(text: str, found: list[str]) -> None:
    """The rule knows additions from the rest."""
    assert problems(text) == found
