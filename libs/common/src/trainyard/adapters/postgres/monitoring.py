"""Windows and alarms in Postgres."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from trainyard.adapters.postgres.sql import as_json, run
from trainyard.contracts.monitoring import (
    Alarm,
    Alarms,
    Monitoring,
    Reference,
    Scored,
    Span,
    Spent,
    WindowRecord,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_FETCH = 2_000
_ALARM = (
    "SELECT id, detector, window_id, reason, numbers, raised_at, request_id::text, outcome FROM core.alarm"
    " WHERE model_id = :model_id"
)
_SPAN = "w.window_id, w.version, w.number, w.cut, w.after_seq, w.last_seq, w.began_at, w.ended_at, w.rows"
# The predictions of a model's version. Those logged before the model was made belong to an earlier one of its name.
_PREDICTIONS = """
    core.model m JOIN core.prediction p ON p.model = m.name AND p.version = :version AND p.logged_at >= m.created_at
    WHERE m.id = :model_id"""
_MEMBERS = {
    "rows": f"{_PREDICTIONS} AND p.seq > :after_seq AND p.seq <= :last_seq",
    "time": f"{_PREDICTIONS} AND p.predicted_at >= :began_at AND p.predicted_at < :ended_at",
}
# Sums over the next predictions; one row, of nulls when there are none.
_BOUNDS = "min(seq) AS first_seq, max(seq) AS last_seq, min(predicted_at) AS began, max(predicted_at) AS ended, count(*) AS rows"


class PostgresAlarms(Alarms):
    """``core.alarm``."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def open(self, model_id: int) -> list[Alarm]:
        """Return the open alarms."""
        found = run(self._connection, f"{_ALARM} AND settled_at IS NULL ORDER BY id", model_id=model_id)
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
            "INSERT INTO core.alarm (model_id, detector, window_id, reason, numbers, counts, raised_at, settled_at,"
            " outcome) VALUES (:model_id, :detector, :window_id, :reason, CAST(:numbers AS jsonb), :counts,"
            " clock_timestamp(), CASE WHEN :counts THEN NULL ELSE clock_timestamp() END, :held)"
            " ON CONFLICT (model_id, window_id, detector) DO NOTHING RETURNING id",
            model_id=model_id,
            detector=detector,
            window_id=window_id,
            reason=reason,
            numbers=as_json(numbers),
            counts=held is None,
            held=held,
        )
        return found.one_or_none() is not None

    def spent(self, model_id: int) -> Spent:
        """Count the alarms that asked for a training."""
        row = run(
            self._connection,
            "SELECT count(*) FILTER (WHERE raised_at > clock_timestamp() - interval '24 hours') AS today,"
            " CAST(extract(epoch FROM clock_timestamp() - max(raised_at)) AS double precision) AS since_last"
            " FROM core.alarm WHERE model_id = :model_id AND counts",
            model_id=model_id,
        ).one()
        return Spent(row.today, row.since_last)

    def page(self, model_id: int, limit: int) -> list[Alarm]:
        """Return the newest alarms."""
        found = run(self._connection, f"{_ALARM} ORDER BY id DESC LIMIT :limit", model_id=model_id, limit=limit)
        return [Alarm(**row) for row in found.mappings()]


class PostgresMonitoring(Monitoring):
    """``core.monitor_window`` and ``core.monitor_mark`` over ``core.prediction`` and ``core.feedback``."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

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
        """Return profile and metrics of the version."""
        row = run(
            self._connection,
            "SELECT profile, metrics FROM core.version WHERE model_id = :model_id AND version = :version",
            model_id=model_id,
            version=version,
        ).one()
        return Reference(row.profile, row.metrics)

    def recent(self, model_id: int, detector: str, limit: int, *, version: int | None = None) -> list[WindowRecord]:
        """Return the newest windows."""
        narrowed, order = ("", "closed_at DESC, number") if version is None else ("AND w.version = :version", "number")
        found = run(
            self._connection,
            f"SELECT {_SPAN}, w.detector, w.outcome, w.report, w.closed_at FROM core.monitor_window w"
            f" WHERE w.model_id = :model_id AND w.detector = :detector {narrowed} ORDER BY {order} DESC LIMIT :limit",
            model_id=model_id,
            detector=detector,
            limit=limit,
            **({} if version is None else {"version": version}),
        )
        return [_window(row._asdict()) for row in found]

    def cut_rows(self, model_id: int, version: int, last: Span | None, rows: int) -> Span | None:
        """Look for a full window behind the last one."""
        after = 0 if last is None else last.last_seq
        row = run(
            self._connection,
            f"SELECT {_BOUNDS} FROM (SELECT p.seq, p.predicted_at FROM {_PREDICTIONS} AND p.seq > :after"
            " ORDER BY p.seq LIMIT :rows) next",
            model_id=model_id,
            version=version,
            after=after,
            rows=rows,
        ).one()
        if row.rows < rows:
            return None
        number = 0 if last is None else last.number + 1
        ident = f"v{version}-after-{after}"
        return Span(ident, version, number, "rows", after, row.last_seq, row.began, row.ended, rows)

    def cut_time(self, model_id: int, version: int, last: Span | None, seconds: float, late: float) -> Span | None:
        """Look for the first prediction that no window has, and for the multiple that it lies in."""
        behind = {} if last is None else {"behind": last.ended_at}
        place = run(
            self._connection,
            "SELECT to_timestamp(floor(extract(epoch FROM first) / :seconds) * :seconds) AS began,"
            " to_timestamp((floor(extract(epoch FROM first) / :seconds) + 1) * :seconds) AS ended"
            f" FROM (SELECT min(p.predicted_at) AS first FROM {_PREDICTIONS}"
            f" {'AND p.predicted_at >= :behind' if behind else ''}) next"
            " WHERE to_timestamp((floor(extract(epoch FROM first) / :seconds) + 1) * :seconds)"
            " <= clock_timestamp() - make_interval(secs => :late)",
            model_id=model_id,
            version=version,
            seconds=seconds,
            late=late,
            **behind,
        ).one_or_none()
        if place is None:
            return None
        row = run(
            self._connection,
            f"SELECT {_BOUNDS} FROM (SELECT p.seq, p.predicted_at FROM {_MEMBERS['time']}) those",
            model_id=model_id,
            version=version,
            began_at=place.began,
            ended_at=place.ended,
        ).one()
        number = 0 if last is None else last.number + 1
        ident = f"v{version}-{seconds:g}s-{place.began.timestamp():.0f}"
        return Span(ident, version, number, "time", row.first_seq - 1, row.last_seq, place.began, place.ended, row.rows)

    def inputs(self, model_id: int, span: Span, most: int) -> Iterator[Mapping[str, Any]]:
        """Stream the inputs; of a long window every second, third ... prediction by its number."""
        members, values = _members(model_id, span)
        every = -(-span.rows // most)
        statement = sa.text(f"SELECT p.inputs FROM {members} AND p.seq % :every = 0 ORDER BY p.seq")
        yield from self._connection.execute(
            statement, {**values, "every": every}, execution_options={"yield_per": _FETCH}
        ).scalars()

    def scored(self, model_id: int, span: Span) -> Iterator[Scored]:
        """Stream outputs and labels."""
        members, values = _members(model_id, span)
        statement = sa.text(
            f"""
            SELECT those.output, f.label IS NOT NULL, f.label FROM (SELECT p.id, p.seq, p.output FROM {members}) those
            LEFT JOIN LATERAL (SELECT label FROM core.feedback WHERE prediction_id = those.id
                               ORDER BY seq DESC LIMIT 1) f ON true
            ORDER BY those.seq"""
        )
        for row in self._connection.execute(statement, values, execution_options={"yield_per": _FETCH}):
            yield Scored(*row)

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

    def labelled(self, model_id: int, after: int, upto: int) -> list[Span]:
        """Return the windows that the labels fall into."""
        found = run(
            self._connection,
            f"""
            SELECT {_SPAN} FROM core.monitor_window w WHERE w.model_id = :model_id AND w.detector = 'quality' AND EXISTS (
                SELECT FROM core.feedback f JOIN core.prediction p ON p.id = f.prediction_id
                JOIN core.model m ON m.id = :model_id AND p.model = m.name
                WHERE f.seq > :after AND f.seq <= :upto AND p.version = w.version
                AND CASE w.cut WHEN 'rows' THEN p.seq > w.after_seq AND p.seq <= w.last_seq
                    ELSE p.predicted_at >= w.began_at AND p.predicted_at < w.ended_at END)
            ORDER BY w.version, w.number""",
            model_id=model_id,
            after=after,
            upto=upto,
        )
        return [Span(**row) for row in found.mappings()]

    def due(self, model_id: int, limit: int) -> list[Span]:
        """Return windows that wait no longer."""
        found = run(
            self._connection,
            f"SELECT {_SPAN} FROM core.monitor_window w WHERE w.model_id = :model_id AND w.detector = 'quality'"
            " AND w.due_at <= clock_timestamp() ORDER BY w.due_at LIMIT :limit",
            model_id=model_id,
            limit=limit,
        )
        return [Span(**row) for row in found.mappings()]

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


def _members(model_id: int, span: Span) -> tuple[str, dict[str, Any]]:
    """Return the predictions of the span as SQL, and its values."""
    bounds = ("after_seq", "last_seq") if span.cut == "rows" else ("began_at", "ended_at")
    return _MEMBERS[span.cut], {
        "model_id": model_id,
        "version": span.version,
        **{name: getattr(span, name) for name in bounds},
    }


def _window(row: dict[str, Any]) -> WindowRecord:
    own = {name: row.pop(name) for name in ("detector", "outcome", "report", "closed_at")}
    return WindowRecord(span=Span(**row), **own)
