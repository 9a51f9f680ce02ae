"""Rows over HTTP into Postgres: what a batch leaves behind, once, in parallel, and after failures."""

import base64
import hashlib
import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from trainyard import crashpoints, messages
from trainyard.adapters.postgres.engine import make_engine
from trainyard.adapters.postgres.keeping import PostgresKeeping
from trainyard.adapters.postgres.migrate import migrate
from trainyard.adapters.postgres.snapshots import PostgresSnapshots
from trainyard.adapters.postgres.warehouse import PostgresWarehouse
from trainyard.clock import SystemClock
from trainyard.contracts.warehouse import Intake, Rows
from trainyard.errors import ServiceError, TransientError
from trainyard.schema import MAX_COLUMNS, Column, Schema
from trainyard.testing.postgres import PostgresServer

ROWS = "/v1/datasets/shop/rows"
CSV = {"Content_Type": "text/csv"}
BODY = b"id,city,bought\n1,Bern,t\n2,,f\n2,Chur,\n"


def _left_behind(service):
    """Return how many rows, batches, outbox messages and rejects there are, and the last number."""
    tables = ("data_.t_1", "core.batch", "core.outbox", "core.reject")
    counts = [service.scalar(f"SELECT count(*) FROM {table}") for table in tables]
    return (*counts, service.scalar("SELECT last_seq FROM core.dataset"))


def test_a_batch_and_what_it_leaves_behind(service):
    """Rows, ledger, message, event and numbers agree; the view shows the latest row of each key."""
    response = service.call("POST", ROWS, BODY, scope="ingest", X_Request_Id="trace-7", **CSV)
    batch = response.get_json()
    assert response.status_code == 201
    assert {
        name: batch[name] for name in ("dataset", "source", "state", "rows", "rejected", "first_seq", "last_seq")
    } == {
        "dataset": "shop",
        "source": "http",
        "state": "committed",
        "rows": 3,
        "rejected": 0,
        "first_seq": 1,
        "last_seq": 3,
    }
    assert _left_behind(service) == (3, 1, 1, 0, 3)
    assert service.scalar("SELECT string_agg(id || city, ' ' ORDER BY id) FROM data.shop") == "1Bern 2Chur"
    assert service.scalar("SELECT trace_id FROM core.batch") == "trace-7"
    with service.engine.connect() as connection:
        kind, body = connection.execute(sa.text("SELECT type, body FROM core.outbox")).one()
    assert messages.decode(kind, body) == messages.DataArrived("shop", batch["id"], 3)
    assert service.scalar("SELECT payload->>'id' FROM core.event WHERE kind = 'batch.committed'") == batch["id"]
    assert service.call("GET", f"/v1/datasets/shop/batches/{batch['id']}").get_json() == {**batch, "report": None}
    assert service.call("GET", "/v1/datasets/shop/batches").get_json()["items"] == [batch]
    assert service.call("GET", "/v1/datasets/shop").get_json()["rows"] == 3


@pytest.mark.parametrize("headers", [{}, {"Idempotency_Key": "a"}])
def test_the_same_body_again(service, headers):
    """It is the same batch, with 200; alone or eight at once, with a key or without."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: service.call("POST", ROWS, BODY, **CSV, **headers), range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({json.dumps(answer.get_json()) for answer in answers}) == 1
    again = service.call("POST", ROWS, BODY, **CSV, **headers)
    assert (again.status_code, again.get_json()) == (200, answers[0].get_json())
    assert _left_behind(service) == (3, 1, 1, 0, 3)


def _digest(body):
    return f"md5=:AAAA:, sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


def test_a_body_whose_hash_was_announced(service):
    """It is the same batch as without; another body under that hash is refused, also when the hash is known already."""
    refused = service.call("POST", ROWS, BODY, Content_Digest=_digest(b"other"), **CSV)
    assert (refused.status_code, refused.get_json()["error"]["code"]) == (400, "bad_request")
    assert _left_behind(service) == (0, 0, 0, 0, 0)
    first = service.call("POST", ROWS, BODY, Content_Digest=_digest(BODY), **CSV)
    assert first.status_code == 201
    for headers in ({}, {"Content_Digest": _digest(BODY)}, {"Content_Digest": "sha-256=:no:"}):
        again = service.call("POST", ROWS, BODY, scope="ingest", **CSV, **headers)
        assert (again.status_code, again.get_json()) == (200, first.get_json())
    other = service.call("POST", ROWS, BODY + b"3,,\n", Content_Digest=_digest(BODY), **CSV)
    assert (other.status_code, other.get_json()["error"]["code"]) == (400, "bad_request")
    assert _left_behind(service) == (3, 1, 1, 0, 3)


def test_a_key_with_another_body(service):
    """The key is refused for other rows; another caller's key, or another format of the same bytes, is not the same."""
    first = service.call("POST", ROWS, BODY, Idempotency_Key="a", **CSV)
    other = service.call("POST", ROWS, BODY + b"3,,\n", Idempotency_Key="a", **CSV)
    assert (other.status_code, other.get_json()["error"]["code"]) == (422, "key_reused")
    third = service.call("POST", ROWS, BODY, scope="ingest", Idempotency_Key="a", **CSV)
    assert third.status_code == 201
    assert third.get_json()["id"] != first.get_json()["id"]


@pytest.mark.parametrize("headers", [{}, {"Idempotency_Key": "a"}])
def test_a_refused_batch_can_be_sent_again(service, headers):
    """It is refused again in the same words, and taken once it is corrected, with the same key."""
    bad = b"id,city\n1,a\nx,b\n"
    first = service.call("POST", ROWS, bad, **CSV, **headers)
    again = service.call("POST", ROWS, bad, **CSV, **headers)
    assert first.status_code == again.status_code == 422
    assert first.get_json() == again.get_json()
    assert service.call("POST", ROWS, b"id,city\n1,a\n2,b\n", **CSV, **headers).status_code == 201


def test_some_rejected(service):
    """With 5 % rejected the others are stored and the problems listed; with more nothing is."""
    body = b"id,age\n" + b"".join(b"%d,%d\n" % (n, n) for n in range(19)) + b"x,y\n"
    response = service.call("POST", ROWS, body, **CSV)
    batch = response.get_json()
    assert (response.status_code, batch["rows"], batch["rejected"], batch["last_seq"]) == (201, 19, 1, 19)
    path = f"/v1/datasets/shop/batches/{batch['id']}/rejects"
    first = service.call("GET", f"{path}?limit=1").get_json()
    assert [(p["row"], p["column"], p["got"]) for p in first["items"]] == [(20, "id", "x")]
    second = service.call("GET", f"{path}?limit=1&cursor={first['next_cursor']}").get_json()
    assert [(p["row"], p["column"]) for p in second["items"]] == [(20, "age")]
    assert second["next_cursor"] is None

    refused = service.call("POST", ROWS, body + b"z,1\n", **CSV)
    error = refused.get_json()["error"]
    assert (refused.status_code, error["code"], len(error["details"])) == (422, "invalid_rows", 3)
    assert _left_behind(service)[:2] == (19, 1)


def test_first_hundred_details(service):
    """A refusal of very many rows lists a hundred problems."""
    response = service.call("POST", ROWS, b"id\n" + b"x\n" * 20_000, **CSV)
    assert len(response.get_json()["error"]["details"]) == 100


def test_a_row_that_is_too_wide_for_the_database(service):
    """Many small texts can be more than a page holds: that is the caller's row, not our fault."""
    columns = [{"name": f"t{n}", "type": "text"} for n in range(900)]
    service.call("PUT", "/v1/datasets/wide", {"columns": columns})
    row = {f"t{n}": "0123456789" for n in range(900)}
    response = service.call("POST", "/v1/datasets/wide/rows", [row])
    assert (response.status_code, response.get_json()["error"]["code"]) == (422, "invalid_rows")
    assert "too big" in response.get_json()["error"]["message"]


def test_as_many_columns_as_there_may_be(service):
    """A table of 1,500 columns is made, filled, reported on and read, as long as a row fits into a page."""
    names = [f"c{n}" for n in range(MAX_COLUMNS)]
    columns = [{"name": name, "type": "int" if n < 700 else "bool"} for n, name in enumerate(names)]
    assert service.call("PUT", "/v1/datasets/wide", {"columns": columns}).status_code == 201
    line = ",".join("7" if n < 700 else "t" for n in range(MAX_COLUMNS))
    body = f"{','.join(names)}\n{line}\n{line}\n"
    assert service.call("POST", "/v1/datasets/wide/rows", body, **CSV).get_json()["rows"] == 2
    keeping = PostgresKeeping(service.engine)
    while keeping.take_report():
        pass
    profile = service.call("GET", "/v1/datasets/wide/profile").get_json()
    assert (profile["reported"], len(profile["columns"]), profile["columns"][0]["max"]) == (1, MAX_COLUMNS, 7)
    dataset = service.scalar("SELECT id FROM core.dataset WHERE name = 'wide'")
    snapshot = PostgresSnapshots(service.engine).read(dataset, 2)
    assert (snapshot.rows, len(snapshot.columns), float(snapshot.columns["c1499"][1])) == (2, MAX_COLUMNS, 1.0)


def test_infer_then_create_then_send(service):
    """What is inferred from a sample can be put as it is, twice, and takes the sample."""
    sample = b"flight,dep,late,at\nAA1,517,true,2013-01-01T05:00:00Z\nUA2,,false,2013-01-01T06:00:00Z\n"
    columns = service.call("POST", "/v1/datasets/flights/infer", sample, **CSV).get_json()
    types = [(c["name"], c["type"]) for c in columns["columns"]]
    assert types == [("flight", "category"), ("dep", "int"), ("late", "bool"), ("at", "timestamp")]
    assert service.call("PUT", "/v1/datasets/flights", columns).status_code == 201
    assert service.call("PUT", "/v1/datasets/flights", columns).status_code == 200
    assert service.call("POST", "/v1/datasets/flights/rows", sample, **CSV).get_json()["rows"] == 2
    listed = service.call("GET", "/v1/datasets?limit=1").get_json()
    assert ([d["name"] for d in listed["items"]], listed["next_cursor"]) == (["flights"], "flights")
    assert service.call("DELETE", "/v1/datasets/flights").status_code == 204
    assert service.call("GET", "/v1/datasets/flights").status_code == 404
    assert service.scalar("SELECT to_regclass('data.flights') IS NULL AND to_regclass('data_.t_2') IS NULL")


def test_a_large_body_is_not_held_in_memory(service):
    """Rows go to the database while the body is still being read."""
    seen = threading.Event()

    class Body(io.RawIOBase):
        """A header, then rows until the database has begun to take them."""

        def __init__(self):
            self.rows = 0
            self.rest = b"id\n"

        def readable(self):
            return True

        def readinto(self, buffer):
            if not self.rest and self.rows < 4_000_000 and not seen.is_set():
                if service.scalar("SELECT count(*) FROM pg_stat_progress_copy WHERE tuples_processed > 0"):
                    seen.set()
                self.rest = b"".join(b"%d\n" % n for n in range(self.rows, self.rows + 20_000))
                self.rows += 20_000
            piece, self.rest = self.rest[: len(buffer)], self.rest[len(buffer) :]
            buffer[: len(piece)] = piece
            return len(piece)

    response = service.app.test_client().post(
        ROWS,
        headers={"Authorization": f"Bearer {service.keys['ingest']}", "Content-Type": "text/csv"},
        environ_overrides={"wsgi.input": Body(), "wsgi.input_terminated": True},
    )
    assert response.status_code == 201, response.get_json()
    assert seen.is_set()


@pytest.mark.parametrize("point", ["K3", "K4", "K5", "K6", "K7"])
def test_a_failure_leaves_nothing(service, point):
    """Whatever breaks before COMMIT, nothing is stored; the caller is told to come again, and then it works."""
    crashpoints.arm({"CHAOS": f"{point}:error", "TRAINYARD_ENV": "test"})
    try:
        broken = service.call("POST", ROWS, BODY, **CSV)
        assert (broken.status_code, broken.headers["Retry-After"]) == (503, "1")
        assert _left_behind(service) == (0, 0, 0, 0, 0)
    finally:
        crashpoints.arm({})
    assert service.call("POST", ROWS, BODY, **CSV).status_code == 201
    assert _left_behind(service) == (3, 1, 1, 0, 3)


def test_dataset_deleted_before_rows_are_numbered(service):
    """The upload is told that the dataset is gone; nothing is stored."""
    service.execute("DELETE FROM core.model")
    dataset = service.warehouse.dataset("shop")

    service.warehouse.delete("shop", actor="k")
    with pytest.raises(ServiceError) as refused:
        service.warehouse.load(dataset, Rows(("id",), iter([b"1\n"])), lambda: Intake("http", "k", "f", "b"))
    assert refused.value.code == "unknown_dataset"


def test_database_killed_while_rows_arrive(tmp_path):
    """kill -9 of Postgres breaks the upload with an error that says to come again; restarted, it has nothing of it."""
    server = PostgresServer(tmp_path)
    server.start()
    migrate(server.url())
    engine = make_engine(server.url(), service="test")
    warehouse = PostgresWarehouse(engine, SystemClock())
    dataset, _ = warehouse.create("shop", Schema([Column("id", "int")]), actor="k")

    server.execute("CHECKPOINT")  # this server's commits do not wait for the disk

    def chunks():
        yield b"1\n"
        server.kill()
        yield from (b"2\n" * 5_000 for _ in range(2_000))

    def intake():
        return Intake("http", "k", "f", "b")

    with pytest.raises(TransientError):
        warehouse.load(dataset, Rows(("id",), chunks()), intake)
    server.start()
    assert warehouse.dataset("shop").last_seq == 0
    assert warehouse.load(dataset, Rows(("id",), iter([b"1\n"])), intake).batch.last_seq == 1
    engine.dispose()
    server.stop()
