"""What a challenger must show before promotion: the part ``gate`` of a model's policy, every key with its default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from trainyard.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_CONFIDENCE = 0.9999


@dataclass(frozen=True)
class GatePolicy:
    """What to demand.

    Attributes:
        min_rows: hold-out rows below which nothing is promoted.
        min_improvement: by how much the metric must beat the champion's, in the metric's own unit.
        confidence: how sure a gain must be (one-sided): the bootstrap's lower bound at this level must be above 0. Of
            models that are just as good as the champion a share of 1 - confidence passes by luck.
        max_slice_loss: by what share of the champion's loss the challenger may be worse in a part of the rows, beyond
            noise; None: parts are not compared.
        min_slice_rows: hold-out rows below which a part is not compared.
        max_calibration_error: how far answers may be from what came true (:mod:`trainyard.gate_calibration`), beyond
            noise; what is no worse than the champion (the prior without one) passes all the same. None: any.
        max_latency_us: microseconds that the answer to one row may take on the trainer; None: any.
        max_size_bytes: of the artifact; None: any.
        borderline_margin: a gain whose lower bound is above 0 by less than this is borderline; in the metric's unit.
    """

    min_rows: int = 100
    min_improvement: float = 0.0
    confidence: float = 0.975
    max_slice_loss: float | None = 0.1
    min_slice_rows: int = 200
    max_calibration_error: float | None = 0.2
    max_latency_us: float | None = None
    max_size_bytes: int | None = None
    borderline_margin: float = 0.0

    def changed(self, raw: Mapping[str, Any]) -> GatePolicy:
        """Return these demands with those of ``raw``, which has no problems.

        ``noise_margin``, the standard errors of an older release, is read as the confidence that it stood for, since
        policies and requests of then are stored with it; it is never written.
        """
        values = dict(raw)
        margin = values.pop("noise_margin", None)
        if margin is not None:
            values.setdefault("confidence", min(round(NormalDist().cdf(margin), 4), MAX_CONFIDENCE))
        return replace(self, **values)

    def settings(self) -> dict[str, Any]:
        """Return what a training request copies: the two oldest keys, and what is not as by default.

        A trainer of the release before refuses keys that it does not know.
        """
        whole, default = asdict(self), asdict(GatePolicy())
        return {key: v for key, v in whole.items() if key in ("min_rows", "min_improvement") or v != default[key]}


def gate_problems(raw: object) -> list[Problem]:
    """Return everything that is wrong with ``policy.gate`` given as JSON: unknown keys first, then wrong values."""
    if not isinstance(raw, Mapping):
        return [Problem(None, "policy.gate", "an object", repr(raw)[:120])]
    keys = ", ".join(asdict(GatePolicy()))
    unknown = [
        Problem(None, f"policy.gate.{str(name)[:80]}", f"one of the keys {keys}", "an unknown key")
        for name in raw
        if name not in _KEYS
    ]
    wrong = [
        Problem(None, f"policy.gate.{name}", expected, repr(raw[name])[:120])
        for name, (fits, expected) in _KEYS.items()
        if name in raw and not fits(raw[name])
    ]
    return unknown + wrong


def _whole(least: int, most: int, *, null: bool = False) -> tuple[Callable[[object], bool], str]:
    def fits(value: object) -> bool:
        if value is None:
            return null
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most

    return fits, f"a whole number from {least}{', or null' if null else ''}"


def _number(least: float, most: float, *, null: bool = False) -> tuple[Callable[[object], bool], str]:
    def fits(value: object) -> bool:
        if value is None:
            return null
        # A NaN is in no range.
        return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most

    return fits, f"a number from {least:g} to {most:g}{', or null' if null else ''}"


_KEYS: dict[Any, tuple[Callable[[object], bool], str]] = {
    "min_rows": _whole(1, 10**12),
    "min_improvement": _number(-1e12, 1e12),
    "confidence": _number(0.5, MAX_CONFIDENCE),
    "max_slice_loss": _number(0.0, 1e6, null=True),
    "min_slice_rows": _whole(2, 10**12),
    "max_calibration_error": _number(0.0, 1e6, null=True),
    "max_latency_us": _number(0.001, 1e12, null=True),
    "max_size_bytes": _whole(1, 10**12, null=True),
    "borderline_margin": _number(0.0, 1e12),
    "noise_margin": _number(0.0, 100.0),
}
