"""Who looks, and what the services answered: the two things that every page is made from. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainyard.auth import Principal


@dataclass(frozen=True)
class Fetched:
    """One answer: the value, or why there is none (the end of a sentence that begins with the service's name).

    ``late``: it may still come, and the page was not to wait for it.
    """

    value: Any = None
    missing: str | None = None
    status: int = 200
    late: bool = False


NOT_ASKED = Fetched(missing="was not asked")


@dataclass(frozen=True)
class Visitor:
    """Whoever is signed in: the API key that the services are asked with, and what it may do."""

    token: str
    key: str
    name: str
    principal: Principal
    csrf: str

    def may(self, scope: str) -> bool:
        """Tell whether the services will do what needs this scope."""
        return self.principal.may(scope)

    @property
    def role(self) -> str:
        """What people call such rights."""
        if self.may("admin"):
            return "admin"
        return "operator" if self.may("operate") else "viewer"
