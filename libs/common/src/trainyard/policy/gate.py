"""What a challenger must show before promotion: the part ``gate`` of a model's policy, every key with its default."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from trainyard.policy.fields import Field, number, or_null, problems_of, whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainyard.errors import Problem

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
        max_calibration_error: how far answers may be from what came true (:mod:`trainyard.gate.calibration`), beyond
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
    """Return everything that is wrong with ``policy.gate`` given as JSON."""
    return problems_of("policy.gate", raw, _KEYS, named=list(asdict(GatePolicy())))


_KEYS: Mapping[str, Field] = {
    "min_rows": whole(1, 10**12),
    "min_improvement": number(-1e12, 1e12),
    "confidence": number(0.5, MAX_CONFIDENCE),
    "max_slice_loss": or_null(number(0.0, 1e6)),
    "min_slice_rows": whole(2, 10**12),
    "max_calibration_error": or_null(number(0.0, 1e6)),
    "max_latency_us": or_null(number(0.001, 1e12)),
    "max_size_bytes": or_null(whole(1, 10**12)),
    "borderline_margin": number(0.0, 1e12),
    "noise_margin": number(0.0, 100.0),
}
