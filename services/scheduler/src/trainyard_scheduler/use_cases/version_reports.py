"""The report of a version with all that a reader wants beside it: model, version, run and trials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainyard_scheduler.use_cases.models import model_called
from trainyard_scheduler.use_cases.versions import version_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainyard.contracts.registry import ModelRecord, VersionRecord
    from trainyard.contracts.requests import RunRecord
    from trainyard.contracts.scheduling import Records


@dataclass(frozen=True)
class VersionReport:
    """What is known of a version; ``report`` None: it was imported, or registered before there were reports."""

    model: ModelRecord
    version: VersionRecord
    run: RunRecord | None
    report: Mapping[str, Any] | None

    @property
    def usd_per_hour(self) -> float | None:
        """What the run's instance cost, as far as the run's own cost says; None: it is not known (yet)."""
        run = self.run
        if run is None or run.cost_usd is None or run.ended_at is None:
            return None
        seconds = (run.ended_at - run.started_at).total_seconds()
        return round(run.cost_usd / seconds * 3600.0, 6) if seconds > 0 else None


def report_of(records: Records, model_name: str, number: int) -> VersionReport:
    """Return the report of a version.

    Raises:
        ServiceError: ``unknown_model`` or ``unknown_version``.
    """
    model = model_called(records, model_name)
    version = version_of(records, model, number)
    run = None if version.run_id is None else records.requests.run(version.run_id)
    return VersionReport(model, version, run, records.versions.report(model.id, number))
