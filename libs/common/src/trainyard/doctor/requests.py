"""I2: every request has ended or moves. I3: one version for a request, judged on rows that no version was fitted on."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from trainyard.doctor.evidence import Database, JudgedVersion
    from trainyard.doctor.report import Findings

_MEND_REQUESTS = (
    "Is the scheduler running, and can a trainer start (`trainyard fleet`)? Else cancel the request with"
    " `trainyard run cancel` and ask again."
)
_MEND_VERSIONS = (
    "Do not let it serve: point its aliases at a sound version with `trainyard alias set MODEL ALIAS VERSION`, or train"
    " a new one with `trainyard train MODEL` first. A version is never changed, so it is named here until its model is"
    " deleted with `trainyard model delete MODEL`."
)
_MEND_MISCOUNTED = (
    "Somebody changed the database by other means than the services: compare it with a backup. `trainyard train MODEL`"
    " makes a new version where one is needed; the request is named here until its record is restored."
)


def requests_move(findings: Findings, database: Database) -> None:
    """Name the requests of which nothing will come, and count what the others wait for."""
    waiting: Counter[str] = Counter()
    for request in database.open_requests():
        if request.stuck:
            findings.problem(
                f"request {request.request_id} of model {request.model} is {request.state}: {request.waits_for}",
                _MEND_REQUESTS,
            )
        else:
            waiting[request.waits_for] += 1
    for reason, count in waiting.most_common():
        findings.note(f"{count:,} open: {reason}")


def one_honest_version(findings: Findings, database: Database, most: int | None) -> None:
    """Compare versions with their requests, and hold-outs with what was fitted."""
    looked = database.versions(most)
    for sentence in looked.miscounted:
        findings.problem(sentence, _MEND_MISCOUNTED)
    for version in looked.newest:
        if version.fence != version.winner_fence or version.request_state != "done":
            findings.problem(
                f"version {version.version} of model {version.model} carries fence {version.fence}, but its request"
                f" {version.request_id} is {version.request_state} with fence {version.winner_fence}",
                _MEND_VERSIONS,
            )
    for sentence in honesty_problems(looked.newest):
        findings.problem(sentence, _MEND_VERSIONS)
    findings.sampled("versions", len(looked.newest), looked.total)


def honesty_problems(versions: Iterable[JudgedVersion]) -> Iterator[str]:
    """Yield one sentence for each version judged on rows that it, or an older version of its model, was fitted on.

    Only the hold-outs of rule 'time' can tell by their bounds: test rows must lie behind every fitted row. Under the
    other rules membership is a fixed function of the row, the same for all versions of a model, so versions of one
    model must simply share the rule.
    """
    fitted: dict[str, tuple[int, int]] = {}
    rules: dict[str, tuple[str, int]] = {}
    for version in versions:
        held = version.holdout
        rule = str(held.get("rule", ""))
        name = f"version {version.version} of model {version.model}"
        first_rule, first = rules.setdefault(version.model, (rule, version.version))
        if rule != first_rule:
            yield f"{name} was judged under the rule {rule!r}, version {first} under {first_rule!r}"
        upto, by = fitted.get(version.model, (0, version.version))
        own = _number(held.get("fit_upto_seq"))
        if own > upto:
            upto, by = own, version.version
        test_from = held.get("test_from_seq")
        if rule.startswith("time") and isinstance(test_from, int) and test_from <= upto:
            yield f"{name} was judged on rows from {test_from:,}, but version {by} was fitted on rows up to {upto:,}"
        fitted[version.model] = (upto, by)


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
