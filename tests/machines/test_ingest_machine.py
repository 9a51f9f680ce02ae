"""Any order of what clients, files and failures do to ingest, on a real Postgres, against a model in memory."""

from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime
from unittest import mock

import psycopg2
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test
from tests.machines.ingest_model import Body, IngestModel
from tests.machines.keeping_rules import KeepingRules

from trainyard.adapters.postgres.engine import make_engine
from trainyard.adapters.postgres.keeping import PostgresKeeping
from trainyard.adapters.postgres.snapshots import PostgresSnapshots
from trainyard.adapters.postgres.warehouse import PostgresWarehouse
from trainyard.clock import ManualClock, SystemClock
from trainyard.crashpoints import CrashPointError
from trainyard.errors import ServiceError
from trainyard.messages import decode
from trainyard.schema import Column, Schema
from trainyard.snapshot import BLOCK_ROWS
from trainyard.testing.crashpoints import armed
from trainyard.testing.fakes import MemoryBlobs
from trainyard.testing.pgproxy import PgProxy
from trainyard.testing.snapshot_reference import reference
from trainyard.testing.toxics import DropCommitReply
from trainyard_ingest.domain import formats
from trainyard_ingest.domain import source as source_module
from trainyard_ingest.use_cases import pace
from trainyard_ingest.use_cases.datasets import KeepDatasets
from trainyard_ingest.use_cases.intake import Origin, RowIntake
from trainyard_ingest.use_cases.landing import Landing

#: 200 x 30 with ``--hypothesis-profile full``.
FULL = settings.get_current_profile_name() == "full"
EXAMPLES, STEPS = (200 if FULL else 25), 30
NAMES = ("shop", "till")
POINTS = ("K3", "K4", "K5", "K6", "K7", "K8")
SCHEMAS = (
    Schema([Column("id", "int", role="key", nullable=False), Column("x", "float"), Column("city", "text")]),
    Schema([Column("x", "float"), Column("day", "date"), Column("ok", "bool", nullable=False)]),
    Schema([Column("a", "int", role="key"), Column("city", "text", role="key"), Column("ok", "bool")]),
)
VALUES = {
    "int": (0, 1, 2, -3, 2**53 + 1),
    "float": (0.5, None, -0.0, 1e300, 3.0),
    "text": ("Bern", 'a "b", c', "zwei\nZeilen", "", None, "\\.", "Zürich"),
    "date": (date(2024, 2, 29), None, date(1969, 12, 31)),
    "timestamp": (datetime(1969, 12, 31, 23, 59, 59, 1, UTC), None, datetime(2024, 2, 29, tzinfo=UTC)),
    "bool": (True, False),
}
#: Of a column that was added: whole, also when it holds floats by now.
NUMBERS = (7, None, -3, 0)


def value_of(column, number):
    """Return some value of a column; keys are missing now and then where they may be."""
    choices = NUMBERS if column.name == "n" else VALUES[column.type]
    value = choices[number % len(choices)]
    return None if column.role == "key" and column.nullable and number % 4 == 0 else value


@st.composite
def bodies(draw, schema):
    """Return a body: clean, with a reject among twenty, with too many, without a row, or one that cannot be read."""
    kind = draw(st.sampled_from(["csv", "ndjson"]))
    form = draw(st.sampled_from(["clean", "clean", "clean", "one bad", "many bad", "empty", "broken"]))
    seed = draw(st.integers(0, 40))
    count = {"one bad": 20, "empty": 0}.get(form, draw(st.integers(1, 5)))
    rows = [
        tuple(value_of(column, seed * (place + 1) + n) for place, column in enumerate(schema.columns))
        for n in range(count)
    ]
    for bad in {"one bad": [seed % 20], "many bad": [0]}.get(form, []):
        rows[bad] = None
    return Body(kind, schema.names, tuple(rows), broken=form == "broken")


names = st.sampled_from(NAMES)
keys = st.sampled_from([None, None, "a", "b", "c"])
paces = st.sampled_from(["whole", "whole", "whole", "quick", "quick", "slow"])
files = st.sampled_from(["1", "2", "ä/3"])


class Slow:
    """A clock that makes any sender slow, and a body that pauses behind its header until that has been seen."""

    def __init__(self, data):
        self._stream = io.BytesIO(data)
        self._asked = 0
        self._seen = threading.Event()

    def monotonic(self):
        self._asked += 1
        if self._asked > 1:
            self._seen.set()
        return self._asked * 10 * pace.SLOW_SECONDS

    def read(self, size, /):
        if self._stream.tell():
            self._seen.wait(0.5)
            self._seen.set()  # a body that is known already is not looked at by the clock
        return self._stream.read(size)


class Ending(io.BytesIO):
    """A body that does something when it was read to its end."""

    def __init__(self, data, then):
        super().__init__(data)
        self._then = [then]

    def read(self, size=-1, /):
        block = super().read(size)
        if not block and self._then:
            self._then.pop()()
        return block


class IngestMachine(KeepingRules):
    """The use cases on a database of this run's own, and the model."""

    def __init__(self, postgres, template, proxy):
        super().__init__()
        self.postgres, self.proxy = postgres, proxy
        self.database = postgres.create_database(template=template)
        self.engine = make_engine(postgres.url(self.database), service="machine")
        self.damaged = make_engine(postgres.url(self.database, port=proxy.port), service="machine")
        self.warehouse = PostgresWarehouse(self.engine, SystemClock())
        self.datasets = KeepDatasets(self.warehouse, PostgresKeeping(self.engine))
        self.snapshots = PostgresSnapshots(self.engine)
        self.watching = psycopg2.connect(postgres.dsn(self.database))
        self.watching.autocommit = True
        self.blobs = MemoryBlobs()
        self.landing = Landing("b", self.blobs, self.warehouse, RowIntake(self.warehouse, SystemClock()))
        self.model = IngestModel()
        self.files = {}  # key -> (dataset, body)
        self.read = []  # (dataset id, upto, rows, sha256)

    def teardown(self):
        self.watching.close()
        self.engine.dispose()
        self.damaged.dispose()
        self.postgres.drop_database(self.database)

    # --- datasets ---

    @rule(name=names, schema=st.sampled_from(SCHEMAS))
    def create(self, name, schema):
        """A dataset is made, found alike, or refused because it has other columns."""
        expected = self.model.create(name, schema.columns)
        try:
            dataset, made = self.warehouse.create(name, schema, actor="k")
        except ServiceError as e:
            said = e.code
        else:
            said = "made" if made else "alike"
            self.model.live[name].id = dataset.id
        assert said == expected

    @rule(name=names)
    @precondition(lambda self: any(d.last_seq > 30 for d in self.model.live.values()))
    def delete(self, name):
        """A dataset goes with its rows; the ledger stays."""
        expected = self.model.delete(name)
        try:
            self.warehouse.delete(name, actor="k")
            said = "deleted"
        except ServiceError as e:
            said = e.code
        assert said == expected
        alive = {dataset.id for dataset in self.model.live.values()}
        self.read = [read for read in self.read if read[0] in alive]

    # --- bodies ---

    @rule(data=st.data(), name=names, key=keys, how=paces)
    def push(self, data, name, key, how):
        """A body comes in; a client that is not sure sends it again, and gets the same batch."""
        body = self.drawn(data, name)
        self.compare(self.model.push(name, body, key), self.sent(name, body, key, how))
        self.compare(self.model.push(name, body, key), self.sent(name, body, key, how))

    @rule(data=st.data(), requests=st.lists(st.tuples(names, keys), min_size=2, max_size=3), twice=st.booleans())
    def push_at_once(self, data, requests, twice):
        """Bodies that come at once are stored in some order, each of them once."""
        bodies_ = [(name, self.drawn(data, name), key) for name, key in requests] * (1 + twice)
        before = [self.model.outcome(*each) for each in bodies_]
        with ThreadPoolExecutor(len(bodies_)) as pool:
            found = list(pool.map(lambda each: self.sent(*each, "whole"), bodies_))
        new = [(answer.batch.first_seq, n) for n, answer in enumerate(found) if getattr(answer, "new", False)]
        for _, n in sorted(new):
            self.compare(self.model.push(*bodies_[n]), found[n])
        for n in range(len(found)):
            if n not in {number for _, number in new}:
                after = self.model.outcome(*bodies_[n])
                assert not after.new
                early = before[n].code is not None and found[n] == before[n].code
                self.compare(before[n] if early else after, found[n])

    @rule(data=st.data(), name=names, key=keys, point=st.sampled_from(POINTS), how=paces)
    def crash(self, data, name, key, point, how):
        """A failure at any step leaves all of the batch or nothing; the client sends the body again."""
        body = self.drawn(data, name)
        expected = self.model.outcome(name, body, key)
        with armed(point):
            answer = self.sent(name, body, key, how)
        if answer is CrashPointError:
            if point == "K8":
                self.model.push(name, body, key)
            self.agree()
        else:
            assert not expected.new, f"{point} was not passed"
            self.compare(expected, answer)
        self.compare(self.model.push(name, body, key), self.sent(name, body, key, how))

    @rule(data=st.data(), name=names, key=keys)
    def lose_reply_of_commit(self, data, name, key):
        """COMMIT takes effect and nobody hears of it: the answer is as if nothing had happened."""
        body, dropped, lost = self.drawn(data, name), self.proxy.commits_dropped, DropCommitReply()
        expected = self.model.push(name, body, key)
        stream = Ending(body.encoded(), lambda: self.proxy.add(lost))
        warehouse = PostgresWarehouse(self.damaged, ManualClock())
        try:
            self.compare(expected, self.taken(warehouse, SystemClock(), stream, name, body, key))
        finally:
            self.proxy.remove(lost)
        assert self.proxy.commits_dropped > dropped or not expected.new
        self.compare(self.model.push(name, body, key), self.sent(name, body, key, "whole"))

    # --- files ---

    @rule(data=st.data(), name=names, file=files, announced=st.booleans())
    def put_file(self, data, name, file, announced):
        """A file is put or replaced; its notification comes, and comes again, or is lost."""
        key, etag, body = self.put(data, name, file)
        for _ in range(2 * announced):
            self.landing.take(key, etag)
            self.model.land(name, fingerprint(key, etag), body)

    @rule(data=st.data(), name=names, file=files, point=st.sampled_from(POINTS))
    def crash_over_file(self, data, name, file, point):
        """The worker fails over a file, and whoever comes next takes it."""
        key, etag, body = self.put(data, name, file)
        with armed(point):
            try:
                self.landing.take(key, etag)
            except CrashPointError:
                assert name in self.model.live
                if point != "K8":
                    self.agree()
        self.landing.take(key, etag)
        self.model.land(name, fingerprint(key, etag), body)

    @rule()
    def sweep(self):
        """Every file that nobody has taken is taken, in the order of the keys."""
        self.landing.sweep(lambda: False)
        for key in sorted(self.files, key=str.encode):
            name, body, etag = self.files[key]
            self.model.land(name, fingerprint(key, etag), body)

    # --- snapshots ---

    @rule(name=names, back=st.integers(0, 8))
    def snapshot(self, name, back):
        """A snapshot has the latest row of each key at its number, and the hash that anybody can compute."""
        if name not in self.model.live:
            return
        dataset = self.model.live[name]
        upto = max(0, dataset.last_seq - back)
        rows = dataset.latest(upto)
        schema = Schema(dataset.columns)
        stored = {seq: dict(zip(schema.names, values, strict=True)) for seq, values in dataset.rows.items()}
        found = self.snapshots.read(dataset.id, upto)
        assert found.seq.tolist() == [seq for seq, _, _ in rows]
        assert found.first_seq.tolist() == [first for _, first, _ in rows]
        assert found.sha256 == reference(schema, stored, upto, BLOCK_ROWS).sha256
        self.read = [*self.read, (dataset.id, upto, found.rows, found.sha256)]

    @invariant()
    def snapshots_stay(self):
        """What was read once is read again, whatever came since; the latest three are looked at."""
        for dataset_id, upto, rows, sha256 in self.read[-3:]:
            again = self.snapshots.read(dataset_id, upto)
            assert (again.rows, again.sha256) == (rows, sha256)

    # --- what must hold after every step ---

    @invariant()
    def agree(self):
        """Rows, numbers, ledger, outbox and views are those of the model."""
        for dataset in self.model.live.values():
            table = f"data_.t_{dataset.id}"
            columns = ", ".join(f"c{n}" for n in range(1, len(dataset.columns) + 1))
            rows = self.queried(f"SELECT ingest_seq, {columns} FROM {table} ORDER BY 1")
            assert rows == [(seq, *values) for seq, values in dataset.rows.items()]
            record = self.queried(f"SELECT last_seq, removed_rows, revision FROM core.dataset WHERE id = {dataset.id}")
            gone = sum(number for _, number in dataset.tombstones)
            assert record == [(dataset.last_seq, gone, dataset.revision)]
            assert len(rows) + gone == dataset.last_seq
            stones = self.queried(f"SELECT kind, rows::int FROM core.erasure WHERE dataset_id = {dataset.id}")
            assert sorted(stones) == sorted(dataset.tombstones)
            shown = self.queried(f"SELECT * FROM data.{dataset.name}")
            latest = [values for _, _, values in dataset.latest(dataset.last_seq)]
            assert sorted(shown, key=repr) == sorted(latest, key=repr)
        for dataset in (*self.model.live.values(), *self.model.deleted):
            self.ledger_agrees(dataset)
        assert self.queried(
            "SELECT format('data_.%s', c.relname) FROM pg_class c WHERE relnamespace = 'data_'::regnamespace"
            " AND relkind = 'r' ORDER BY 1"
        ) == sorted((f"data_.t_{dataset.id}",) for dataset in self.model.live.values())
        told = self.queried("SELECT body FROM core.outbox WHERE queue = 'arrived'")
        batches = self.queried(
            "SELECT d.name, b.id::text, b.last_seq FROM core.batch b JOIN core.dataset d ON d.id = b.dataset_id"
            " WHERE b.state = 'committed'"
        )
        assert sorted(announced(body) for (body,) in told) == sorted(batches)

    def ledger_agrees(self, dataset):
        found = self.queried(
            "SELECT regexp_replace(fingerprint, '^key:k:', ''), body_sha256, state, row_count::int,"
            " rejected_count::int, first_seq::int, last_seq::int"
            f" FROM core.batch WHERE dataset_id = {dataset.id}"
        )
        entries = [
            (known, e.sha256, e.state, e.rows, e.rejected, e.first, e.last) for known, e in dataset.ledger.items()
        ]
        assert sorted(found) == sorted(entries)

    # --- helpers ---

    def drawn(self, data, name):
        """Return a body for a dataset, alive or not."""
        dataset = self.model.live.get(name)
        return data.draw(bodies(Schema(dataset.columns) if dataset else SCHEMAS[0]))

    def put(self, data, name, file):
        body = self.drawn(data, name)
        key = f"landing/{name}/{file}.{body.kind}"
        etag = self.blobs.put(key, body.encoded())
        self.files[key] = (name, body, etag)
        return key, etag, body

    def sent(self, name, body, key, how):
        """Send a body and return what was answered: what was stored, a code, or CrashPointError."""
        with paced(how):
            if how == "slow":
                stream = Slow(body.encoded())
                return self.taken(self.warehouse, stream, stream, name, body, key)
            return self.taken(self.warehouse, SystemClock(), io.BytesIO(body.encoded()), name, body, key)

    def taken(self, warehouse, clock, stream, name, body, key):
        kind = formats.CSV if body.kind == "csv" else formats.NDJSON
        origin = Origin("http", "k", None if key is None else f"key:k:{key}", None)
        try:
            return RowIntake(warehouse, clock).take(name, stream, kind, origin)
        except ServiceError as e:
            return e.code
        except CrashPointError:
            return CrashPointError

    def compare(self, expected, answer):
        """Hold an answer against what the model says of the same body."""
        if expected.code is not None:
            assert answer == expected.code
            return
        entry, batch = expected.entry, answer.batch
        assert answer.new == expected.new
        assert (batch.state, batch.rows, batch.rejected) == (entry.state, entry.rows, entry.rejected)
        assert (batch.first_seq, batch.last_seq) == (entry.first, entry.last)
        entry.ident = entry.ident or batch.id
        assert batch.id == entry.ident

    def queried(self, query):
        with self.watching.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()


@contextmanager
def paced(how):
    """Let bodies come in one piece, or so that they are stored while they come."""
    with ExitStack() as stack:
        if how == "quick":
            stack.enter_context(mock.patch.object(pace, "AHEAD_BYTES", 1))
        if how != "whole":
            stack.enter_context(mock.patch.object(source_module, "BLOCK_BYTES", 16))
        yield


def fingerprint(key, etag):
    """Return what the ledger knows a file by."""
    return f"s3:b/{key}:{etag}"


def announced(body):
    """Return dataset, batch and number of a message that data has arrived."""
    message = decode("DataArrived", body)
    return message.dataset, message.batch_id, message.upto_seq


@pytest.mark.timeout(1_800)
def test_ingest_does_what_the_model_does(postgres, migrated_template):
    """No order of requests, files, failures and lost answers makes ingest differ from the model."""
    with PgProxy(postgres.port) as proxy:
        run_state_machine_as_test(
            lambda: IngestMachine(postgres, migrated_template, proxy),
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                deadline=None,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
            ),
        )
