"""What has come in so far, as numbers for /metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainyard.contracts.warehouse import Warehouse
    from trainyard.telemetry.numbers import Sample


def taken(warehouse: Warehouse) -> list[Sample]:
    """Return batches, rows and rejects by source: the ledger's, so whoever took them in, no restart starts anew.

    Raises:
        TransientError: the database does not answer.
    """
    samples: list[Sample] = []
    for part in warehouse.taken():
        source = {"source": part.source}
        samples.append(("trainyard_ingest_batches_total", {**source, "state": part.state}, part.batches))
        if part.state == "committed":
            samples.append(("trainyard_ingest_rows_total", source, part.rows))
            samples.append(("trainyard_ingest_rejected_rows_total", source, part.rejected))
    return samples
