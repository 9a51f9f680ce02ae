"""The ledger over HTTP: batches by state, on their way in, by id alone; rejected rows as pages and as files."""

from __future__ import annotations

import csv
import io
import json
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from trainyard.clock import SystemClock
from trainyard.contracts.loading import Origins
from trainyard_ingest.domain import formats
from trainyard_ingest.use_cases.intake import Origin, RowIntake

ROWS = "/v1/datasets/shop/rows"
BATCHES = "/v1/datasets/shop/batches"
CSV = {"Content_Type": "text/csv"}


@pytest.fixture
def on_its_way(service):
    """A batch on its way in, and its line."""
    ident = str(uuid.uuid4())
    line = service.board.begin(ident, service.warehouse.dataset("shop"), Origins("http", "k", "trace-7", 1000))
    line.touch("waiting", 500, 12)
    return ident, line


def test_a_batch_on_its_way_in(service, on_its_way):
    """It is found like any batch, with its progress, and gone when it ends without being stored."""
    ident, line = on_its_way
    (listed,) = service.call("GET", f"{BATCHES}?state=loading").get_json()["items"]
    assert (listed["id"], listed["state"], listed["trace_id"]) == (ident, "loading", "trace-7")
    progress = listed["progress"]
    assert (progress["stage"], progress["bytes_done"], progress["bytes_total"], progress["rows_done"]) == (
        "waiting",
        500,
        1000,
        12,
    )
    assert progress["started_at"] == listed["created_at"]
    for path in (f"{BATCHES}/{ident}", f"/v1/batches/{ident}"):
        assert service.call("GET", path).get_json() == listed
    assert service.call("GET", BATCHES).get_json()["items"] == []
    line.end()
    assert service.call("GET", f"{BATCHES}/{ident}").get_json()["error"]["code"] == "unknown_batch"
    assert service.call("GET", f"/v1/batches/{ident}").status_code == 404


class Paused:
    """A body that gives its last line only when somebody has looked."""

    def __init__(self, body: bytes, last: bytes) -> None:
        self._body = io.BytesIO(body)
        self._last = last
        self.looked = threading.Event()

    def read(self, size: int) -> bytes:
        """Return the next bytes."""
        block = self._body.read(size)
        if block or not self._last:
            return block
        assert self.looked.wait(60)
        block, self._last = self._last, b""
        return block


def test_a_real_load_is_seen_from_outside(service):
    """While the body of a batch arrives, others see how much came and how many rows were checked."""
    body = b"id\n" + b"".join(b"%d\n" % number for number in range(600_000))
    stream = Paused(body, b"7\n")
    intake = RowIntake(service.warehouse, SystemClock(), board=service.board)
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(
            intake.take, "shop", stream, formats.CSV, Origin("http", "k", None, "trace-9", len(body) + 2)
        )
        try:
            while not (found := service.call("GET", f"{BATCHES}?state=loading").get_json()["items"]):
                assert not sent.done()
        finally:
            stream.looked.set()
        batch = sent.result().batch
    assert (found[0]["id"], found[0]["trace_id"], batch.rows) == (batch.id, "trace-9", 600_001)
    assert found[0]["progress"]["bytes_total"] == len(body) + 2
    assert found[0]["progress"]["bytes_done"] >= 1 << 20
    assert service.call("GET", f"{BATCHES}?state=loading").get_json()["items"] == []


def test_batches_in_one_state(service):
    """Committed and refused ones apart; a state that is none is refused by name, a cursor where there are no pages."""
    batch = service.call("POST", ROWS, b"id\n1\n", **CSV).get_json()
    for state, expected in (("committed", [batch["id"]]), ("refused", []), ("loading", [])):
        answer = service.call("GET", f"{BATCHES}?state={state}").get_json()
        assert [one["id"] for one in answer["items"]] == expected
    refused = service.call("GET", f"{BATCHES}?state=done")
    assert (refused.status_code, refused.get_json()["error"]["details"][0]["column"]) == (400, "state")
    assert service.call("GET", f"{BATCHES}?state=loading&cursor=x").status_code == 400


def test_a_batch_by_its_id_alone(service):
    """The answer is that of the dataset's own route; an id that nobody has is unknown; it takes the scope to read."""
    batch = service.call("POST", ROWS, b"id\n1\n", **CSV).get_json()
    answer = service.call("GET", f"/v1/batches/{batch['id']}", scope="read").get_json()
    assert answer == service.call("GET", f"{BATCHES}/{batch['id']}").get_json() == {**batch, "report": None}
    assert service.call("GET", "/v1/batches/x").get_json()["error"]["code"] == "unknown_batch"
    assert service.call("GET", f"/v1/batches/{batch['id']}", scope="ingest").status_code == 403


def test_another_datasets_batch_is_not_ones_own(service, on_its_way):
    """A batch on its way into one dataset is unknown to the others."""
    service.call("PUT", "/v1/datasets/other", {"columns": [{"name": "id", "type": "int"}]})
    assert service.call("GET", f"/v1/datasets/other/batches/{on_its_way[0]}").status_code == 404


@pytest.fixture
def lossy(service):
    """The path of the rejects of a batch that lost 1,500 of its rows, some with formulas in them."""
    good = b"".join(b"%d,1\n" % number for number in range(30_000))
    bad = b"".join(b"%d,=HYPERLINK(%d)\n" % (number, number) for number in range(1_500))
    batch = service.call("POST", ROWS, b"id,age\n" + good + bad, **CSV).get_json()
    assert batch["rejected"] == 1_500
    return f"{BATCHES}/{batch['id']}/rejects"


def test_rejects_as_csv(service, lossy):
    """All of them, in order, as a file of a fitting name, without a formula."""
    answer = service.call("GET", lossy, Accept="text/csv")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="rejects-')
    rows = list(csv.DictReader(io.StringIO(answer.get_data(as_text=True), newline="")))
    assert [int(row["row"]) for row in rows] == list(range(30_001, 31_501))
    assert {row["column"] for row in rows} == {"age"}
    assert all(row["got"].startswith("'=HYPERLINK") for row in rows)


def test_rejects_as_ndjson(service, lossy):
    """The same list, each problem as in the pages."""
    answer = service.call("GET", lossy, Accept="application/x-ndjson")
    lines = [json.loads(line) for line in answer.get_data(as_text=True).splitlines()]
    assert len(lines) == 1_500
    assert lines[:1000] == service.call("GET", f"{lossy}?limit=1000").get_json()["items"]


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html", ""])
def test_rejects_are_pages_for_everybody_else(service, lossy, accept):
    """Only who asks for a file gets one."""
    answer = service.call("GET", f"{lossy}?limit=2", Accept=accept)
    assert answer.headers["Content-Type"] == "application/json"
    assert len(answer.get_json()["items"]) == 2


def test_no_rejects_as_files(service):
    """A batch that lost nothing gives a header, or nothing."""
    batch = service.call("POST", ROWS, b"id\n1\n", **CSV).get_json()
    path = f"{BATCHES}/{batch['id']}/rejects"
    assert service.call("GET", path, Accept="text/csv").get_data() == b"row,column,expected,got\r\n"
    assert service.call("GET", path, Accept="application/x-ndjson").get_data() == b""
    assert service.call("GET", f"{BATCHES}/x/rejects", Accept="text/csv").status_code == 404
