"""The doctor: does everything that was promised hold, right now? Each check says what is wrong and how to mend it.

I1 rows equal the ledger · I2 every request has ended or moves · I3 one version per request, judged on rows that no
version was fitted on · I4 every alias leads to an artifact that works · I5 no message without work behind it · I6 every
prediction logged once · I7 objects and versions belong together · I8 nothing left over · I9 the audit log is whole.
docs/doctor.md says of each what it looks at, why, and how to mend it.
"""

from trainyard.doctor.examination import CHECKS, EVERYTHING, Doctor, Limits, Sources
from trainyard.doctor.report import FAILED, PASSED, UNKNOWN, Check, Findings, Report

__all__ = [
    "CHECKS",
    "EVERYTHING",
    "FAILED",
    "PASSED",
    "UNKNOWN",
    "Check",
    "Doctor",
    "Findings",
    "Limits",
    "Report",
    "Sources",
]
