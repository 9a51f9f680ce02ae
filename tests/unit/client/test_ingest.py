"""`Client.ingest`: whatever holds rows becomes one body, and the listener hears how far it is."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import threading

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import requests
from fake_api import error, page

from trainyard_client import Progress, bodies
from trainyard_client.errors import ApiError, ClientError, MisuseError, UnreachableError
from trainyard_client.watching import Tracker, Watcher

BATCH = {"id": "b", "rows": 2, "rejected": 1, "state": "committed"}
ROWS = "/v1/datasets/d/rows"
FRAME = pd.DataFrame({"id": [1, 2], "city": ["Bern", None], "at": pd.to_datetime(["2026-01-01", "2026-01-02"])})


@pytest.fixture(autouse=True)
def taking(api):
    """A service that takes everything."""
    return api.on("POST", ROWS, (201, BATCH))


def test_a_path(api, client, tmp_path):
    """Its ending tells the format; the answer has the batch and its figures."""
    path = tmp_path / "a.ndjson"
    path.write_bytes(b'{"id": 1}\n')
    done = client.ingest("d", path)
    assert (done.batch, done.id, done.rows, done.rejected, done.known) == (BATCH, "b", 2, 1, False)
    assert api.asked[0].headers["Content-Type"] == "application/x-ndjson"
    api.on("POST", ROWS, (200, BATCH))
    assert client.ingest("d", str(path)).known


def test_a_compressed_file_goes_as_it_is(api, client, tmp_path):
    """The service unpacks it."""
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(b"[]"))
    client.ingest("d", path)
    assert (api.asked[0].headers["Content-Encoding"], api.asked[0].body) == ("gzip", path.read_bytes())


@pytest.mark.parametrize("source", [b"id\n1\n", bytearray(b"id\n1\n"), io.BytesIO(b"id\n1\n")])
def test_bytes_and_open_files(api, client, source):
    """They need a format, have a length, and are sent again from their start."""
    api.on("POST", ROWS, requests.ConnectionError(), (201, BATCH))
    client.ingest("d", source, format="csv")
    assert [one.body for one in api.asked] == [b"id\n1\n"] * 2
    assert api.asked[0].headers["Content-Length"] == "5"
    with pytest.raises(MisuseError, match="format"):
        client.ingest("d", source)


def test_a_pipe_is_sent_once(api, client):
    """What cannot be read again is not repeated."""
    pipe = type("Pipe", (io.BytesIO,), {"seekable": lambda _: False})(b"id\n1\n")
    api.on("POST", ROWS, requests.ConnectionError())
    with pytest.raises(UnreachableError):
        client.ingest("d", pipe, format="csv")
    assert len(api.asked) == 1


def test_nothing_is_sent_as_nothing(api, client):
    """An empty file is for the service to refuse, with a length of zero."""
    api.on("POST", ROWS, (400, error("empty_body")))
    with pytest.raises(ApiError, match="empty_body"):
        client.ingest("d", b"", format="csv")
    assert api.asked[0].body == b""


def test_a_frame_goes_as_parquet(api, client):
    """Types and missing values stay; the index does not."""
    client.ingest("d", FRAME)
    assert api.asked[0].headers["Content-Type"] == "application/vnd.apache.parquet"
    sent = pq.read_table(io.BytesIO(api.asked[0].body))
    assert sent.column_names == ["id", "city", "at"]
    assert sent.column("city").to_pylist() == ["Bern", None]


@pytest.mark.parametrize("wanted", ["csv", None])
def test_a_frame_goes_as_csv_where_pyarrow_is_not(api, client, monkeypatch, wanted):
    """Or where it is wanted so."""
    if wanted is None:
        monkeypatch.setattr(bodies.importlib.util, "find_spec", lambda name: None)
    client.ingest("d", FRAME, format=wanted)
    assert api.asked[0].headers["Content-Type"] == "text/csv"
    assert api.asked[0].body == b"id,city,at\n1,Bern,2026-01-01\n2,,2026-01-02\n"


def test_rows_go_as_ndjson(api, client):
    """A list or a generator of dictionaries, of any length, can be sent again."""
    api.on("POST", ROWS, requests.ConnectionError(), (201, BATCH))
    client.ingest("d", ({"id": number} for number in (1, 2)))
    assert [one.body for one in api.asked] == [b'{"id":1}\n{"id":2}\n'] * 2


@pytest.mark.parametrize("row", [{"x": float("nan")}, {"x": np.int64(1)}, {"x": object()}])
def test_rows_that_json_has_not(api, client, row):
    """The row is named; nothing leaves."""
    with pytest.raises(ClientError, match="row 2"):
        client.ingest("d", [{"x": 1}, row])
    assert api.asked == []


@pytest.mark.parametrize(
    ("source", "wanted"), [(7, None), (FRAME, "json"), ("a.txt", None), ("a.csv", "yaml"), ("a.parquet.gz", None)]
)
def test_what_nobody_can_send(api, client, source, wanted):
    """It is the caller's, and told before anything leaves."""
    with pytest.raises(MisuseError):
        client.ingest("d", source, format=wanted)
    assert api.asked == []


def test_the_listener_hears_every_block(client):
    """From nothing to all, then that the service works on it."""
    heard: list[Progress] = []
    client.ingest("d", b"x" * 100_000, format="csv", progress=heard.append)
    assert heard[-1] == Progress("loading", 100_000, 100_000, None)


def test_what_the_service_says_is_put_together_with_what_was_sent():
    """Waiting and committing come from the service; the rest follows from the bytes."""
    heard: list[Progress] = []
    tracker = Tracker(10, heard.append)
    tracker.sent(4)
    tracker.heard("waiting", 0)
    tracker.heard("loading", 3)
    tracker.sent(10)
    tracker.heard("committing", 5)
    assert [(one.stage, one.bytes_sent, one.rows) for one in heard] == [
        ("sending", 4, None),
        ("waiting", 4, 0),
        ("sending", 4, 3),
        ("loading", 10, 3),
        ("committing", 10, 5),
    ]


def test_the_watcher_finds_its_own_batch(api, client):
    """Of what is on its way in, the one with the upload's trace id counts."""
    heard: list[Progress] = []
    progress = {"stage": "loading", "rows_done": 7}
    api.on(
        "GET",
        "/v1/datasets/d/batches",
        page(
            {"trace_id": "other", "progress": {**progress, "rows_done": 1}}, {"trace_id": "mine", "progress": progress}
        ),
    )
    Watcher(client._transport.twin(), "/v1/datasets/d/batches", "mine", Tracker(None, heard.append)).look()
    assert [one.rows for one in heard] == [7]
    assert api.asked[0].query["state"] == "loading"
    assert "Authorization" in api.asked[0].headers


def test_the_watcher_looks_while_the_upload_runs_and_stops_with_it(api, client):
    """It has a thread of its own, and the upload's end ends it."""
    looked: list[Progress] = []
    api.on("GET", "/v1/datasets/d/batches", page({"trace_id": "t", "progress": {"stage": "waiting", "rows_done": 0}}))
    seen = threading.Event()

    def listen(progress: Progress) -> None:
        looked.append(progress)
        seen.set()

    watcher = Watcher(client._transport.twin(), "/v1/datasets/d/batches", "t", Tracker(None, listen), seconds=0.001)
    with watcher.running(wanted=True):
        assert seen.wait(10)
    count = len(api.asked)
    assert looked[0].stage == "waiting"
    assert not any(thread.name == "upload watcher" for thread in threading.enumerate())
    assert len(api.asked) == count


@pytest.mark.parametrize("trouble", [(403, error("wrong_scope")), (400, error("bad_request"))])
def test_a_service_that_does_not_say_how_far_it_is(api, client, trouble):
    """The upload goes on without: a key that may not read, or an older service, is no failure."""
    api.on("GET", "/v1/datasets/d/batches", trouble)
    watcher = Watcher(client._transport.twin(), "/v1/datasets/d/batches", "t", Tracker(None, None), seconds=0.001)
    with watcher.running(wanted=True):
        client.ingest("d", b"id\n1\n", format="csv")


@pytest.mark.parametrize("source", [b"id\n1\n", io.BytesIO(b"id\n1\n")])
def test_what_can_be_read_again_is_hashed_first(api, client, source):
    """The service hears the SHA-256 beforehand; there is no key of the client's own in its place."""
    client.ingest("d", source, format="csv")
    expected = base64.b64encode(hashlib.sha256(b"id\n1\n").digest()).decode()
    assert api.asked[0].headers["Content-Digest"] == f"sha-256=:{expected}:"
    assert "Idempotency-Key" not in api.asked[0].headers
    assert api.asked[0].body == b"id\n1\n"


def test_a_pipe_is_not_hashed(api, client):
    """It would have to be kept."""
    pipe = type("Pipe", (io.BytesIO,), {"seekable": lambda _: False})(b"id\n1\n")
    client.ingest("d", pipe, format="csv")
    assert "Content-Digest" not in api.asked[0].headers
