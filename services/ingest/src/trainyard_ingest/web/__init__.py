"""The HTTP routes of ingest (docs/api.md): views translate between requests and use cases, nothing more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainyard_ingest.use_cases.datasets import KeepDatasets
from trainyard_ingest.web import datasets, ledger, predictions, rows
from trainyard_ingest.web.keeping import routes as keeping_routes

if TYPE_CHECKING:
    from trainyard.adapters.web import Route
    from trainyard.contracts.keeping import Keeping
    from trainyard.contracts.loading import LoadingBoard
    from trainyard.contracts.prediction_log import PredictionLog
    from trainyard.contracts.warehouse import Warehouse
    from trainyard_ingest.use_cases.feedback import TakeFeedback
    from trainyard_ingest.use_cases.intake import RowIntake


def routes(
    *,
    warehouse: Warehouse,
    keeping: Keeping,
    log: PredictionLog,
    intake: RowIntake,
    feedback: TakeFeedback,
    board: LoadingBoard,
) -> list[Route]:
    """Return the routes of datasets, rows and predictions."""
    kept = KeepDatasets(warehouse, keeping)
    return [
        *datasets.routes(warehouse, kept),
        *keeping_routes(warehouse, kept, keeping),
        *rows.routes(warehouse, intake),
        *ledger.routes(warehouse, keeping, board),
        *predictions.routes(log, feedback),
    ]
