"""The quality report of one batch, from its rows in the table: a statement with a time limit for each question."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg2
from psycopg2 import sql

from trainyard.adapters.postgres.copying import table_of
from trainyard.contracts.keeping import MAX_LEVELS_KNOWN
from trainyard.histogram import BINNED, BINS, place

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trainyard.contracts.warehouse import Dataset
    from trainyard.schema import Column

#: Batches beyond this are sampled: so many rows from each of so many places, evenly spread.
SAMPLED_OVER_ROWS = 5_000_000
_SAMPLE_PLACES, _SAMPLE_ROWS_EACH = 100, 10_000
_CHECKSUM_ROWS_AT_ONCE = 1_000_000
#: Keys have no index: earlier rows are looked through while they are so few, or so few times those of the batch.
_SEARCHED_ROWS, _SEARCHED_TIMES = 1_000_000, 20
_COLUMNS_AT_ONCE = 200  # Postgres returns at most 1,664 values
_TOP_LEVELS, _NEW_LEVELS_NAMED = 20, 100
_CANCELLED, _OUT_OF_RANGE = "57014", "22003"
_FORMS = {
    "date": sql.SQL("to_char({c}, 'YYYY-MM-DD')"),
    "timestamp": sql.SQL("""to_char({c} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""),
}

#: How far a value is from the least one: days, or seconds. Of numbers it is their difference.
_PLACES = {
    "date": "({c} - {low}::date)::float8",
    "timestamp": "extract(epoch FROM {c} - {low}::timestamptz)::float8",
}


@dataclass(frozen=True)
class Span:
    """The rows of a batch by their numbers."""

    first: int
    last: int

    @property
    def rows(self) -> int:
        """How many there were."""
        return self.last - self.first + 1

    @property
    def sampled(self) -> bool:
        """True when only some of them are looked at."""
        return self.rows > SAMPLED_OVER_ROWS

    def condition(self) -> sql.Composable:
        """Return what is true of the rows that are looked at."""
        if not self.sampled:
            return sql.SQL("ingest_seq BETWEEN {} AND {}").format(sql.Literal(self.first), sql.Literal(self.last))
        step = self.rows // _SAMPLE_PLACES
        starts = [self.first + place * step for place in range(_SAMPLE_PLACES)]
        pieces = [
            sql.SQL("ingest_seq BETWEEN {} AND {}").format(
                sql.Literal(start), sql.Literal(start + _SAMPLE_ROWS_EACH - 1)
            )
            for start in starts
        ]
        return sql.SQL("({})").format(sql.SQL(" OR ").join(pieces))


class Examiner:
    """Asks about one batch on a driver's cursor. A question that takes too long is answered by None."""

    def __init__(self, cursor: Any, dataset: Dataset, span: Span) -> None:
        self._cursor = cursor
        self._dataset = dataset
        self._table = table_of(dataset)
        self._where = span.condition()
        self._span = span
        self._columns = list(zip(dataset.physical, dataset.schema.columns, strict=True))
        self._seen = 0
        self.unanswered: list[str] = []

    def examine(self) -> dict[str, Any]:
        """Return the report: the form is that of docs/api.md."""
        seen, basics = self._basics()
        self._seen = seen
        entries = []
        for position, (physical, column) in enumerate(self._columns, start=1):
            entry = {"name": column.name, "type": column.type, **basics[physical]}
            entry["bins"] = self._bins(physical, column, entry)
            entries.append({**entry, **self._variety(position, physical, column)})
        return {
            "seen": seen,
            "sampled": self._span.sampled,
            "columns": entries,
            "duplicates": self._duplicates(),
            "unanswered": self.unanswered,
        }

    def checksum(self) -> Any:
        """Return the ledger's checksum of all rows, a million at a time; None when that took too long."""
        total: Any = 0
        row = sql.SQL(", ").join(sql.Identifier(physical) for physical, _ in self._columns)
        for start in range(self._span.first, self._span.last + 1, _CHECKSUM_ROWS_AT_ONCE):
            end = min(start + _CHECKSUM_ROWS_AT_ONCE - 1, self._span.last)
            part = self._ask(
                "checksum",
                sql.SQL(
                    "SELECT coalesce(sum(hash_record_extended(ROW({row}), 0)), 0) FROM {table}"
                    " WHERE ingest_seq BETWEEN {start} AND {end}"
                ).format(row=row, table=self._table, start=sql.Literal(start), end=sql.Literal(end)),
            )
            if part is None:
                return None
            total += part[0][0]
        return total

    # --- counts, extremes, moments ---

    def _basics(self) -> tuple[int, dict[str, dict[str, Any]]]:
        """Return how many rows were looked at, and the figures of each column by its physical name."""
        found: dict[str, dict[str, Any]] = {}
        seen = 0
        for at in range(0, len(self._columns), _COLUMNS_AT_ONCE):
            some = self._columns[at : at + _COLUMNS_AT_ONCE]
            values = self._aggregates(some, moments=True)
            parts = [(some, values)] if values is not None else [([one], self._alone(one)) for one in some]
            for columns, figures in parts:
                seen = seen if figures is None else figures[0]
                found.update(_figures(columns, figures))
        return seen, found

    def _alone(self, column: tuple[str, Column]) -> Sequence[Any] | None:
        """Return one column's figures, without moments where a sum is too large for a float."""
        return self._aggregates([column], moments=True) or self._aggregates([column], moments=False)

    def _aggregates(self, columns: Sequence[tuple[str, Column]], *, moments: bool) -> Sequence[Any] | None:
        """Return the number of rows, then five values for each column; None when that cannot be told."""
        wanted = [expression for physical, column in columns for expression in _five(physical, column, moments)]
        rows = self._ask(
            "counts",
            sql.SQL("SELECT count(*), {} FROM {} WHERE {}").format(
                sql.SQL(", ").join(wanted), self._table, self._where
            ),
        )
        return None if rows is None else rows[0]

    def _bins(self, physical: str, column: Column, figures: Mapping[str, Any]) -> list[int] | None:
        """Return how many values lie in each of the bins between the least and the greatest."""
        if column.type not in BINNED or figures["min"] is None:
            return None
        low, high = (place(column.type, figures[name]) for name in ("min", "max"))
        if low == high:
            return [self._seen - figures["nulls"]]
        if not math.isfinite(high - low):
            return None
        distance = sql.SQL(_PLACES.get(column.type, "{c}::float8 - {low}")).format(
            c=sql.Identifier(physical), low=sql.Literal(figures["min"])
        )
        rows = self._ask(
            f"histogram of {column.name}",
            sql.SQL(
                "SELECT least(width_bucket({at}, 0, {width}, {bins}), {bins}), count(*) FROM {t} WHERE {w}"
                " AND {c} IS NOT NULL GROUP BY 1"
            ).format(
                at=distance,
                width=sql.Literal(high - low),
                bins=sql.Literal(BINS),
                t=self._table,
                w=self._where,
                c=sql.Identifier(physical),
            ),
        )
        if rows is None:
            return None
        counts = [0] * BINS
        for number, count in rows:
            counts[number - 1] = count
        return counts

    # --- how many values, which levels ---

    def _variety(self, position: int, physical: str, column: Column) -> dict[str, Any]:
        if column.type == "category":
            return self._levels(position, physical, column)
        if column.type == "float":
            return {"distinct": None, "distinct_more": False}
        rows = self._ask(
            f"distinct values of {column.name}",
            sql.SQL(
                "SELECT count(*) FROM (SELECT {c} FROM {t} WHERE {w} AND {c} IS NOT NULL GROUP BY {c} LIMIT {most}) d"
            ).format(c=sql.Identifier(physical), t=self._table, w=self._where, most=sql.Literal(MAX_LEVELS_KNOWN + 1)),
        )
        return _bounded(None if rows is None else rows[0][0])

    def _levels(self, position: int, physical: str, column: Column) -> dict[str, Any]:
        levels = self._ask(
            f"levels of {column.name}",
            sql.SQL(
                "SELECT {c}, count(*), min(ingest_seq) FROM {t} WHERE {w} AND {c} IS NOT NULL GROUP BY {c}"
                ' ORDER BY 2 DESC, {c} COLLATE "C" LIMIT {most}'
            ).format(c=sql.Identifier(physical), t=self._table, w=self._where, most=sql.Literal(MAX_LEVELS_KNOWN + 1)),
        )
        if levels is None:
            return {**_bounded(None), "levels": None, "new_categories": None}
        top = [{"level": level, "rows": rows} for level, rows, _ in levels[:_TOP_LEVELS]]
        return {**_bounded(len(levels)), "levels": top, "new_categories": self._new(position, levels)}

    def _new(self, position: int, levels: Sequence[tuple[str, int, int]]) -> dict[str, Any] | None:
        """Return the levels that no row before this batch had; None when more levels exist than are kept."""
        remembered = self._remember(position, levels)
        if remembered is None:
            return None
        new = sorted(level for level, first in remembered if first >= self._span.first)
        return {"count": len(new), "levels": new[:_NEW_LEVELS_NAMED]}

    def _remember(self, position: int, levels: Sequence[tuple[str, int, int]]) -> list[tuple[str, int]] | None:
        """Keep the levels with their first rows, and return those of the batch as they are kept now."""
        known = self._ask(
            "known levels",
            sql.SQL("SELECT count(*) FROM core.level WHERE dataset_id = {d} AND position = {p}").format(
                d=sql.Literal(self._dataset.id), p=sql.Literal(position)
            ),
        )
        if known is None or len(levels) > MAX_LEVELS_KNOWN:
            return None
        room = MAX_LEVELS_KNOWN - known[0][0]
        parameters = {
            "d": self._dataset.id,
            "p": position,
            "levels": [level for level, _, _ in levels],
            "firsts": [first for _, _, first in levels],
            "room": max(0, room),
        }
        kept = self._ask("levels", sql.SQL(_REMEMBER), parameters)
        if kept is None or len(kept) < len(levels):
            return None
        return [(level, first) for level, first in kept]

    # --- duplicates ---

    def _duplicates(self) -> dict[str, int | None]:
        """Count rows that came twice; within a sample that would say nothing."""
        if self._span.sampled:
            return {"rows": None, "keys": None, "known_keys": None}
        row = sql.SQL(", ").join(sql.Identifier(physical) for physical, _ in self._columns)
        twice = sql.SQL(
            "SELECT coalesce(sum(n - 1), 0)::bigint FROM (SELECT count(*) AS n FROM {t} WHERE {w}"
            " GROUP BY hash_record_extended(ROW({row}), 0) HAVING count(*) > 1) g"
        ).format(t=self._table, w=self._where, row=row)
        rows = self._ask("duplicate rows", twice)
        keys, known = self._duplicate_keys()
        return {"rows": None if rows is None else rows[0][0], "keys": keys, "known_keys": known}

    def _duplicate_keys(self) -> tuple[int | None, int | None]:
        names = [sql.Identifier(physical) for physical, column in self._columns if column.role == "key"]
        if not names:
            return None, None
        keys = sql.SQL(", ").join(names)
        whole = sql.SQL(" AND ").join(sql.SQL("{} IS NOT NULL").format(name) for name in names)
        groups = sql.SQL("SELECT {k}, count(*) AS n FROM {t} WHERE {w} AND {whole} GROUP BY {k}").format(
            k=keys, t=self._table, w=self._where, whole=whole
        )
        twice = self._ask(
            "duplicate keys", sql.SQL("SELECT coalesce(sum(n - 1), 0)::bigint FROM ({}) g").format(groups)
        )
        if self._span.first - 1 > max(_SEARCHED_ROWS, _SEARCHED_TIMES * self._span.rows):
            self.unanswered.append("known keys")
            return (None if twice is None else twice[0][0]), None
        same = sql.SQL(" AND ").join(sql.SQL("o.{n} = g.{n}").format(n=name) for name in names)
        before = self._ask(
            "known keys",
            sql.SQL(
                "SELECT count(*) FROM ({g}) g WHERE EXISTS (SELECT FROM {t} o WHERE o.ingest_seq < {first} AND {same})"
            ).format(g=groups, t=self._table, first=sql.Literal(self._span.first), same=same),
        )
        return (None if twice is None else twice[0][0]), (None if before is None else before[0][0])

    def _ask(self, what: str, query: sql.Composable, values: dict[str, Any] | None = None) -> list[Any] | None:
        try:
            self._cursor.execute(query, values)
        except psycopg2.Error as e:
            if e.pgcode not in (_CANCELLED, _OUT_OF_RANGE):
                raise
            if e.pgcode == _CANCELLED:
                self.unanswered.append(what)
            return None
        return list(self._cursor.fetchall())


#: Levels that are kept get the earlier of two first rows; new ones are kept while there is room.
_REMEMBER = """
    WITH given AS (SELECT * FROM unnest(%(levels)s::text[], %(firsts)s::bigint[]) AS g (level, first)),
    fresh AS (SELECT level, first FROM given g WHERE NOT EXISTS (
                  SELECT FROM core.level l WHERE l.dataset_id = %(d)s AND l.position = %(p)s AND l.level = g.level)
              ORDER BY first LIMIT %(room)s),
    kept AS (
        INSERT INTO core.level AS l (dataset_id, position, level, first_seq)
        SELECT %(d)s, %(p)s, level, first FROM fresh
        UNION ALL
        SELECT %(d)s, %(p)s, k.level, least(k.first_seq, g.first) FROM given g JOIN core.level k
            ON k.dataset_id = %(d)s AND k.position = %(p)s AND k.level = g.level
        ON CONFLICT (dataset_id, position, level) DO UPDATE SET first_seq = least(l.first_seq, excluded.first_seq)
        RETURNING level, first_seq)
    SELECT level, first_seq FROM kept"""


def _five(physical: str, column: Column, moments: bool) -> Iterator[sql.Composable]:
    """Yield how many values there are, the least, the greatest, their mean and their standard deviation."""
    c = sql.Identifier(physical)
    nothing = sql.SQL("NULL")
    yield sql.SQL("count({})").format(c)
    if column.type in ("int", "float"):
        yield sql.SQL("min({})").format(c)
        yield sql.SQL("max({})").format(c)
    elif column.type in _FORMS:
        for extreme in ("min({})", "max({})"):
            yield _FORMS[column.type].format(c=sql.SQL(extreme).format(c))
    else:
        yield nothing
        yield nothing
    number = {"int": "{}::float8", "float": "{}", "bool": "{}::int::float8"}.get(column.type)
    for moment in ("avg", "stddev_samp"):
        if number is None or not moments:
            yield nothing
        else:
            yield sql.SQL(moment + "(" + number + ")").format(c)


def _figures(columns: Sequence[tuple[str, Column]], values: Sequence[Any] | None) -> dict[str, dict[str, Any]]:
    """Return what :meth:`Examiner._aggregates` found, by physical name."""
    names = ("min", "max", "mean", "std")
    if values is None:
        return {physical: {"nulls": None, **dict.fromkeys(names)} for physical, _ in columns}
    found = {}
    for number, (physical, _) in enumerate(columns):
        there, *figures = values[1 + 5 * number : 6 + 5 * number]
        found[physical] = {"nulls": values[0] - there, **dict(zip(names, figures, strict=True))}
    return found


def _bounded(count: int | None) -> dict[str, Any]:
    """Return a number of distinct values, counted up to the bound."""
    if count is None:
        return {"distinct": None, "distinct_more": False}
    return {"distinct": min(count, MAX_LEVELS_KNOWN), "distinct_more": count > MAX_LEVELS_KNOWN}
