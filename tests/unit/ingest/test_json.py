"""JSON and NDJSON bodies, samples for a schema, content types."""

import io
import json

import pytest

from trainyard.errors import ServiceError
from trainyard.schema import Column, Schema
from trainyard.testing.fakes.warehouse import csv_records
from trainyard_ingest.domain import formats, limits
from trainyard_ingest.domain.source import Source
from trainyard_ingest.domain.tally import Tally

SCHEMA = Schema([Column("id", "int", nullable=False), Column("note", "text"), Column("at", "timestamp")])


def _read(body, kind=formats.JSON, schema=SCHEMA):
    tally = Tally()
    rows = kind.read(Source(io.BytesIO(body), kind.most_bytes), schema, tally)
    return [record for chunk in rows.chunks for record in csv_records(chunk)], tally


def _refusal(body, kind=formats.JSON):
    with pytest.raises(ServiceError) as refused:
        _read(body, kind)
    return refused.value


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (
            b'{"rows": [{"id": 1, "note": ""}, {"at": "2024-01-01T01:00:00+01:00", "id": 2, "note": null}]}',
            formats.JSON,
        ),
        (b'[{"id": 1, "note": ""}, {"at": "2024-01-01T01:00:00+01:00", "id": 2.0}]', formats.JSON),
        (b'{"id": 1, "note": ""}\r\n \n{"at": "2024-01-01T01:00:00+01:00", "id": 2}', formats.NDJSON),
    ],
)
def test_forms(body, kind):
    """All three forms say the same; the empty text is a text, null and absent are missing."""
    rows, tally = _read(body, kind)
    assert rows == [["1", "", None], ["2", None, "2024-01-01T00:00:00+00:00"]]
    assert (tally.rows, tally.rejected) == (2, 0)


def test_rejects_name_row_and_column():
    """Wrong types, absent and unknown columns and values that are no rows are listed by the caller's own count."""
    good = {"id": 1}
    bad = [{"id": "1"}, {"note": "x"}, {"id": 1, "more": 2}, 5, {"id": 1, "note": 7, "at": "soon"}]
    rows, tally = _read(json.dumps([good] * 1_500 + bad).encode())
    assert len(rows) == 1_500
    assert (tally.rows, tally.rejected) == (1_505, 5)
    found = [(p.row, p.column) for p in tally.problems]
    assert found == [(1501, "id"), (1502, "id"), (1503, "more"), (1504, None), (1505, "note"), (1505, "at")]


def test_a_row_with_very_many_problems_rejects_itself_only():
    """Rows beside one with as many problems as a row may have keys are still taken; more than are kept are counted."""
    wide = {f"more{n}": 1 for n in range(limits.MAX_JSON_KEYS)}
    rows, tally = _read(json.dumps([{"id": 1}, *[wide] * 6, {"id": 3}]).encode())
    assert [row[0] for row in rows] == ["1", "3"]
    assert (tally.rejected, len(tally.problems)) == (6, 10_000)
    assert {p.row for p in tally.problems} == {2, 3, 4, 5, 6}


def test_empty_arrays_have_no_rows():
    """They are read to their end; it is the batch that is refused for having no row."""
    for body in (b"[]", b' { "rows" : [ ] } '):
        assert _read(body)[1].rows == 0


@pytest.mark.parametrize(
    ("body", "kind", "code", "said"),
    [
        (b"", formats.JSON, "empty_body", ""),
        (b'\xef\xbb\xbf[{"id": 1}]' + b" " * (3 << 20), formats.JSON, "bad_json", "byte order mark"),
        (b'\xef\xbb\xbf{"id": 1}\n', formats.NDJSON, "bad_json", "byte order mark"),
        (b'[{"id": NaN}]', formats.JSON, "bad_json", "NaN"),
        (b'{"rows": 5}', formats.JSON, "bad_request", "rows"),
        (b'{"rows": [], "more": 1}', formats.JSON, "bad_request", "rows"),
        (b"7", formats.JSON, "bad_request", "rows"),
        (b'{"id": 1}\n{"id": }\n', formats.NDJSON, "bad_json", "line 2"),
        (b'{"id": 1}\n\n{"id": \xff}\n', formats.NDJSON, "bad_json", "line 3"),
        (b'{"rows": [1, 2', formats.JSON, "bad_json", "row 2"),
        (b'[{"id": 1}, {"id": }]', formats.JSON, "bad_json", "row 2"),
        (b'[{"id": 1},]', formats.JSON, "bad_json", "row 2: there is no value"),
        (b'[{"id": 1}] []', formats.JSON, "bad_json", "end where"),
        (b'{"rows": [{"id": 1}]', formats.JSON, "bad_json", "end where"),
        (b'{"more": 1, "rows": [{"id": 1}]}', formats.JSON, "bad_request", "rows"),
        (b'{"id": 1}\n' + b"x" * (3 * limits.MAX_JSON_ROW_BYTES), formats.NDJSON, "json_limit", "line 2 is longer"),
    ],
)
def test_refused_as_a_whole(body, kind, code, said):
    """What cannot be read is refused with the place where it breaks."""
    error = _refusal(body, kind)
    assert (error.code, said in error.message) == (code, True), error


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_too_large(over):
    """An array may have 64 MiB; reading stops there, whatever was announced."""
    row = b'{"id": 1, "note": "%b"}'
    rows = [row % (b"x" * (65_535 - len(row) + 2))] * 1_023
    rows.append(row % (b"x" * (65_534 + over - len(row) + 2)))
    body = b"[" + b",".join(rows) + b"]"
    assert len(body) == (64 << 20) + over
    tally = Tally()
    chunks = formats.JSON.read(Source(io.BytesIO(body), formats.JSON.most_bytes), SCHEMA, tally).chunks
    if over > 0:
        with pytest.raises(ServiceError) as refused:
            list(chunks)
        assert refused.value.code == "too_large"
    else:
        assert list(chunks)
        assert tally.rows == 1_024


@pytest.mark.parametrize("case", [(0, 1, False), (5, 100, False), (6, 100, True), (1, 19, True)])
def test_share_of_rejects(case):
    """A batch with exactly 5 % rejected is accepted, with more it is refused."""
    rejected, rows, refused = case
    tally = Tally()
    tally.add(rows, rejected, [])
    if not refused:
        tally.judge()
        return
    with pytest.raises(ServiceError) as error:
        tally.judge()
    assert error.value.code == "invalid_rows"


def test_no_rows():
    """A body without rows is an empty body."""
    with pytest.raises(ServiceError) as refused:
        Tally().judge()
    assert refused.value.code == "empty_body"


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        ("text/csv", formats.CSV),
        ("Text/CSV; charset=UTF-8; header=present", formats.CSV),
        ("application/json", formats.JSON),
        ("application/x-ndjson", formats.NDJSON),
        ("application/vnd.apache.parquet", formats.PARQUET),
        ("text/csv; charset=latin-1", None),
        ("", None),
        ("text/plain", None),
    ],
)
def test_content_types(header, kind):
    """The known types in UTF-8 are read, everything else is refused with the list of them."""
    if kind is not None:
        assert formats.by_content_type(header) is kind
        return
    listed = "text/csv, application/x-ndjson, application/json, application/vnd.apache.parquet"
    with pytest.raises(ServiceError, match=listed) as refused:
        formats.by_content_type(header)
    assert refused.value.code == "unsupported_media"


def _infer(body, kind):
    schema = formats.infer(Source(io.BytesIO(body), formats.MAX_SAMPLE_BYTES), kind)
    return {column.name: column.type for column in schema.columns}


def test_infer_the_same_from_every_format():
    """A sample says the same in every format; columns come in order of appearance."""
    expected = {"b": "int", "a": "category", "c": "bool"}
    assert _infer(b"b,a,c\n1,x,true\n2,y,\n", formats.CSV) == expected
    assert _infer(b'[{"b": 1, "a": "x"}, {"a": "y", "b": 2, "c": true}]', formats.JSON) == expected
    assert _infer(b'{"b": 1, "a": "x"}\n{"b": 2, "c": true}\n', formats.NDJSON) == expected


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        (b"a,b\n", formats.CSV, "empty_body"),
        (b"[]", formats.JSON, "empty_body"),
        (b"", formats.NDJSON, "empty_body"),
        (b"[1]", formats.JSON, "invalid_rows"),
        (b'[{"a": {"b": 1}}]', formats.JSON, "invalid_rows"),
        (b",b\n1,2\n", formats.CSV, "invalid_schema"),
        (b'[{"a": 1, "A": 2}]', formats.JSON, "invalid_schema"),
    ],
)
def test_samples_that_cannot_be_columns(body, kind, code):
    """A sample without rows, with nested values or with impossible names is refused."""
    with pytest.raises(ServiceError) as refused:
        _infer(body, kind)
    assert refused.value.code == code
