"""``trainyard-migrate`` that stands still inside one revision, for tests that kill it there.

Arguments: the revision, and how many of its statements come first: ``none``, ``half`` or ``all`` of them.
"""

from __future__ import annotations

import sys

from trainyard.adapters.postgres import migrate, migrations

STANDSTILL = "SELECT pg_sleep(3600)"


def statements(text: str) -> list[str]:
    """Split a file of SQL behind every semicolon that ends a line outside a function's body."""
    found, piece, within = [], [], False
    for line in text.splitlines(keepends=True):
        piece.append(line)
        quotes = line.count("$$") + line.count("$function$")
        within ^= quotes % 2 == 1
        bare = line.split("--")[0].rstrip()
        if bare.endswith(";") and not within:
            found.append("".join(piece))
            piece = []
    return [*found, "".join(piece)] if "".join(piece).strip() else found


def main() -> int:
    """Run the revisions; the named one sleeps in the server for an hour."""
    revision, before = sys.argv[1:]
    read = migrations.read_sql

    def stopping(name: str) -> str:
        text = read(name)
        if not name.startswith(revision):
            return text
        parts = statements(text)
        at = {"none": 0, "half": len(parts) // 2, "all": len(parts)}[before]
        return "".join([*parts[:at], STANDSTILL + ";\n", *parts[at:]])

    migrations.read_sql = stopping
    return migrate.main()


if __name__ == "__main__":
    sys.exit(main())
