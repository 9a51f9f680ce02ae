"""Datasets over HTTP and a real Postgres: changed, erased, reported on."""

from __future__ import annotations

import threading
import time

import psycopg2
import pytest
from tests.integration.ingest.conftest import COLUMNS, Service

from trainyard.adapters.postgres.doctor import PostgresDatabase
from trainyard.adapters.postgres.keeping import PostgresKeeping, report

CSV = {"Content_Type": "text/csv"}
_HOME = "/v1/datasets/shoppers"


def _put(service, columns, **more):
    return service.call("PUT", _HOME, {"columns": columns, **more})


def _with(**changes):
    """Return the columns with fields of some of them replaced."""
    return [{**column, **changes.get(column["name"], {})} for column in COLUMNS]


@pytest.fixture
def shoppers(service):
    """A dataset, the second of this database, with two batches."""
    assert _put(service, COLUMNS).status_code == 201
    for body in ("id,age,city\n1,30,A\n2,40,B\n", "id,age,city\n2,41,B\n3,,A\n"):
        assert service.call("POST", f"{_HOME}/rows", body, **CSV).status_code == 201
    return service


def test_settings(service):
    """Settings come back as they were given, with defaults for the rest; what cannot be is named and makes nothing."""
    refused = _put(service, COLUMNS, settings={"retention_days": 0, "colour": "red", "new_columns": "maybe"})
    assert refused.status_code == 400
    assert {d["column"] for d in refused.json["error"]["details"]} == {
        "settings.retention_days",
        "settings.colour",
        "settings.new_columns",
    }
    assert _put(service, COLUMNS, settings=None).status_code == 400
    assert service.call("GET", _HOME).status_code == 404
    made = _put(service, COLUMNS, settings={"new_columns": "add"})
    assert (made.status_code, made.json["settings"]) == (
        201,
        {"max_rejected_share": 0.05, "new_columns": "add", "retention_days": None},
    )
    changed = _put(service, COLUMNS, settings={"retention_days": 30})
    assert changed.status_code == 200
    assert changed.json["settings"] == {"max_rejected_share": 0.05, "new_columns": "add", "retention_days": 30}
    assert service.call("GET", _HOME).json == changed.json == _put(service, COLUMNS).json
    assert service.scalar("SELECT count(*) FROM core.audit WHERE action = 'dataset.settings'") == 1


def test_evolution_is_recorded(shoppers):
    """A change of columns leaves both revisions, an entry of the audit log and an event; the same again nothing."""
    wanted = [{"name": "note", "type": "text"}, *_with(age={"type": "float"}, day={"type": "timestamp"})]
    changed = _put(shoppers, wanted)
    assert (changed.status_code, changed.json["revision"]) == (200, 2)
    assert [column["name"] for column in changed.json["columns"]][-1] == "note"
    assert _put(shoppers, wanted).json == changed.json
    assert shoppers.scalar("SELECT jsonb_agg(changes ORDER BY revision) FROM core.dataset_revision") == [
        [],
        [
            {"column": "age", "change": "type int became float"},
            {"column": "day", "change": "type date became timestamp"},
            {"column": "note", "change": "added as text"},
        ],
    ]
    assert shoppers.scalar("SELECT count(*) FROM core.audit WHERE action = 'dataset.evolve'") == 1
    assert shoppers.scalar("SELECT count(*) FROM core.event WHERE kind = 'dataset.evolved'") == 1
    assert shoppers.scalar("SELECT string_agg(age::text, ' ' ORDER BY id) FROM data.shoppers") == "30 41"
    posted = shoppers.call("POST", f"{_HOME}/rows", "id,note,age\n9,new,1.5\n", **CSV)
    assert posted.status_code == 201, posted.json


def test_narrowing(shoppers):
    """A narrower column is refused with 422 by name; nothing is changed."""
    before = shoppers.call("GET", _HOME).json
    refused = _put(shoppers, _with(age={"type": "bool"})[:-1])
    assert (refused.status_code, refused.json["error"]["code"]) == (422, "narrowing")
    assert [d["column"] for d in refused.json["error"]["details"]] == ["age", "bought"]
    assert shoppers.call("GET", _HOME).json == before


def test_long_reader_in_the_way(shoppers):
    """While somebody reads the table for long, a change of columns gives up within seconds and asks to come again."""
    with shoppers.engine.connect() as reader, reader.begin():
        reader.exec_driver_sql("SELECT count(*) FROM data.shoppers")
        began = time.monotonic()
        refused = _put(shoppers, [*COLUMNS, {"name": "note", "type": "text"}])
        assert time.monotonic() - began < 30  # not for as long as the reader stays
        assert (refused.status_code, refused.json["error"]["code"]) == (503, "unavailable")
        assert refused.headers["Retry-After"] == "1"
        assert _put(shoppers, COLUMNS).status_code == 200  # what changes nothing waits for nobody
        assert _put(shoppers, COLUMNS, settings={"retention_days": 9}).status_code == 200
    assert shoppers.call("GET", _HOME).json["revision"] == 1
    assert _put(shoppers, [*COLUMNS, {"name": "note", "type": "text"}]).status_code == 200


def test_view_on_the_view(shoppers):
    """A type is not changed under a view that somebody built on the dataset's; the answer says so."""
    shoppers.execute("CREATE VIEW public.mine AS SELECT age FROM data.shoppers")
    refused = _put(shoppers, _with(age={"type": "float"}))
    assert (refused.status_code, refused.json["error"]["code"]) == (409, "in_use")
    assert _put(shoppers, [*COLUMNS, {"name": "note", "type": "text"}]).status_code == 200


def test_evolution_while_rows_come(shoppers):
    """Batches and changes of columns that come at once do not hinder each other: all rows are stored, once."""
    answers = []

    def push(number):
        for batch in range(5):
            body = f"id,age\n{number}{batch},1\n"
            answers.append(shoppers.call("POST", f"{_HOME}/rows", body, **CSV).status_code)

    pushers = [threading.Thread(target=push, args=(number,)) for number in range(3)]
    for pusher in pushers:
        pusher.start()
    columns = list(COLUMNS)
    for number in range(5):
        columns.append({"name": f"more{number}", "type": "int"})
        assert _put(shoppers, columns).status_code == 200
    for pusher in pushers:
        pusher.join()
    assert answers == [201] * 15
    assert shoppers.call("GET", _HOME).json["rows"] == 19
    assert shoppers.scalar("SELECT count(*) FROM data_.t_2") == 19


def test_erase(shoppers):
    """An erasure tells what it removed, leaves a tombstone that names nobody, is audited, and counts in the ledger."""
    answer = shoppers.call("DELETE", f"{_HOME}/rows?key=2")
    assert answer.status_code == 200
    assert {**answer.json, "erasure_id": ""} == {"erased_rows": 2, "erasure_id": "", "not_reproducible": []}
    stone = "SELECT kind || rows || first_seq || last_seq || upto_seq || length(key_sha256) FROM core.erasure"
    assert shoppers.scalar(stone) == "key2" + "2" + "3" + "4" + "64"
    assert shoppers.scalar("SELECT string_agg(removed_count::text, ' ') FROM core.batch") == "1 1"
    assert shoppers.scalar("SELECT count(checksum) FROM core.batch") == 0
    assert shoppers.scalar("SELECT details FROM core.audit WHERE action = 'dataset.erase'") == answer.json
    assert shoppers.call("GET", _HOME).json["rows"] == 2
    again = shoppers.call("DELETE", f"{_HOME}/rows?key=2")
    assert again.json["erased_rows"] == 0
    assert shoppers.scalar("SELECT count(*) FROM core.erasure") == 2


def test_erase_once(shoppers):
    """The same Idempotency-Key gives the first answer; with another key of rows it is refused."""
    first = shoppers.call("DELETE", f"{_HOME}/rows?key=2", Idempotency_Key="k")
    assert first.json["erased_rows"] == 2
    assert shoppers.call("DELETE", f"{_HOME}/rows?key=2", Idempotency_Key="k").json == first.json
    other = shoppers.call("DELETE", f"{_HOME}/rows?key=1", Idempotency_Key="k")
    assert (other.status_code, other.json["error"]["code"]) == (422, "key_reused")
    assert shoppers.scalar("SELECT count(*) FROM core.erasure") == 1


@pytest.mark.parametrize("query", ["", "?key=", "?key=x", "?key=1.5", "?key=%7B%22id%22%3A1%7D", "?keys=1"])
def test_no_key(shoppers, query):
    """What cannot be a key of the dataset is refused, and nothing is erased."""
    refused = shoppers.call("DELETE", f"{_HOME}/rows{query}")
    assert (refused.status_code, refused.json["error"]["code"]) == (400, "bad_request")
    assert shoppers.call("GET", _HOME).json["rows"] == 4


def test_erase_by_several_columns(service):
    """A key of several columns is a JSON object with all of them."""
    columns = [{"name": "shop", "type": "text", "role": "key"}, {"name": "day", "type": "date", "role": "key"}]
    assert _put(service, columns).status_code == 201
    body = "shop,day\nA,2024-01-01\nA,2024-01-02\n,2024-01-02\n"
    assert service.call("POST", f"{_HOME}/rows", body, **CSV).status_code == 201
    for wrong in (
        '{"shop":"A"}',
        '{"shop":"A","day":null}',
        '{"shop":"A","day":"x"}',
        "A",
        "[1]",
        '{"shop":1,"day":2}',
    ):
        assert service.call("DELETE", f"{_HOME}/rows?key={wrong}").status_code == 400
    answer = service.call("DELETE", f'{_HOME}/rows?key={{"shop":"A","day":"2024-01-02"}}')
    assert answer.json["erased_rows"] == 1


def test_erase_needs_admin_and_a_key(service):
    """Only admins erase, and only where rows have a key."""
    assert _put(service, [{"name": "a", "type": "int"}]).status_code == 201
    assert service.call("DELETE", f"{_HOME}/rows?key=1", scope="operate").status_code == 403
    assert service.call("DELETE", f"{_HOME}/rows?key=1").status_code == 400
    assert service.call("DELETE", "/v1/datasets/none/rows?key=1").status_code == 404


def test_report_and_profile(shoppers):
    """A batch shows its report once it was made; the profile joins them."""
    batches = shoppers.call("GET", f"{_HOME}/batches").json["items"]
    newest = f"{_HOME}/batches/{batches[0]['id']}"
    assert shoppers.call("GET", newest).json["report"] is None
    assert shoppers.call("GET", f"{_HOME}/profile").json["newest"] is None
    keeping = PostgresKeeping(shoppers.engine)
    while keeping.take_report():
        pass
    found = shoppers.call("GET", newest).json["report"]
    assert found["duplicates"] == {"rows": 0, "keys": 0, "known_keys": 1}
    assert found["checksum"] == shoppers.scalar(
        "SELECT sum(hash_record_extended(ROW(c1, c2, c3, c4, c5, c6, c7), 0))::text FROM data_.t_2 WHERE ingest_seq > 2"
    )
    profile = shoppers.call("GET", f"{_HOME}/profile").json
    assert (profile["rows"], profile["reported"], profile["newest"]["batch"]) == (4, 2, batches[0]["id"])
    columns = {c["name"]: c for c in profile["columns"]}
    assert columns["city"]["levels"] == 2
    assert sum(one["rows"] for one in columns["city"]["top"]) == 4 - columns["city"]["nulls"]
    assert sum(columns["id"]["histogram"]["counts"]) == 4
    some = shoppers.call("GET", f"{_HOME}/profile?batches=1").json
    assert (some["batches"], some["merged"], some["newest"]["batch"]) == (2, 1, batches[0]["id"])
    assert shoppers.call("GET", f"{_HOME}/profile?batches=0").status_code == 400
    quality = shoppers.call("GET", f"{_HOME}/quality?limit=1").json
    assert (quality["items"][0]["batch"], quality["next_cursor"]) == (batches[0]["id"], batches[0]["id"])
    assert shoppers.call("GET", f"{_HOME}/quality?cursor={batches[1]['id']}").json["items"] == []
    assert shoppers.call("GET", f"{_HOME}/quality?cursor=x").status_code == 400


def test_report_of_rows_that_change_meanwhile(shoppers, monkeypatch):
    """A report of rows that were erased while it was made is thrown away and made again."""
    look, keeping = report.Examiner.examine, PostgresKeeping(shoppers.engine)

    def erase_first(self):
        found = look(self)
        monkeypatch.undo()
        assert shoppers.call("DELETE", f"{_HOME}/rows?key=1").json["erased_rows"] == 1
        return found

    monkeypatch.setattr(report.Examiner, "examine", erase_first)
    assert keeping.take_report()
    assert shoppers.scalar("SELECT count(*) FROM core.batch WHERE reported_at IS NOT NULL") == 0
    while keeping.take_report():
        pass
    assert shoppers.scalar("SELECT sum(CAST(report ->> 'rows' AS int)) FROM core.batch") == 3


@pytest.mark.parametrize("step", ["examine", "checksum"])
def test_dataset_deleted_while_its_report_is_made(shoppers, monkeypatch, step):
    """The report is given up, and the loop goes on with other datasets."""
    look, keeping = getattr(report.Examiner, step), PostgresKeeping(shoppers.engine)

    def delete_first(self):
        monkeypatch.undo()
        assert shoppers.call("DELETE", _HOME).status_code == 204
        return look(self)

    monkeypatch.setattr(report.Examiner, step, delete_first)
    keeping.take_report()
    assert (keeping.take_report(), keeping.expire()) == (False, 0)
    assert shoppers.scalar("SELECT count(*) FROM core.level") == 0


def test_dataset_deleted_while_its_rows_expire(shoppers, monkeypatch):
    """A dataset that is deleted between two looks is left alone."""
    from trainyard.adapters.postgres.keeping import retention  # noqa: PLC0415

    _put(shoppers, COLUMNS, settings={"retention_days": 1e-9})
    look = retention._oldest

    def delete_first(*arguments):
        monkeypatch.undo()
        assert shoppers.call("DELETE", _HOME).status_code == 204
        return look(*arguments)

    monkeypatch.setattr(retention, "_oldest", delete_first)
    assert PostgresKeeping(shoppers.engine).expire() == 0


def test_one_report_at_a_time(shoppers):
    """Two workers do not make the same report: one leaves it to the other."""
    with psycopg2.connect(shoppers.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)) as c:
        c.cursor().execute("SELECT pg_advisory_lock(7214881, 2)")
        assert PostgresKeeping(shoppers.engine).take_report() is False
        c.cursor().execute("SELECT pg_advisory_unlock(7214881, 2)")  # a closed session keeps it for a moment
    c.close()
    assert PostgresKeeping(shoppers.engine).take_report() is True


def test_keys_that_are_not_looked_for(shoppers, monkeypatch):
    """A small batch does not make the report read a large table: it says that known keys were not counted."""
    monkeypatch.setattr(report, "_SEARCHED_ROWS", 1)
    monkeypatch.setattr(report, "_SEARCHED_TIMES", 0.5)
    keeping = PostgresKeeping(shoppers.engine)
    while keeping.take_report():
        pass
    batches = shoppers.warehouse.batches(shoppers.warehouse.dataset("shoppers"), limit=2)
    newest, oldest = (keeping.report(batch.id) for batch in batches)
    assert (newest["duplicates"]["known_keys"], newest["unanswered"]) == (None, ["known keys"])
    assert (oldest["duplicates"]["known_keys"], oldest["unanswered"]) == (0, [])


def test_sampled_report(shoppers, monkeypatch):
    """Of a very large batch a part is looked at, and the report says so; rows and checksum are of all."""
    monkeypatch.setattr(report, "SAMPLED_OVER_ROWS", 1_000)
    monkeypatch.setattr(report, "_SAMPLE_PLACES", 10)
    monkeypatch.setattr(report, "_SAMPLE_ROWS_EACH", 20)
    monkeypatch.setattr(report, "_CHECKSUM_ROWS_AT_ONCE", 300)
    body = "id,age\n" + "".join(f"{n},{n}\n" for n in range(2_000))
    ident = shoppers.call("POST", f"{_HOME}/rows", body, **CSV).json["id"]
    keeping = PostgresKeeping(shoppers.engine)
    while keeping.take_report():
        pass
    found = keeping.report(ident)
    assert (found["rows"], found["seen"], found["sampled"]) == (2_000, 200, True)
    assert found["duplicates"] == {"rows": None, "keys": None, "known_keys": None}
    whole = (
        "SELECT sum(hash_record_extended(ROW(c1, c2, c3, c4, c5, c6, c7), 0))::text FROM data_.t_2 WHERE ingest_seq > 4"
    )
    assert found["checksum"] == shoppers.scalar(whole)


def test_share_of_rejects(service):
    """A batch is refused over the share that its dataset takes, to the row."""
    body = "id\n" + "".join(f"{n}\n" for n in range(71)) + "x\n" * 29
    assert _put(service, COLUMNS, settings={"max_rejected_share": 0.29}).status_code == 201
    assert service.call("POST", f"{_HOME}/rows", body, **CSV).json["rejected"] == 29
    _put(service, COLUMNS, settings={"max_rejected_share": 0.28})
    refused = service.call("POST", f"{_HOME}/rows", body + "\n", **CSV)
    assert (refused.status_code, refused.json["error"]["code"]) == (422, "invalid_rows")
    assert "29 of 100 rows do not fit the schema, more than 28 %" in refused.json["error"]["message"]
    _put(service, COLUMNS, settings={"max_rejected_share": 0})
    assert service.call("POST", f"{_HOME}/rows", "id\n7\n8\n", **CSV).status_code == 201


def test_the_rights_of_ingest_suffice(shoppers, database_url):
    """The service does all of this in its role, which may change rows and records and no table."""
    member = Service(database_url)
    assert _put(member, _with(age={"type": "float"}), settings={"retention_days": 1}).json["revision"] == 2
    assert member.call("POST", f"{_HOME}/rows", "id,age\n8,1.5\n", **CSV).status_code == 201
    keeping = PostgresKeeping(member.own_engine)
    while keeping.take_report():
        pass
    assert member.call("DELETE", f"{_HOME}/rows?key=2").json["erased_rows"] == 2
    shoppers.execute("UPDATE core.batch SET created_at = created_at - interval '2 days'")
    assert keeping.expire() == 3
    assert member.call("GET", f"{_HOME}/profile").json["rows"] == 0
    assert member.call("PUT", "/v1/datasets/fresh", {"columns": COLUMNS}).status_code == 201
    assert member.call("DELETE", "/v1/datasets/fresh").status_code == 204
    member.close()


def test_the_doctor_agrees_at_every_moment(shoppers):
    """Through reports, erasure, evolution and retention the ledger is what the rows are."""
    keeping, database = PostgresKeeping(shoppers.engine), PostgresDatabase(shoppers.engine)

    def agrees(*, waiting):
        looked = database.ledger(None)
        assert (looked.gaps, looked.strays) == ([], [])
        assert sum(one.batches for one in looked.unsummed) == waiting

    def report():
        while keeping.take_report():
            pass

    agrees(waiting=2)
    report()
    agrees(waiting=0)
    shoppers.call("DELETE", f"{_HOME}/rows?key=1")
    agrees(waiting=1)
    report()
    _put(shoppers, [*COLUMNS, {"name": "note", "type": "text"}])
    agrees(waiting=0)  # checksums are of the columns of their time
    shoppers.call("POST", f"{_HOME}/rows", "id,note\n9,x\n", **CSV)
    report()
    agrees(waiting=0)
    _put(shoppers, [*_with(age={"type": "float"}), {"name": "note", "type": "text"}])
    agrees(waiting=3)
    report()
    _put(shoppers, [*_with(age={"type": "float"}), {"name": "note", "type": "text"}], settings={"retention_days": 1})
    shoppers.execute("UPDATE core.batch SET created_at = created_at - interval '2 days' WHERE first_seq < 5")
    assert keeping.expire() == 3
    agrees(waiting=2)
    report()
    agrees(waiting=0)
    assert shoppers.call("GET", _HOME).json["rows"] == 1
