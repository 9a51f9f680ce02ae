"""What a screen says about columns, and what it leaves for a model to learn from."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from trainyard.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Verdict:
    """Why a column is left out, or suspected of giving the label away.

    Attributes:
        column: its name.
        kind: one of ``excluded``, ``constant``, ``duplicate``, ``id``, ``text``; of suspects ``alone``, ``function``,
            ``missingness``, ``one_outcome``, ``later``, ``arithmetic``.
        reason: for people.
        figure: what was measured (AUC, R2, a share), None where nothing was.
    """

    column: str
    kind: str
    reason: str
    figure: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form; the figure to four decimals."""
        return {**asdict(self), "figure": None if self.figure is None else round(self.figure, 4)}


@dataclass(frozen=True, eq=False)
class Screening:
    """The outcome: columns left out, leakage suspects (left out too, or kept because the policy says so), and the
    columns that there was no time to suspect; each in the schema's order.
    """

    left_out: tuple[Verdict, ...]
    suspects: tuple[Verdict, ...]
    unscreened: tuple[str, ...]

    @classmethod
    def recorded(cls, record: Sequence[Mapping[str, str]]) -> Screening:
        """Return what :meth:`record` has noted, as far as it determines the fit."""
        return cls(tuple(Verdict(one["column"], one["kind"], "") for one in record), (), ())

    def schema(self, schema: Schema) -> Schema:
        """Return the schema as the model sees it: columns that are left out are ignored."""
        gone = {verdict.column for verdict in self.left_out}
        return Schema(replace(c, role="ignore") if c.name in gone else c for c in schema.columns)

    def record(self) -> list[dict[str, str]]:
        """Return what determines the fit, for the lineage: which columns were left out, and the kinds of reason."""
        return [{"column": verdict.column, "kind": verdict.kind} for verdict in self.left_out]

    def as_dict(self) -> Mapping[str, Any]:
        """Return the JSON form for the report of the run."""
        return {
            "left_out": [verdict.as_dict() for verdict in self.left_out],
            "suspects": [verdict.as_dict() for verdict in self.suspects],
            "unscreened": list(self.unscreened),
        }
