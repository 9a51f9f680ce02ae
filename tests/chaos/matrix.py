"""The matrix: every named point of the code (``crashpoint("K19")``, ``step("K25")``) and what may go wrong there.

A row says which process passes the point, what has happened when it does, and how a test gets it there. Each row is
run with every fault: ``kill9`` and ``sigterm`` strike the process at the point; ``error`` is a failure of whatever is
asked there, before it takes effect; ``lost`` is the same after it took effect. A fault that makes no sense at a point
is left out, with the reason. ``test_points.py`` holds the table against the source, both ways.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

FAULTS = ("kill9", "sigterm", "error", "lost")
NOTHING_ASKED = "nothing outside is asked here: there is no reply to lose"
SAME_TRANSACTION = "the next reply that can be lost is COMMIT's, at {}"

SCHEDULER, TRAINER, INGEST, PREDICTOR, POLLER = "scheduler", "trainer", "ingest", "predictor", "poller"


@dataclass(frozen=True)
class Row:
    """One point.

    Attributes:
        drive: how the point is reached: ``rows`` (rows are committed, a policy fires, a trainer serves the request),
            ``landing`` (the rows come as a file on S3), ``pull`` (they come from a table of another
            database), ``fleet`` (as ``rows``, with instances that the scheduler
            launches), ``labels`` (labels come as an event for predictions in the log), ``drift`` (predictions on
            shifted rows raise an alarm, and the alarm asks for a second training), ``predictions`` (a client asks a
            predictor that has just started, again and again until it is answered), ``batch`` (a file of two
            parts with a bad line is dropped into the bucket and scored).
        without: faults that are left out, with the reason.
    """

    point: str
    process: str
    what: str
    drive: str = "rows"
    without: Mapping[str, str] = field(default_factory=dict)

    @property
    def faults(self) -> tuple[str, ...]:
        """The faults that are run."""
        return tuple(fault for fault in FAULTS if fault not in self.without)


_LOCAL = {"lost": NOTHING_ASKED}
_BEFORE_K12, _BEFORE_K28 = ({"lost": SAME_TRANSACTION.format(point)} for point in ("K12", "K28"))
_BEFORE_K8 = {"lost": "an answer of COMMIT that is lost is 'error' at K8"}
_UNTOLD = "'error' here is just that: committed, and the answer lost"
_RECEIVED = "a receive whose reply is lost is a message that nobody deletes: kill9 here is the same to the queue"
_PASSED = "the reply is here already; the fault 'lost' of {} is the one where it is not"
_NO_COMMIT = (
    "no answer to COMMIT is waited for to act on it: the next look finds the window judged, or judges it; 'error' shows"
    " the second, and every later look the first"
)

ROWS = (
    Row("K1", INGEST, "a source that is due is claimed", "pull", _LOCAL),
    Row(
        "K2",
        INGEST,
        "the source is open",
        "pull",
        {"lost": "what is read there is read again; nothing is changed by it"},
    ),
    Row("K3", INGEST, "a piece of the source is read", "landing", _LOCAL),
    Row("K4", INGEST, "the dataset is locked and its numbers are set; nothing is copied yet", "landing", _BEFORE_K8),
    Row("K5", INGEST, "all rows stand in the table, with their numbers", "landing", _BEFORE_K8),
    Row("K6", INGEST, "the ledger has the batch", "landing", _BEFORE_K8),
    Row("K7", INGEST, "the counter is moved and 'data arrived' is in the outbox", "landing", _BEFORE_K8),
    Row("K8", INGEST, "the batch is committed, and nobody knows yet", "landing", {"lost": _UNTOLD}),
    Row("K9", INGEST, "the source's cursor is moved behind a committed batch", "pull"),
    Row("K10", SCHEDULER, "rows, requests and alarms of a model are counted", "rows", _LOCAL),
    Row("K11", SCHEDULER, "the policy has been evaluated", "rows", _LOCAL),
    Row("K12", SCHEDULER, "request, message and decision are committed together"),
    Row("K13", SCHEDULER, "the relay has taken messages from the outbox", "rows", _LOCAL),
    Row("K14", SCHEDULER, "the relay sends messages"),
    Row("K15", SCHEDULER, "the relay notes that they are sent"),
    Row("K16", SCHEDULER, "EC2 is asked for the launch that stands in the ledger", "fleet"),
    Row("K17", TRAINER, "a message is received", "rows", {"lost": _RECEIVED}),
    Row("K18", TRAINER, "the message is read", "rows", _LOCAL),
    Row("K19", TRAINER, "the request is claimed"),
    Row("K20", TRAINER, "the snapshot is read"),
    Row("K21", TRAINER, "the child has trained", "rows", _LOCAL),
    Row("K22", TRAINER, "the child's report on the hold-out is read", "rows", _LOCAL),
    Row("K23", TRAINER, "the artifact is loaded and predicts as it did", "rows", _LOCAL),
    Row("K24", TRAINER, "the artifact is stored, unless it is there"),
    Row("K25", TRAINER, "the artifact stands in the bucket", "rows", {"lost": _PASSED.format("K24")}),
    Row("K26", TRAINER, "version, trials and the request's end are written, not yet committed", "rows", _BEFORE_K28),
    Row("K27", TRAINER, "the alias is moved, not yet committed", "rows", _BEFORE_K28),
    Row("K28", TRAINER, "COMMIT of version, request and alias"),
    Row("K29", TRAINER, "the message is deleted"),
    Row("K30", TRAINER, "a trainer is about to look for the next message, or to leave", "rows", _LOCAL),
    Row("K31", TRAINER, "a trainer without work ends its instance", "fleet"),
    Row("K32", PREDICTOR, "a predictor starts: it is put together and has answered nobody", "predictions", _LOCAL),
    Row("K33", PREDICTOR, "the pointer of a model is read", "predictions"),
    Row("K34", PREDICTOR, "the artifact is read", "predictions"),
    Row("K35", PREDICTOR, "size and SHA-256 are right; nothing is decoded yet", "predictions", _LOCAL),
    Row("K36", PREDICTOR, "the golden rows are right; the version does not answer yet", "predictions", _LOCAL),
    Row("K37", PREDICTOR, "the rows of a request are checked", "predictions", _LOCAL),
    Row("K38", PREDICTOR, "the rows are predicted; nothing is logged", "predictions", _LOCAL),
    Row("K39", PREDICTOR, "the records are made durable", "predictions"),
    Row("K40", PREDICTOR, "the records are durable; nothing is answered", "predictions", _LOCAL),
    Row("K41", INGEST, "labels are committed", "labels"),
    Row("K42", SCHEDULER, "a window's predictions are joined with their labels", "drift", _LOCAL),
    Row("K43", SCHEDULER, "a window is full and cut", "drift", _LOCAL),
    Row("K44", SCHEDULER, "a window's drift is computed", "drift", _LOCAL),
    Row("K45", SCHEDULER, "the alarm is written, not yet committed", "drift", {"lost": _NO_COMMIT}),
    Row("K46", SCHEDULER, "the alarm's request is written, not yet committed", "drift", _BEFORE_K12),
    Row("K47", POLLER, "the marker of a batch job is stored; there is no job yet", "batch", _LOCAL),
    Row("K48", POLLER, "the batch job is stored, unless it is there", "batch"),
    Row("K49", POLLER, "a part of the output is stored", "batch"),
    Row("K50", POLLER, "how far a batch job got is written down, by compare-and-set", "batch"),
    Row("K51", POLLER, "the output, or the file of bad lines, is made", "batch"),
    Row("K52", POLLER, "what is in no part yet is stored for a checkpoint", "batch"),
)


@dataclass(frozen=True)
class Cell:
    """One row with one fault."""

    row: Row
    fault: str

    def __str__(self) -> str:
        return f"{self.row.point}-{self.fault}"


#: Labels whose taker was killed come back after a minute: those cells go first.
CELLS = tuple(Cell(row, fault) for row in sorted(ROWS, key=lambda row: row.drive != "labels") for fault in row.faults)


def as_markdown() -> str:
    """Return the table as it stands in docs/reliability.md."""
    lines = ["| Point | Process | What happens there | Faults | Left out |", "|---|---|---|---|---|"]
    for row in ROWS:
        left_out = "; ".join(f"{fault}: {why}" for fault, why in row.without.items())
        lines.append(f"| {row.point} | {row.process} | {row.what} | {', '.join(row.faults)} | {left_out} |")
    return "\n".join(lines)
