"""The audit of locked packages, with a stand-in for pip-audit: what fails, what is borne, what nobody looked at."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
FOUND = {
    "dependencies": [
        {"name": "sound", "version": "1", "vulns": []},
        {"name": "bad", "version": "2", "vulns": [{"id": "PYSEC-1", "aliases": ["GHSA-1"], "fix_versions": ["3"]}]},
    ]
}


class Audit:
    """A copy of the script with exceptions and a pip-audit of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._script = folder / "audit.py"
        self._script.write_text((ROOT / "requirements/audit.py").read_text(encoding="utf-8"), encoding="utf-8")
        self.exempt("")
        (folder / "one.txt").write_text("")

    def exempt(self, text: str) -> None:
        """Write the exceptions."""
        (self._folder / "audit-exceptions.toml").write_text(text)

    def __call__(self, stdout: Any, stderr: str = "") -> tuple[int, str]:
        """Run it with what pip-audit says; return exit code and output."""
        (self._folder / "said").write_text(stdout if isinstance(stdout, str) else json.dumps(stdout))
        (self._folder / "stderr").write_text(stderr)
        tool = self._folder / "pip-audit"
        tool.write_text(f"#!/bin/sh\ncat {self._folder}/said; cat {self._folder}/stderr >&2; exit 1\n")
        tool.chmod(0o700)
        done = subprocess.run(
            [sys.executable, str(self._script), str(tool)], capture_output=True, text=True, check=False, timeout=60
        )
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    """One with a single lock."""
    return Audit(tmp_path)


def exception(ident: str, days: int) -> str:
    """Return an exception that ends so many days from now."""
    until = datetime.now(UTC).date() + timedelta(days=days)
    return f'[[exception]]\nid = "{ident}"\npackage = "bad"\nuntil = {until}\nreason = "never called"\n'


def test_a_known_vulnerability_fails(audit: Audit) -> None:
    """It is named with the version that mends it."""
    code, said = audit(FOUND)
    assert code == 1
    assert "VULNERABLE: bad 2: PYSEC-1, mended in 3" in said


@pytest.mark.parametrize("ident", ["PYSEC-1", "GHSA-1"])
def test_an_exception_bears_it_until_its_day(audit: Audit, ident: str) -> None:
    """By its id or an alias; on the day itself it is over, and says so."""
    audit.exempt(exception(ident, 1))
    code, said = audit(FOUND)
    assert code == 0
    assert "borne: bad 2: PYSEC-1, mended in 3 (never called)" in said
    audit.exempt(exception(ident, 0))
    code, said = audit(FOUND)
    assert code == 1
    assert f"expired: the exception for {ident} of bad ended on" in said
    assert "VULNERABLE: bad 2" in said


def test_an_expired_exception_fails_even_if_nothing_is_found(audit: Audit) -> None:
    """So that the file does not fill up with what nobody needs."""
    audit.exempt(exception("PYSEC-9", -1))
    assert audit({"dependencies": [{"name": "sound", "version": "1", "vulns": []}]})[0] == 1


def test_what_the_service_does_not_answer_is_not_audited(audit: Audit) -> None:
    """Neither a finding nor a clean bill: the packages are named, or the whole lock."""
    code, said = audit({"dependencies": [{"name": "own", "skip_reason": "Dependency not found on PyPI"}]})
    assert (code, said) == (0, "one.txt: 0 packages audited; not audited: own\n")
    code, said = audit("", "Traceback\nrequests.exceptions.ConnectionError: no such host\n")
    assert (code, said) == (0, "one.txt: not audited: requests.exceptions.ConnectionError: no such host\n")


def test_a_lock_that_cannot_be_read_is_no_outage(audit: Audit) -> None:
    """Whatever else pip-audit says fails."""
    code, said = audit("", "ERROR:pip_audit._cli:requirement is not hashed\n")
    assert code == 1
    assert "pip-audit cannot read one.txt: ERROR:pip_audit._cli:requirement is not hashed" in said
