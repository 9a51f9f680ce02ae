"""Parquet, gzip and JSON over HTTP into Postgres."""

import gzip
import io

import pyarrow as pa
import pyarrow.parquet as pq


def test_push(service):
    """Parquet and packed bodies become rows, what may not be packed is refused, and values come back as sent."""
    out = io.BytesIO()
    pq.write_table(pa.table({"id": [1, 2], "city": ["Bern", None]}), out)
    r = service.call("POST", "/v1/datasets/shop/rows", out.getvalue(), Content_Type="application/vnd.apache.parquet")
    assert r.status_code == 201, r.get_json()
    assert service.scalar("SELECT string_agg(id||coalesce(city,'-'),' ' ORDER BY id) FROM data.shop") == "1Bern 2-"
    r = service.call(
        "POST",
        "/v1/datasets/shop/rows",
        gzip.compress(b"id,city\n3,x\n"),
        Content_Type="text/csv",
        Content_Encoding="gzip",
    )
    assert r.status_code == 201, r.get_json()
    r = service.call(
        "POST",
        "/v1/datasets/shop/rows",
        out.getvalue(),
        Content_Type="application/vnd.apache.parquet",
        Content_Encoding="gzip",
    )
    assert r.status_code == 415
    r = service.call(
        "POST",
        "/v1/datasets/shop/rows",
        gzip.compress(b"id\n1\n")[:-3],
        Content_Type="text/csv",
        Content_Encoding="gzip",
    )
    assert r.get_json()["error"]["code"] == "bad_gzip"
    r = service.call(
        "POST", "/v1/datasets/shop/infer", gzip.compress(b"id\n1\n"), Content_Type="text/csv", Content_Encoding="gzip"
    )
    assert r.status_code == 415
    rows = [
        {"id": 9, "income": 0.1, "bought": True, "day": "2024-02-29", "at": "2024-01-01T01:00:00+01:00", "city": "\\."},
        {"id": 10, "income": 1e300, "city": 'q"\n,'},
        {"id": 11, "city": ""},
    ]
    r = service.call("POST", "/v1/datasets/shop/rows", rows)
    assert r.status_code == 201, r.get_json()
    assert (
        service.scalar("SELECT string_agg(coalesce(city,'NULL'),'|' ORDER BY id) FROM data.shop WHERE id>8")
        == '\\.|q"\n,|'
    )
    assert service.scalar("SELECT income FROM data.shop WHERE id=10") == 1e300
