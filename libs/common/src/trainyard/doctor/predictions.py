"""I6: every acknowledged prediction has one log row, every labelled prediction one current label."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainyard.doctor.evidence import Database, Machine
    from trainyard.doctor.report import Findings

#: A segment is shipped within seconds while SQS answers.
_SEGMENT_SECONDS = 120.0
_MEND_LOG = (
    "The log was changed by other means than ingest (the id is its key): restore core.prediction from a backup, or"
    " remove the surplus rows by hand."
)
_MEND_STRANGERS = (
    "Somebody answered with a model that the registry does not know, or versions were removed from the database:"
    " restore core.version from a backup; `trainyard versions MODEL` shows what there is."
)
_MEND_SPOOL = (
    "Predictions were answered and wait on the predictor's disk: is a predictor running there, and does SQS answer?"
    " Never delete its spool."
)


def predictions_are_logged(findings: Findings, database: Database, machine: Machine | None, most: int | None) -> None:
    """Look for doubled, foreign and not yet logged predictions, and for labels that found none."""
    looked = database.predictions(most)
    for ident in looked.doubled:
        findings.problem(f"prediction {ident} stands in the log more than once", _MEND_LOG)
    for ident in looked.relabelled:
        findings.problem(f"prediction {ident} has more than one current label", _MEND_LOG)
    for model, version, count in looked.strangers:
        findings.problem(
            f"{count:,} predictions were logged for version {version} of model {model}, which does not exist",
            _MEND_STRANGERS,
        )
    if looked.parked:
        findings.note(
            f"{looked.parked:,} labels name a prediction that is not in the log, the oldest for"
            f" {looked.parked_oldest:,.0f} s"
        )
    findings.sampled("predictions", looked.seen, looked.total)
    _spool(findings, machine)


def _spool(findings: Findings, machine: Machine | None) -> None:
    segments = None if machine is None else machine.unsent_segments()
    if segments is None:
        findings.note("the predictors' spools are on other machines: whether records wait there was not looked at")
        return
    late = [segment for segment in segments if segment.age > _SEGMENT_SECONDS]
    for segment in late:
        findings.problem(
            f"segment {segment.name} of the prediction log has waited for {segment.age:,.0f} s", _MEND_SPOOL
        )
    if len(segments) > len(late):
        findings.note(f"{len(segments) - len(late):,} segments of the prediction log are about to be sent")
