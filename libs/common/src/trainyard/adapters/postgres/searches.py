"""Seats in shared searches, in Postgres: ``core.search_seat`` and the invitation in ``core.run``."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from trainyard.adapters.postgres.claims import SUITED
from trainyard.adapters.postgres.engine import transaction
from trainyard.adapters.postgres.publication import lost
from trainyard.adapters.postgres.sql import UNHURRIED, as_json, run
from trainyard.contracts.searches import WAITED_SECONDS, Invitation, Searches, Seat

if TYPE_CHECKING:
    from collections.abc import Collection

    import sqlalchemy as sa

    from trainyard.contracts.runs import Lease

#: Whether the search of run ``u`` of request ``r`` goes on, so that others have a place in it.
_OPEN = """u.state = 'running' AND u.invites > 0 AND u.search_until > clock_timestamp()
    AND r.state = 'running' AND r.fence = u.fence AND r.lease_until > clock_timestamp() AND NOT r.cancel_requested"""
_FREE = """u.invites > (SELECT count(*) FROM core.search_seat s
                        WHERE s.run_id = u.id AND s.seated_until > clock_timestamp())"""
#: Whether a request that suits has found nobody for a while.
_WANTED = f"""EXISTS (SELECT FROM core.training_request r WHERE r.state = 'queued' AND {SUITED}
    AND r.created_at < clock_timestamp() - make_interval(secs => :waited))"""
# The run that is locked is the run that is joined: a rival that comes at once skips it and comes again. Who is seated
# is counted once more behind the lock.
_CHOOSE = f"""
    SELECT u.id::text FROM core.run u JOIN core.training_request r ON r.id = u.request_id
    WHERE {_OPEN} AND {_FREE} AND {SUITED} AND NOT {_WANTED}
      AND u.worker <> :worker AND u.invitation ->> 'release' = :release AND u.id <> ALL(CAST(:but AS uuid[]))
    ORDER BY r.priority DESC, r.created_at, r.id LIMIT 1 FOR NO KEY UPDATE OF u SKIP LOCKED"""  # noqa: S608 - of constants
_SIT = f"""
    INSERT INTO core.search_seat (id, run_id, worker, instance_id, seated_until)
    SELECT CAST(:id AS uuid), u.id, :worker, :instance, clock_timestamp() + make_interval(secs => :seconds)
    FROM core.run u WHERE u.id = CAST(:run AS uuid) AND {_FREE}"""  # noqa: S608 - of constants
_SEAT = """
    SELECT s.id::text, u.id::text AS run_id, r.id::text AS request_id, m.name AS model, d.id AS dataset_id,
           d.name AS dataset, m.label, m.task, r.upto_seq, u.known_seq, core.with_kinds(r.settings) AS settings,
           u.invites, u.invitation,
           CAST(extract(epoch FROM u.search_until - clock_timestamp()) AS float8) AS seconds_left
    FROM core.search_seat s JOIN core.run u ON u.id = s.run_id JOIN core.training_request r ON r.id = u.request_id
    JOIN core.model m ON m.id = r.model_id JOIN core.dataset d ON d.id = m.dataset_id
    WHERE s.id = CAST(:id AS uuid)"""
_STAY = f"""
    UPDATE core.search_seat s SET seated_until = clock_timestamp() + make_interval(secs => :seconds)
    FROM core.run u JOIN core.training_request r ON r.id = u.request_id
    WHERE s.id = CAST(:id AS uuid) AND s.seated_until > clock_timestamp() AND u.id = s.run_id AND {_OPEN}
    RETURNING {UNHURRIED}"""  # noqa: S608 - of constants


class PostgresSearches(Searches):
    """Each word in a transaction of its own."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def invite(self, lease: Lease, invitation: Invitation) -> None:
        """Write it into the run, if the fence still is ours."""
        said = {
            "release": invitation.release,
            "snapshot": invitation.snapshot,
            "screening": dict(invitation.screening),
        }
        with transaction(self._engine) as connection:
            written = run(
                connection,
                "UPDATE core.run u SET invites = :workers, invitation = CAST(:said AS jsonb),"
                " search_until = clock_timestamp() + make_interval(secs => :seconds) FROM core.training_request r"
                " WHERE u.id = CAST(:run AS uuid) AND r.id = u.request_id AND r.fence = :fence AND r.state = 'running'",
                run=lease.run_id,
                fence=lease.fence,
                workers=invitation.workers,
                seconds=invitation.seconds,
                said=as_json(said),
            )
            if not written.rowcount:
                raise lost(lease)

    def over(self, lease: Lease) -> None:
        """Take the invitation back; the seats end with it."""
        with transaction(self._engine) as connection:
            run(connection, "UPDATE core.run SET invites = 0 WHERE id = CAST(:run AS uuid)", run=lease.run_id)

    def seated(self, lease: Lease) -> Collection[str]:
        """Read the seats of the run that have not run out."""
        with transaction(self._engine) as connection:
            found = run(
                connection,
                "SELECT id::text FROM core.search_seat WHERE run_id = CAST(:run AS uuid)"
                " AND seated_until > clock_timestamp()",
                run=lease.run_id,
            )
            return frozenset(found.scalars())

    def join(
        self,
        *,
        worker: str,
        instance_id: str | None,
        instance_type: str | None,
        release: str,
        seconds: float,
        but: Collection[str] = (),
    ) -> Seat | None:
        """Lock the run that has a seat, and sit down."""
        place = {"type": instance_type, "instance": instance_id}
        with transaction(self._engine) as connection:
            whose = {"worker": worker, "release": release, "but": list(but), "waited": WAITED_SECONDS}
            chosen = run(connection, _CHOOSE, **whose, **place).scalar_one_or_none()
            if chosen is None:
                return None
            seat_id = str(uuid.uuid4())
            who = {"worker": worker, "instance": instance_id}
            if not run(connection, _SIT, id=seat_id, run=chosen, seconds=seconds, **who).rowcount:
                return None
            row = run(connection, _SEAT, id=seat_id).one()._asdict()
        invitation = Invitation(row.pop("invites"), row.pop("seconds_left"), **row.pop("invitation"))
        return Seat(**row, invitation=invitation)

    def stay(self, seat_id: str, *, seconds: float, instance_id: str | None, instance_type: str | None) -> str:
        """Move the seat's end, unless the search is over or a request waits."""
        with transaction(self._engine) as connection:
            if not run(connection, _STAY, id=seat_id, seconds=seconds).rowcount:
                return "the search is over, or went on without us"
            place = {"type": instance_type, "instance": instance_id, "waited": WAITED_SECONDS}
            return "a request waits" if run(connection, f"SELECT {_WANTED}", **place).scalar_one() else ""

    def leave(self, seat_id: str) -> None:
        """Delete it."""
        with transaction(self._engine) as connection:
            run(connection, "DELETE FROM core.search_seat WHERE id = CAST(:id AS uuid)", id=seat_id)
