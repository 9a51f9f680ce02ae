"""How good the models are: ours, FLAML, LightGBM and scikit-learn on public tables, within equal wall-clock budgets.

``python -m benchmarks models`` runs the whole table (hours; it goes on where it was interrupted); ``--quick`` runs two
tables for 30 s, and so does ``make bench``. ``--report`` runs nothing and writes a page for each budget,
docs/evidence/models-30s.md.
"""

from __future__ import annotations

from typing import Any

from benchmarks.models.command import main


def run() -> list[dict[str, Any]]:
    """Run the quick version, print its table and return the results it is made of."""
    return main(["--quick"])


__all__ = ["main", "run"]
