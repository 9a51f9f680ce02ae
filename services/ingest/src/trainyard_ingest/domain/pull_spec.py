"""What a pull source's description means once it was checked: a table in another database, or a file behind a URL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

#: format -> how the name of such a file ends
FORMAT_ENDINGS = {"csv": ".csv", "ndjson": ".ndjson", "json": ".json", "parquet": ".parquet"}
#: scheme -> system and its port
SYSTEMS = {
    "postgresql": ("postgresql", 5432),
    "postgres": ("postgresql", 5432),
    "mysql": ("mysql", 3306),
    "mariadb": ("mysql", 3306),
    "sqlite": ("sqlite", 0),
}


@dataclass(frozen=True)
class TableSpec:
    """A table in another database; the attributes are the keys of docs/sources.md."""

    system: str
    host: str
    port: int
    user: str
    database: str
    secret: str | None
    table: str
    schema: str | None
    columns: Mapping[str, str] | None
    cursor: str
    tie_breakers: tuple[str, ...] | None
    zone: str | None
    page_rows: int
    lag_seconds: float
    tls: str

    @classmethod
    def of(cls, description: Mapping[str, Any]) -> TableSpec:
        """Return what a description that was checked means."""
        parts = urlsplit(description["database"])
        system, port = SYSTEMS[parts.scheme]
        ties = description.get("tie_breakers")
        return cls(
            system=system,
            host=parts.hostname or "",
            port=parts.port or port,
            user=parts.username or "",
            database=parts.path[1:],
            secret=description.get("secret"),
            table=description["table"],
            schema=description.get("schema"),
            columns=description.get("columns"),
            cursor=description["cursor"],
            tie_breakers=None if ties is None else tuple(ties),
            zone=description.get("zone"),
            page_rows=description["page_rows"],
            lag_seconds=float(description["lag"]),
            tls=description["tls"],
        )


@dataclass(frozen=True)
class UrlSpec:
    """A file behind a URL. ``format`` None: the answer's Content-Type or the URL's ending says it."""

    url: str
    format: str | None

    @classmethod
    def of(cls, description: Mapping[str, Any]) -> UrlSpec:
        """Return what a description that was checked means."""
        return cls(description["url"], description.get("format"))
