"""`trainyard ingest`, `batches` and `rejects` against a fake service."""

from __future__ import annotations

import gzip
import io
import json
import os
import threading

import pytest
import requests
from fake_api import error, page

from trainyard_client.cli.exits import Exit

BATCH = {
    "id": "b1",
    "dataset": "shop",
    "source": "http",
    "source_name": "k",
    "state": "committed",
    "rows": 2,
    "rejected": 0,
    "last_seq": 2,
    "created_at": "2026-01-01T00:00:00+00:00",
}
LOADING = {
    **BATCH,
    "id": "b2",
    "state": "loading",
    "rows": 0,
    "progress": {"stage": "loading", "bytes_done": 50, "bytes_total": 200, "rows_done": 1234, "started_at": "x"},
}
ROWS = "/v1/datasets/shop/rows"
PROBLEMS = [{"row": n, "column": "age", "expected": "a whole number", "got": "old"} for n in range(1, 23)]


@pytest.fixture
def csv(tmp_path):
    """A file of one row."""
    file = tmp_path / "a.csv"
    file.write_text("id\n1\n")
    return str(file)


def test_ingest_streams_files_with_their_type(api, trainyard, tmp_path):
    """Each file is one upload with its own content type and length; one with .gz behind it goes as it is."""
    files = {
        "a.csv": b"id\n1\n",
        "b.jsonl": b'{"id": 2}\n',
        "c.parquet": b"PAR1",
        "d.csv.gz": gzip.compress(b"id\n1\n"),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    api.on("POST", ROWS, (201, BATCH))
    done = trainyard("ingest", "shop", *(str(tmp_path / name) for name in files), "--json")
    assert (done.code, done.json) == (Exit.OK, [BATCH] * 4)
    kinds = ["text/csv", "application/x-ndjson", "application/vnd.apache.parquet", "text/csv"]
    assert [one.headers["Content-Type"] for one in api.asked] == kinds
    assert [one.headers.get("Content-Encoding") for one in api.asked] == [None, None, None, "gzip"]
    assert [one.body for one in api.asked] == list(files.values())
    assert [one.headers["Content-Length"] for one in api.asked] == [str(len(data)) for data in files.values()]


def test_ingest_sums_up(api, trainyard, csv):
    """The table has rows, losses, batch and pace, and where to look for the lost rows."""
    api.on("POST", ROWS, (201, {**BATCH, "rows": 9000, "rejected": 17}))
    done = trainyard("ingest", "shop", csv)
    assert (done.code, done.err) == (Exit.OK, "")
    for said in ("a.csv", "committed", "9000", "17", "b1", "trainyard rejects b1"):
        assert said in done.out


def test_a_file_that_is_there_already(api, trainyard, csv):
    """It is said, and it is no failure."""
    api.on("POST", ROWS, (200, {**BATCH, "rejected": 1}))
    done = trainyard("ingest", "shop", csv)
    assert done.code == Exit.OK
    assert "already ingested as batch b1" in done.err
    assert "already there" in done.out
    assert "trainyard rejects" not in done.out


@pytest.mark.parametrize("trouble", [(503, error("unavailable")), requests.ConnectionError()])
def test_a_file_is_sent_again_whole(api, trainyard, csv, clock, trouble):
    """What breaks off or is refused for a moment is repeated with pauses, from the file's start."""
    api.on("POST", ROWS, trouble, trouble, (201, BATCH))
    assert trainyard("ingest", "shop", csv).code == Exit.OK
    assert [one.body for one in api.asked] == [b"id\n1\n"] * 3
    assert len({one.headers["X-Request-Id"] for one in api.asked}) == 1
    assert 0 < clock.monotonic() < 10


def test_repeats_end(api, trainyard, csv):
    """A service that stays away is given up on."""
    api.on("POST", ROWS, requests.ConnectionError())
    assert trainyard("ingest", "shop", csv).code == Exit.UNREACHABLE
    assert len(api.asked) == 6


@pytest.mark.parametrize("trouble", [(503, error("unavailable")), requests.ConnectionError()])
def test_standard_input_is_sent_once(api, trainyard, monkeypatch, trouble):
    """It is streamed, with a format; when it breaks off, the message says that it cannot be repeated from here."""
    assert trainyard("ingest", "shop", "-").code == Exit.USAGE
    pipe = type("Pipe", (io.BytesIO,), {"seekable": lambda _: False})
    monkeypatch.setattr("sys.stdin", type("In", (), {"buffer": pipe(b"id\n1\n")}))
    api.on("POST", ROWS, trouble)
    done = trainyard("ingest", "shop", "-", "--format", "csv")
    assert done.code == Exit.UNREACHABLE
    assert "cannot be sent again" in done.err
    assert [one.body for one in api.asked] == [b"id\n1\n"]
    assert api.asked[0].headers["Transfer-Encoding"] == "chunked"


def test_a_refusal_shows_the_first_problems(api, trainyard, csv, tmp_path):
    """Rows and columns are a table, the rest is counted, the batches before it are told, and the next step is said."""
    (tmp_path / "b.csv").write_text("id\nx\n")
    api.on("POST", ROWS, (201, BATCH), (422, error("invalid_rows", "too many", PROBLEMS)))
    done = trainyard("ingest", "shop", csv, str(tmp_path / "b.csv"), csv)
    assert done.code == Exit.REFUSED
    assert "b1" in done.out
    assert done.err.count("a whole number") == 20
    assert "and 2 more" in done.err
    assert "send the file again" in done.err
    assert len(api.asked) == 2


def test_a_refusal_for_programs(api, trainyard, csv):
    """The details stay in the document."""
    api.on("POST", ROWS, (422, error("invalid_rows", "too many", PROBLEMS)))
    done = trainyard("ingest", "shop", csv, "--json")
    assert (done.code, done.out) == (Exit.REFUSED, "")
    assert json.loads(done.err)["error"]["details"] == PROBLEMS


@pytest.mark.parametrize(
    "line", ["a.txt", "a.parquet.gz", "missing.csv", "a.csv b.csv --key k", "a.csv --format yaml", "a.csv -"]
)
def test_what_cannot_be_sent_is_not_sent(api, trainyard, tmp_path, line):
    """Wrong use is told before anything leaves."""
    for name in ("a.txt", "a.csv", "b.csv", "a.parquet.gz"):
        (tmp_path / name).write_text("id\n1\n")
    words = [str(tmp_path / word) if "." in word else word for word in line.split()]
    assert trainyard("ingest", "shop", *words).code == Exit.USAGE
    assert api.asked == []


def test_a_key_lets_the_same_rows_in_again(api, trainyard, csv):
    """Without one the service knows rows by their content, with one by it."""
    api.on("POST", ROWS, (201, BATCH))
    trainyard("ingest", "shop", csv)
    trainyard("ingest", "shop", csv, "--key", "again")
    assert [one.headers.get("Idempotency-Key") for one in api.asked] == [None, "again"]


@pytest.mark.parametrize("key", ["", "日", "a\nb", "\udce9", "x" * 256])
def test_a_key_that_cannot_be_one_is_not_sent(api, trainyard, csv, key):
    """An empty one is none of the keys that let rows in again, and is not taken for "without a key"."""
    done = trainyard("ingest", "shop", csv, "--key", key)
    assert (done.code, api.asked) == (Exit.USAGE, [])
    assert "1 to 255 printable ASCII" in done.err


def test_a_pipe_with_a_name_is_sent_once_without_a_length(api, trainyard, tmp_path):
    """As a shell makes of ``<(zcat …)``: its size is told as 0, it cannot be read twice, and all of it arrives."""
    api.on("POST", ROWS, (201, BATCH))
    pipe = tmp_path / "rows.csv"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"id\n1\n",), daemon=True)
    writer.start()
    assert trainyard("ingest", "shop", str(pipe)).code == Exit.OK
    assert [(one.body, one.headers.get("Content-Length")) for one in api.asked] == [(b"id\n1\n", None)]


def test_batches_show_what_is_on_its_way_first(api, trainyard):
    """State, rows so far and age; programs get the batches as they are."""
    path = "/v1/datasets/shop/batches"
    api.on("GET", path, page(LOADING), page(BATCH), page(LOADING), page(BATCH))
    api.on("GET", path, page(BATCH), page(LOADING))
    out = trainyard("batches", "shop").out.splitlines()
    assert "loading: loading 25 %" in out[1]
    assert "1234" in out[1]
    assert "committed" in out[2]
    assert [one.query.get("state") for one in api.asked] == [None, "loading"]
    api.on("GET", path, page(BATCH))
    assert trainyard("batches", "shop", "--state", "refused", "--json").json == [BATCH]
    assert api.asked[-1].query["state"] == "refused"


def test_batches_watched_until_all_are_in(api, trainyard):
    """The command looks again while something is on its way, and then lists what came."""
    api.on("GET", "/v1/datasets/shop/batches", page(), page(BATCH), page())
    assert "b1" in trainyard("batches", "shop", "--watch").out


def test_one_batch_with_its_report(api, trainyard):
    """Facts as lines, what each column says as a table, and where the lost rows are."""
    report = {"rows": 2, "duplicates": 1, "columns": {"age": {"nulls": 1, "new_categories": ["x", "y"]}}}
    api.on("GET", "/v1/datasets/shop/batches/b1", {**BATCH, "rejected": 3, "report": report})
    out = trainyard("batches", "shop", "b1").out
    for said in ("duplicates", "nulls", "new categories", "x, y", "trainyard rejects b1"):
        assert said in out
    api.on("GET", "/v1/datasets/shop/batches/b1", {**BATCH, "report": None})
    assert "not there yet" in trainyard("batches", "shop", "b1").out


def test_rejects_need_the_batch_alone(api, trainyard):
    """The service knows the dataset of a batch; with --dataset it is not asked."""
    api.on("GET", "/v1/batches/b1", BATCH)
    api.on("GET", "/v1/datasets/shop/batches/b1/rejects", page({"row": 7, "column": "age"}))
    assert trainyard("rejects", "b1", "--json").json == [{"row": 7, "column": "age"}]
    assert "age" in trainyard("rejects", "b1", "--dataset", "shop").out
    assert api.paths().count("GET /v1/batches/b1") == 1
    api.on("GET", "/v1/batches/b1", (404, error("unknown_batch")))
    assert trainyard("rejects", "b1").code == Exit.NOT_FOUND


@pytest.mark.parametrize(
    ("options", "name", "accept"),
    [
        ([], "a.csv", "text/csv"),
        ([], "a.ndjson", "application/x-ndjson"),
        (["--format", "ndjson"], "a.txt", "application/x-ndjson"),
    ],
)
def test_rejects_into_a_file(api, trainyard, tmp_path, options, name, accept):
    """The download is written as it comes."""
    api.on("GET", "/v1/datasets/shop/batches/b1/rejects", (200, b"row,column\n7,age\n", {"Content-Type": accept}))
    file = tmp_path / name
    done = trainyard("rejects", "b1", "--dataset", "shop", "-o", str(file), *options)
    assert (done.code, file.read_bytes()) == (Exit.OK, b"row,column\n7,age\n")
    assert api.asked[-1].headers["Accept"] == accept


@pytest.mark.parametrize("options", [["-o", "x.csv", "--format", "table"], ["--format", "csv", "--json"]])
def test_rejects_that_cannot_be_printed_so(api, trainyard, options):
    """A table is not for files, and --json is a document of its own."""
    assert trainyard("rejects", "b1", "--dataset", "shop", *options).code == Exit.USAGE


def test_rejects_as_text_of_a_service_that_knows_none(api, trainyard, tmp_path):
    """An answer of another kind is not taken for the list."""
    api.on("GET", "/v1/datasets/shop/batches/b1/rejects", (200, page(), {"Content-Type": "application/json"}))
    done = trainyard("rejects", "b1", "--dataset", "shop", "-o", str(tmp_path / "a.csv"))
    assert (done.code, list(tmp_path.glob("*.csv"))) == (Exit.FAILED, [])
