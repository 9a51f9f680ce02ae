"""What the pulling of sources needs of the outside: tables of other databases, files behind URLs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from trainyard.errors import ServiceError, TrainyardError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from typing import IO

    from trainyard.schema import Schema
    from trainyard_ingest.domain.pull_spec import TableSpec, UrlSpec

#: A row's place in its source: the values of the cursor column and the tie-breakers, as JSON that reads back exactly.
Key = list[Any]


class SourceAwayError(TrainyardError):
    """The source does not answer, or not to the end; the same pull may succeed later."""


def refused(message: str) -> ServiceError:
    """Return the error for a source that cannot be pulled from as it is described; say what to change."""
    return ServiceError("source_refused", message)


def url_refused() -> ServiceError:
    """Return the one answer to every URL that may not be fetched; the reason is in the log, for the operator only."""
    return ServiceError(
        "url_refused", "this URL is not one that data may be pulled from; docs/sources.md says which are"
    )


class Table(Protocol):
    """An open table. Every method may raise :class:`SourceAwayError`, or ServiceError ``source_refused``."""

    def limit(self, after: Key | None) -> Key | None:
        """Return the place up to which rows behind ``after`` can be read now; None: there are none.

        Up to there no row will appear any more, by the source's lag.
        """
        ...

    def rows(self, after: Key | None, upto: Key, most: int | None) -> Iterator[tuple[Key, dict[str, Any]]]:
        """Yield place and values (JSON, by the dataset's columns) of rows in ``(after, upto]``, in order.

        At most ``most`` of them, when it is given.
        """
        ...


class Tables(Protocol):
    """Opens tables of other databases, for reading only."""

    def open(self, spec: TableSpec, schema: Schema) -> AbstractContextManager[Table]:
        """Connect, and check the table against what was described and against the dataset's schema."""
        ...


@dataclass(frozen=True)
class Download:
    """A body that came whole.

    Attributes:
        final_url: behind the redirects.
        content_type: as the server named it, empty when it did not.
        validators: ``{"etag", "last_modified"}``, each a text or None.
        sha256: of the body, in hex.
    """

    final_url: str
    content_type: str
    validators: dict[str, str | None]
    sha256: str


class Fetcher(Protocol):
    """Fetches files over HTTPS."""

    def check(self, url: str) -> None:
        """Refuse a URL that must not be fetched.

        Raises:
            ServiceError: ``url_refused``.
        """
        ...

    def fetch(self, spec: UrlSpec, known: dict[str, str | None] | None, into: IO[bytes]) -> Download | None:
        """Write the body into the empty file ``into``; None: it has not changed since ``known``, its validators.

        Raises:
            ServiceError: ``url_refused``; ``source_refused``: the server's answer is no file that can be read.
            SourceAwayError: no whole answer in time.
        """
        ...
