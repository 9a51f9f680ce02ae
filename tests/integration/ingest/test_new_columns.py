"""Columns that a batch brings, over HTTP: added where the dataset's settings say so, and refused where not."""

import gzip
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

CSV = {"Content_Type": "text/csv"}
ROWS = "/v1/datasets/grows/rows"
COLUMNS = [{"name": "id", "type": "int"}]


def _parquet():
    out = io.BytesIO()
    pq.write_table(pa.table({"id": [1, 2], "price": [1.5, None], "kind": ["a", "a"]}), out)
    return out.getvalue()


RECORDS = [{"id": 1, "price": 1.5, "kind": "a"}, {"id": 2, "price": None, "kind": "a"}]
BODIES = {
    "text/csv": b"id,price,kind\n1,1.5,a\n2,,a\n",
    "application/x-ndjson": b"".join(json.dumps(record).encode() + b"\n" for record in RECORDS),
    "application/json": json.dumps(RECORDS).encode(),
    "application/vnd.apache.parquet": _parquet(),
}


def _make(service, **settings):
    body = json.dumps({"columns": COLUMNS, "settings": settings}).encode()
    return service.call("PUT", "/v1/datasets/grows", body).get_json()


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("packed", [False, True])
def test_added(service, kind, packed):
    """They are typed by the rows, nullable, recorded as a revision, and hold the batch's values; the same body again
    is the same batch.
    """
    if packed and kind == "application/vnd.apache.parquet":
        kind = "text/csv"  # Parquet has a compression of its own
    _make(service, new_columns="add")
    body = gzip.compress(BODIES[kind], mtime=0) if packed else BODIES[kind]
    headers = {"Content_Type": kind, **({"Content_Encoding": "gzip"} if packed else {})}
    answer = service.call("POST", ROWS, body, **headers)
    assert answer.status_code == 201, answer.get_json()
    dataset = service.call("GET", "/v1/datasets/grows").get_json()
    assert dataset["revision"] == 2
    assert [(c["name"], c["type"], c["nullable"]) for c in dataset["columns"]][1:] == [
        ("price", "float", True),
        ("kind", "category", True),
    ]
    assert service.scalar("SELECT string_agg(concat_ws(':', id, price, kind), ' ' ORDER BY id) FROM data.grows") == (
        "1:1.5:a 2:a"
    )
    assert service.call("POST", ROWS, body, **headers).status_code == 200
    assert service.scalar("SELECT count(*) FROM core.dataset_revision r JOIN core.dataset d ON d.id = dataset_id") >= 1


@pytest.mark.parametrize("kind", BODIES)
def test_refused(service, kind):
    """By default an unknown column refuses the batch by name, and the dataset stays as it is."""
    made = _make(service)
    answer = service.call("POST", ROWS, BODIES[kind], Content_Type=kind)
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (422, "invalid_rows")
    assert {"price", "kind"} <= {p["column"] for p in answer.get_json()["error"]["details"]}
    assert service.call("GET", "/v1/datasets/grows").get_json() == made


def test_rows_before_are_missing_there(service):
    """What was stored before has no value in a new column; later batches may leave it out."""
    _make(service, new_columns="add")
    for body in (b"id\n1\n", b"id,more\n2,x\n", b"id\n3\n"):
        assert service.call("POST", ROWS, body, **CSV).status_code == 201
    assert service.scalar("SELECT string_agg(coalesce(more, '-'), '' ORDER BY id) FROM data.grows") == "-x-"
