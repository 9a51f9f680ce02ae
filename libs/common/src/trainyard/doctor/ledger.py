"""I1: the rows of every dataset are those of the ledger. I9: the audit log is whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainyard.doctor.evidence import Database
    from trainyard.doctor.report import Findings

_MEND_ROWS = (
    "The warehouse was changed by other means than the services: restore the dataset from a backup, or delete it and"
    " send its batches again."
)
_MEND_SUMS = "Is ingest running? It takes checksums after the commit; its log says why it does not."
#: A checksum that was not taken within this time is not on its way.
_SUMMED_WITHIN_SECONDS = 3_600
_MEND_AUDIT = "Entries were changed or removed in the database: compare with a backup and find out who could."


def rows_equal_the_ledger(findings: Findings, database: Database, most_rows: int | None) -> None:
    """Compare rows and checksums, batch by batch."""
    looked = database.ledger(most_rows)
    for gap in looked.gaps:
        if gap.rows != gap.ledger_rows:
            said = f"has {gap.rows:,} rows where the ledger has {gap.ledger_rows:,}"
        else:
            said = f"has rows of checksum {gap.checksum} where the ledger has {gap.ledger_checksum}"
        findings.problem(f"dataset {gap.dataset}: batch {gap.batch_id} {said}", _MEND_ROWS)
    for stray in looked.strays:
        findings.problem(stray, _MEND_ROWS)
    for waiting in looked.unsummed:
        said = f"dataset {waiting.dataset}: {waiting.batches:,} batches have no checksum"
        if waiting.oldest > _SUMMED_WITHIN_SECONDS:
            findings.problem(f"{said}, the oldest for {waiting.oldest / 60:,.0f} minutes", _MEND_SUMS)
        else:
            findings.note(f"{said} yet")
    findings.sampled("rows", looked.rows_seen, looked.rows_total)


def audit_is_whole(findings: Findings, database: Database, most: int | None) -> None:
    """Compute the chain of hashes again."""
    looked = database.audit(most)
    for sentence in looked.breaks:
        findings.problem(sentence, _MEND_AUDIT)
    findings.sampled("audit entries", looked.seen, looked.total)
