"""What the doctor says: the outcome of each check, with its problems, what was (not) looked at, and how to mend it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

PASSED, FAILED, UNKNOWN = "passed", "failed", "unknown"
#: Most problems and most notes that one check lists; how many more there are is said.
MOST_LISTED = 20


@dataclass(frozen=True)
class Check:
    """The answer to one question.

    ``state`` is 'passed', 'failed', or 'unknown' when the check could not be made; ``notes`` say what is no problem but
    worth knowing, and whatever was left out; ``mend`` says what to do when it did not pass. ``mends`` says it problem
    by problem: each advice with the listed problems that it is for, none of them where it is for the whole check.
    """

    id: str
    title: str
    state: str
    problems: list[str]
    notes: list[str]
    mend: str
    mends: list[tuple[str, list[str]]] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """True when everything was looked at that the notes do not except, and nothing was wrong."""
        return self.state == PASSED

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form of docs/api.md."""
        return {
            "id": self.id,
            "title": self.title,
            "state": self.state,
            "passed": self.passed,
            "problems": self.problems,
            "notes": self.notes,
            "mend": self.mend,
            "mends": [{"mend": mend, "problems": problems} for mend, problems in self.mends],
        }


@dataclass(frozen=True)
class Report:
    """All answers."""

    checks: list[Check] = field(default_factory=list)

    @property
    def state(self) -> str:
        """'failed' when a check failed, else 'unknown' when one could not be made, else 'passed'."""
        states = {check.state for check in self.checks}
        return FAILED if FAILED in states else UNKNOWN if UNKNOWN in states else PASSED

    @property
    def healthy(self) -> bool:
        """True when every check passed: what could not be looked at is not healthy."""
        return self.state == PASSED

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form of docs/api.md."""
        return {"healthy": self.healthy, "state": self.state, "checks": [check.as_dict() for check in self.checks]}


class Findings:
    """What one check finds while it looks."""

    def __init__(self) -> None:
        self._problems: list[str] = []
        self._notes: list[str] = []
        self._mends: dict[str, list[str]] = {}
        self._unlisted = 0

    def problem(self, sentence: str, mend: str) -> None:
        """Add something wrong, and what to do about it; equal advice is given once."""
        named = self._mends.setdefault(mend, [])
        if len(self._problems) < MOST_LISTED:
            self._problems.append(sentence)
            named.append(sentence)
        else:
            self._unlisted += 1

    def more(self, count: int) -> None:
        """Count problems that the evidence found but did not name."""
        self._unlisted += count

    def note(self, sentence: str) -> None:
        """Add something that is no problem."""
        if len(self._notes) < MOST_LISTED:
            self._notes.append(sentence)

    def sampled(self, what: str, seen: int, total: int) -> None:
        """Say that only the newest were looked at, if so."""
        if seen < total:
            self.note(f"looked at the newest {seen:,} of {total:,} {what}")

    def check(self, ident: str, title: str) -> Check:
        """Return the outcome of a check that was made to its end."""
        return Check(
            ident,
            title,
            FAILED if self._problems else PASSED,
            self._listed(),
            self._notes,
            " ".join(self._mends),
            list(self._mends.items()),
        )

    def broken(self, ident: str, title: str, reason: str) -> Check:
        """Return the outcome of a check that could not be made, or not to its end: found problems stand."""
        said = f"could not look{' at everything' if self._problems else ''}: {reason}"
        mend = "Ask again when it answers; `trainyard status` and the services' /readyz say what is away."
        return Check(
            ident,
            title,
            FAILED if self._problems else UNKNOWN,
            self._listed(),
            [*self._notes, said],
            " ".join([*self._mends, mend]),
            [*self._mends.items(), (mend, [])],
        )

    def _listed(self) -> list[str]:
        return [*self._problems, *([f"and {self._unlisted:,} more"] if self._unlisted else [])]
