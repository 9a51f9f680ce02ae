"""Look up what is known of each locked package: python requirements/audit.py PIP_AUDIT [LOCK ...].

Exit code 0 when nothing is known that has no exception, 1 otherwise or when an exception has expired. What the advisory
service does not answer is printed as "not audited": no finding, and no clean bill either.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
EXCEPTIONS = HERE / "audit-exceptions.toml"
#: What pip-audit ends with when the service cannot be reached, in the words of its libraries.
_AWAY = ("ConnectionError", "Could not connect", "ConnectTimeout", "ReadTimeout", "ServiceError", "HTTPError")


@dataclass(frozen=True)
class Exempt:
    """A vulnerability that we live with until a day."""

    id: str
    package: str
    until: date
    reason: str


def exceptions(path: Path) -> list[Exempt]:
    """Return the exceptions; TypeError for one that lacks a field or has another."""
    return [Exempt(**entry) for entry in tomllib.loads(path.read_text(encoding="utf-8")).get("exception", [])]


def ask(pip_audit: str, lock: Path) -> tuple[list[dict[str, Any]], str]:
    """Return what pip-audit says of each package of a lock, or why it says nothing.

    Raises:
        RuntimeError: it fails for another reason than a service that is away.
    """
    command = [pip_audit, "--requirement", str(lock), "--require-hashes", "--disable-pip", "--format", "json"]
    done = subprocess.run([*command, "--progress-spinner", "off"], capture_output=True, text=True, check=False)
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except ValueError:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        if any(word in done.stderr for word in _AWAY):
            return [], said
        raise RuntimeError(f"pip-audit cannot read {lock.name}: {said}") from None
    return found, ""


def judge(found: list[dict[str, Any]], exempt: list[Exempt]) -> tuple[list[str], list[str], list[str]]:
    """Return what is wrong, what is exempt, and the names of what was not audited."""
    wrong, borne = [], []
    for package in found:
        for known in package.get("vulns", ()):
            ids = {known["id"], *known.get("aliases", ())}
            mended = ", ".join(known.get("fix_versions", ())) or "none yet"
            said = f"{package['name']} {package['version']}: {known['id']}, mended in {mended}"
            why = [e.reason for e in exempt if e.package == package["name"] and e.id in ids]
            (borne if why else wrong).append(f"{said} ({why[0]})" if why else said)
    return wrong, borne, [package["name"] for package in found if "skip_reason" in package]


def main(arguments: list[str], today: date) -> int:
    """Audit the locks, all of them by default; print a line for each and return the exit code."""
    pip_audit, *named = arguments
    exempt = exceptions(EXCEPTIONS)
    expired = [e for e in exempt if e.until <= today]
    for one in expired:
        print(f"expired: the exception for {one.id} of {one.package} ended on {one.until}: {one.reason}")
    failed = bool(expired)
    for lock in [Path(name) for name in named] or sorted(HERE.glob("*.txt")):
        found, away = ask(pip_audit, lock)
        wrong, borne, skipped = judge(found, [e for e in exempt if e.until > today])
        audited = len(found) - len(skipped)
        if away:
            print(f"{lock.name}: not audited: {away[:200]}")
        elif skipped:
            print(f"{lock.name}: {audited} packages audited; not audited: {', '.join(skipped)}")
        else:
            print(f"{lock.name}: {audited} packages audited")
        for line in borne:
            print(f"  borne: {line}")
        for line in wrong:
            print(f"  VULNERABLE: {line}")
        failed |= bool(wrong)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], datetime.now(UTC).date()))  # noqa: TID251 - an entry reads the clock
