"""How a rule of the format is enforced."""

from __future__ import annotations

from trainyard.errors import ArtifactError


def require(holds: bool, code: str, message: str) -> None:
    """Raise ``ArtifactError`` with this code unless the rule holds."""
    if not holds:
        raise ArtifactError(code, message)
