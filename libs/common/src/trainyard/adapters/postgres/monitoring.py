"""Windows and alarms in Postgres."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from trainyard.adapters.postgres import monitoring_sql as sql
from trainyard.adapters.postgres.sql import as_json, run
from trainyard.contracts.monitoring import (
    Alarm,
    Alarms,
    Monitoring,
    Reference,
    Scored,
    ShadowReport,
    Sight,
    Span,
    Spent,
    Traffic,
    WindowRecord,
    choice,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_FETCH = 2_000


class PostgresAlarms(Alarms):
    """``core.alarm``."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def open(self, model_id: int) -> list[Alarm]:
        """Return the open alarms."""
        found = run(self._connection, f"{sql.ALARM} AND settled_at IS NULL ORDER BY id", model_id=model_id)
        return [Alarm(**row) for row in found.mappings()]

    def settle(self, ids: Sequence[int], *, outcome: str, request_id: str | None) -> None:
        """Note what came of them."""
        run(
            self._connection,
            "UPDATE core.alarm SET settled_at = clock_timestamp(), outcome = :outcome,"
            " request_id = CAST(:request_id AS uuid) WHERE id = ANY(:ids) AND settled_at IS NULL",
            ids=list(ids),
            outcome=outcome,
            request_id=request_id,
        )

    def add(
        self,
        model_id: int,
        detector: str,
        window_id: str,
        *,
        reason: str,
        numbers: Mapping[str, Any],
        held: str | None,
    ) -> bool:
        """Insert the alarm, once."""
        found = run(
            self._connection,
            "INSERT INTO core.alarm (model_id, detector, window_id, reason, numbers, raised_at, settled_at,"
            " outcome) VALUES (:model_id, :detector, :window_id, :reason, CAST(:numbers AS jsonb),"
            " clock_timestamp(), CASE WHEN :held IS NULL THEN NULL ELSE clock_timestamp() END, :held)"
            " ON CONFLICT (model_id, window_id, detector) DO NOTHING RETURNING id",
            model_id=model_id,
            detector=detector,
            window_id=window_id,
            reason=reason,
            numbers=as_json(numbers),
            held=held,
        )
        return found.one_or_none() is not None

    def spent(self, model_id: int) -> Spent:
        """Count the alarms that asked for a training."""
        row = run(
            self._connection,
            "SELECT count(*) FILTER (WHERE raised_at > clock_timestamp() - interval '24 hours') AS today,"
            " max(raised_at) AS last_at, clock_timestamp() AS now"
            " FROM core.alarm WHERE model_id = :model_id AND (settled_at IS NULL OR request_id IS NOT NULL)",
            model_id=model_id,
        ).one()
        return Spent(row.today, row.last_at, row.now)

    def page(self, model_id: int, limit: int) -> list[Alarm]:
        """Return the newest alarms."""
        found = run(self._connection, sql.NEWEST_ALARMS, model_id=model_id, limit=limit)
        return [Alarm(**row) for row in found.mappings()]


class PostgresMonitoring(Monitoring):
    """``core.monitor_window`` and ``core.monitor_mark`` over ``core.prediction`` and ``core.feedback``."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def sights(self) -> list[Sight]:
        """Look at every served model, in one statement."""
        return [Sight(**row) for row in run(self._connection, sql.SIGHTS).mappings()]

    def hold(self, model_id: int) -> int | None:
        """Lock the mark, or leave it to whoever has."""
        run(
            self._connection,
            "INSERT INTO core.monitor_mark (model_id) SELECT :model_id"
            " WHERE NOT EXISTS (SELECT FROM core.monitor_mark WHERE model_id = :model_id) ON CONFLICT DO NOTHING",
            model_id=model_id,
        )
        held: int | None = run(
            self._connection,
            "SELECT feedback_seq FROM core.monitor_mark WHERE model_id = :model_id FOR UPDATE SKIP LOCKED",
            model_id=model_id,
        ).scalar_one_or_none()
        return held

    def advance(self, model_id: int, feedback_seq: int) -> None:
        """Move the mark on."""
        run(
            self._connection,
            "UPDATE core.monitor_mark SET feedback_seq = greatest(feedback_seq, :seq) WHERE model_id = :model_id",
            model_id=model_id,
            seq=feedback_seq,
        )

    def versions(self, model_id: int, limit: int) -> list[int]:
        """Return the versions that serve or served."""
        found = run(
            self._connection,
            "SELECT version FROM (SELECT version FROM core.deployment WHERE model_id = :model_id"
            " AND version IS NOT NULL UNION SELECT version FROM core.alias WHERE model_id = :model_id) served"
            " ORDER BY version DESC LIMIT :limit",
            model_id=model_id,
            limit=limit,
        )
        return list(found.scalars())

    def reference(self, model_id: int, version: int) -> Reference:
        """Return profile and metrics of the version; the gate noted how many rows it was tested on."""
        row = run(
            self._connection,
            "SELECT profile, metrics, CAST(gate ->> 'rows' AS bigint) AS rows FROM core.version"
            " WHERE model_id = :model_id AND version = :version",
            model_id=model_id,
            version=version,
        ).one()
        return Reference(row.profile, row.metrics, row.rows)

    def recent(self, model_id: int, detector: str, limit: int, *, version: int | None = None) -> list[WindowRecord]:
        """Return the newest windows."""
        narrowed = sql.NEWEST if version is None else "AND w.version = :version ORDER BY w.number DESC"
        values: dict[str, Any] = {} if version is None else {"version": version}
        return self._windows(f"{narrowed} LIMIT :limit", model_id, detector, limit=limit, **values)

    def cut_rows(self, model_id: int, version: int, last: Span | None, rows: int) -> Span | None:
        """Look for a full window behind the last one."""
        after = 0 if last is None else last.last_seq
        row = run(self._connection, sql.NEXT_ROWS, model_id=model_id, version=version, after=after, rows=rows).one()
        if row.rows < rows:
            return None
        number = 0 if last is None else last.number + 1
        ident = f"v{version}-after-{after}"
        return Span(ident, version, number, "rows", after, row.last_seq, row.began, row.ended, rows)

    def cut_time(self, model_id: int, version: int, last: Span | None, seconds: float, late: float) -> Span | None:
        """Look for the first prediction that no window has, and for the multiple that it lies in."""
        of = {"model_id": model_id, "version": version}
        behind = None if last is None else last.ended_at
        place = run(self._connection, sql.NEXT_TIME, **of, seconds=seconds, behind=behind, late=late).one_or_none()
        if place is None:
            return None
        row = run(self._connection, sql.IN_TIME, **of, began=place.began, ended=place.ended).one()
        number = 0 if last is None else last.number + 1
        ident = f"v{version}-{seconds:g}s-{place.began.timestamp():.0f}"
        bounds = (row.first_seq - 1, row.last_seq, place.began, place.ended)
        return Span(ident, version, number, "time", *bounds, row.rows)

    def inputs(self, model_id: int, span: Span, most: int) -> Iterator[Mapping[str, Any]]:
        """Stream the inputs; of a long window those that the numbers of its predictions choose."""
        statement = f"{sql.MEMBERS} AND {sql.CHOSEN} ORDER BY seq"
        for row in self._members(statement, model_id, span, below=choice(span.rows, most)):
            yield row.inputs

    def count(self, model_id: int, span: Span) -> int:
        """Count the predictions."""
        statement = f"SELECT count(*) FROM ({sql.MEMBERS}) those"  # noqa: S608 - put together of constants
        counted: int = run(self._connection, statement, model_id=model_id, **vars(span)).scalar_one()
        return counted

    def scored(self, model_id: int, span: Span, most: int) -> Iterator[Scored]:
        """Stream outputs and labels."""
        statement = f"""
            WITH those AS ({sql.MEMBERS} AND {sql.CHOSEN})
            SELECT those.predicted_at, those.output, f.label IS NOT NULL, f.label FROM those
            LEFT JOIN LATERAL (SELECT label FROM core.feedback WHERE prediction_id = those.id
                               ORDER BY seq DESC LIMIT 1) f ON true
            ORDER BY those.seq"""  # noqa: S608 - put together of constants
        for row in self._members(statement, model_id, span, below=choice(span.rows, most)):
            yield Scored(*row)

    def answering(self, model_id: int, limit: int) -> list[int]:
        """Return the versions with predictions."""
        return list(run(self._connection, sql.ANSWERING, model_id=model_id, limit=limit).scalars())

    def unwatched(self, model_id: int, version: int, last: Span | None, most: int) -> Iterator[Scored]:
        """Read the newest predictions behind the window."""
        cut = "rows" if last is None else last.cut
        place: dict[str, Any] = {"last_seq": 0} if last is None else {"last_seq": last.last_seq}
        if last is not None and cut == "time":
            place = {"ended_at": last.ended_at}
        statement = sql.UNWATCHED.format(behind=sql.BEHIND[cut])
        for row in run(self._connection, statement, model_id=model_id, version=version, most=most, **place).mappings():
            yield Scored(**row)

    def traffic(self, model_id: int, hours: int) -> list[Traffic]:
        """Read what was counted; of the places of a latency the middle is told."""
        found = run(self._connection, sql.TRAFFIC, model_id=model_id, hours=hours)
        return [Traffic(**row) for row in found.mappings()]

    def shadows(self, model_id: int, most: int) -> list[ShadowReport]:
        """Average the newest comparisons."""
        found = run(self._connection, sql.SHADOWS, model_id=model_id, most=most)
        return [ShadowReport(**row) for row in found.mappings()]

    def feedback_upto(self, after: int, limit: int) -> int:
        """Return the place of the last of the next labels."""
        upto: int = run(
            self._connection,
            "SELECT coalesce(max(seq), :after) FROM (SELECT seq FROM core.feedback WHERE seq > :after"
            " ORDER BY seq LIMIT :limit) next",
            after=after,
            limit=limit,
        ).scalar_one()
        return upto

    def waiting_labels(self, limit: int) -> int:
        """Count the labels without a prediction."""
        waiting: int = run(
            self._connection,
            "SELECT count(*) FROM (SELECT prediction_id FROM core.feedback ORDER BY seq DESC LIMIT :limit) newest"
            " WHERE prediction_id IS NOT NULL"
            " AND NOT EXISTS (SELECT FROM core.prediction p WHERE p.id = newest.prediction_id)",
            limit=limit,
        ).scalar_one()
        return waiting

    def labelled(self, model_id: int, after: int, upto: int) -> list[Span]:
        """Return the windows that the labels fall into."""
        found = self._windows(sql.LABELLED, model_id, "quality", before=sql.GIVEN, after=after, upto=upto)
        return [window.span for window in found]

    def due(self, model_id: int, limit: int) -> list[Span]:
        """Return windows that wait no longer."""
        waiting = "AND w.due_at <= clock_timestamp() ORDER BY w.due_at LIMIT :limit"
        return [window.span for window in self._windows(waiting, model_id, "quality", limit=limit)]

    def age(self, span: Span) -> float:
        """Return the seconds since the span ended."""
        seconds: float = run(
            self._connection,
            "SELECT CAST(extract(epoch FROM clock_timestamp() - :ended_at) AS double precision)",
            ended_at=span.ended_at,
        ).scalar_one()
        return seconds

    def put(
        self,
        model_id: int,
        detector: str,
        span: Span,
        *,
        outcome: str,
        report: Mapping[str, Any],
        again_in: float | None = None,
    ) -> None:
        """Insert or replace the window's row; when it was closed stays."""
        run(
            self._connection,
            "INSERT INTO core.monitor_window (model_id, detector, window_id, version, number, cut, after_seq, last_seq,"
            " began_at, ended_at, rows, outcome, report, closed_at, due_at)"
            " VALUES (:model_id, :detector, :window_id, :version, :number, :cut, :after_seq, :last_seq, :began_at,"
            " :ended_at, :rows, :outcome, CAST(:report AS jsonb), clock_timestamp(),"
            " clock_timestamp() + make_interval(secs => CAST(:again_in AS double precision)))"
            " ON CONFLICT (model_id, detector, window_id) DO UPDATE"
            " SET outcome = excluded.outcome, report = excluded.report, due_at = excluded.due_at",
            model_id=model_id,
            detector=detector,
            outcome=outcome,
            report=as_json(report),
            again_in=again_in,
            **vars(span),
        )

    def _windows(
        self, which: str, model_id: int, detector: str, *, before: str = "", **values: Any
    ) -> list[WindowRecord]:
        found = run(self._connection, f"{before}{sql.WINDOW} {which}", model_id=model_id, detector=detector, **values)
        return [window_of(**row._asdict()) for row in found]

    def _members(self, statement: str, model_id: int, span: Span, **values: Any) -> Iterator[Any]:
        """Stream what a statement over the span's predictions finds."""
        yield from self._connection.execute(
            sa.text(statement),
            {"model_id": model_id, **vars(span), **values},
            execution_options={"yield_per": _FETCH},
        )


def window_of(**row: Any) -> WindowRecord:
    """Return a window of what a statement tells of it."""
    own = {name: row.pop(name) for name in ("detector", "outcome", "report", "closed_at")}
    return WindowRecord(span=Span(**row), **own)
