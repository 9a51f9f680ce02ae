"""Tables of other databases, read in the order of their keys: Postgres, MySQL and MariaDB, SQLite."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, NoSuchTableError, SQLAlchemyError

from trainyard_ingest.domain.pulls import SourceAwayError, Table, Tables, refused
from trainyard_ingest.pulling import engines, plans, values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trainyard.clock import Clock
    from trainyard.schema import Schema
    from trainyard_ingest.domain.pull_spec import TableSpec
    from trainyard_ingest.domain.pulls import Key
    from trainyard_ingest.pulling.engines import Access

_FETCHED_AT_ONCE = 1_000


class SqlTables(Tables):
    """Opens tables by SQLAlchemy, with a connection of its own for each pull."""

    def __init__(self, access: Access, clock: Clock, pause: Callable[[float], object]) -> None:
        self._access = access
        self._clock = clock
        self._pause = pause

    @contextmanager
    def open(self, spec: TableSpec, schema: Schema) -> Iterator[Table]:
        """Connect, reflect the table, and check what was described against it."""
        password = engines.password_of(spec, self._access)
        with ExitStack() as stack:
            with told(password):
                connection = stack.enter_context(engines.connected(spec, self._access, password))
                plan = plans.plan(_reflected(connection, spec), spec, schema)
            # Outside of ``told``: what goes wrong with the spool or in our own database is not the source's doing.
            yield SqlTable(connection, spec, plan, clock=self._clock, pause=self._pause, password=password)


class SqlTable(Table):
    """One table over one connection."""

    def __init__(
        self,
        connection: sa.Connection,
        spec: TableSpec,
        plan: plans.Plan,
        *,
        clock: Clock,
        pause: Callable[[float], object],
        password: str,
    ) -> None:
        self._connection = connection
        self._spec = spec
        self._plan = plan
        self._clock = clock
        self._pause = pause
        self._password = password
        self._checked = False

    def limit(self, after: Key | None) -> Key | None:
        """Return the highest place that a lag has passed over.

        For a cursor that is a time: the highest not newer than the source's clock less the lag. For any other: the
        highest there is, after which the lag is waited out, so that what had been given a lower place before and was
        not committed yet is there by then. SQLite has one writer at a time, so its lag is 0 unless it is given.
        """
        with told(self._password):
            self._refuse_nulls()
            newest = self._plan.newest_time(self._now() - timedelta(seconds=self._spec.lag_seconds))
            conditions = self._plan.behind(after) + newest
            highest = (place.desc() for place in self._plan.order)
            query = sa.select(*self._plan.keys).where(*conditions).order_by(*highest).limit(1)
            row = self._connection.execute(query).one_or_none()
            self._connection.rollback()  # what was seen so far must not hide what is committed meanwhile
        if row is not None and not newest:
            self._pause(self._spec.lag_seconds)
        return None if row is None else [values.as_place(value) for value in row]

    def rows(self, after: Key | None, upto: Key, most: int | None) -> Iterator[tuple[Key, dict[str, Any]]]:
        """Stream rows from the server in keyset order; two with one place would be told apart by nothing."""
        plan = self._plan
        # One more than wanted: it shows whether the last place is that of one row.
        query = (
            plan.select().where(*plan.behind(after), *plan.not_behind(upto)).limit(None if most is None else most + 1)
        )
        previous: tuple[Any, ...] | None = None
        with told(self._password):
            found = self._connection.execution_options(stream_results=True, max_row_buffer=_FETCHED_AT_ONCE).execute(
                query
            )
            try:
                for count, row in enumerate(found, start=1):
                    place = tuple(row[: len(plan.keys)])
                    if place == previous:  # as values, for 1.0 and 1.00 are one place
                        raise refused(f"two rows have the same {plan.key_names}; add columns to 'tie_breakers'")
                    if most is not None and count > most:
                        return
                    previous = place
                    yield [values.as_place(value) for value in place], plan.values(row)
            finally:
                found.close()
                self._connection.rollback()

    def _now(self) -> datetime:
        """Return the source's time."""
        match self._connection.dialect.name:
            case "postgresql":
                now = self._connection.scalar(sa.text("SELECT clock_timestamp()"))
            case "mysql" | "mariadb":
                now = self._connection.scalar(sa.text("SELECT UTC_TIMESTAMP(6)"))
            case _:
                now = self._clock.now()
        if not isinstance(now, datetime):
            raise refused("the database does not tell the time")
        return now if now.tzinfo else now.replace(tzinfo=UTC)

    def _refuse_nulls(self) -> None:
        """Refuse a table with rows that have no place: they would never be read, and nobody would know."""
        if self._checked or not self._plan.nullable_keys:
            return
        missing = sa.or_(*(column.is_(None) for column in self._plan.nullable_keys))
        if self._connection.execute(
            sa.select(sa.literal(1)).select_from(self._plan.table).where(missing).limit(1)
        ).first():
            raise refused(
                f"rows without a value in {self._plan.key_names} cannot be put in order; fill it in or choose another"
            )
        self._checked = True


def _reflected(connection: sa.Connection, spec: TableSpec) -> sa.Table:
    """Return the table as the database describes it: names are taken from there, never from what was sent."""
    inspector = sa.inspect(connection)
    if spec.schema is not None and spec.schema not in inspector.get_schema_names():
        raise refused(f"the database has no schema '{spec.schema}' that this user may see")
    try:
        columns = inspector.get_columns(spec.table, schema=spec.schema)
        unique = plans.unique_keys(inspector, spec)
    except NoSuchTableError as e:
        raise refused(f"the database has no table or view '{spec.table}' that this user may see") from e
    finally:
        connection.rollback()
    table = sa.Table(spec.table, sa.MetaData(), *plans.described(connection, columns), schema=spec.schema, quote=True)
    table.info["unique"] = unique
    return table


@contextmanager
def told(password: str) -> Iterator[None]:
    """Turn what the database says into what to change, or into 'it does not answer'."""
    try:
        yield
    except DBAPIError as e:
        if engines.is_away(e):
            raise SourceAwayError(
                f"the database does not answer, or ended the query: {engines.words(e, password)}"
            ) from e
        raise refused(f"the database refuses: {engines.words(e, password)}") from e
    except (SQLAlchemyError, ValueError, OverflowError) as e:  # a value that is not of its column's type, in SQLite
        raise refused(f"a value of the table cannot be read: {str(e)[:200]}") from e
