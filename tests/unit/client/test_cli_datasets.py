"""`trainyard dataset …` against a fake service: columns from files and options, settings, questions before deletion."""

from __future__ import annotations

import gzip
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_api import error

from trainyard_client.cli import columns as columns_of
from trainyard_client.cli.exits import Exit

COLUMNS = [
    {"name": "id", "type": "int", "role": "feature", "nullable": True},
    {"name": "age", "type": "int", "role": "feature", "nullable": True},
    {"name": "vip", "type": "bool", "role": "feature", "nullable": True},
    {"name": "city", "type": "category", "role": "feature", "nullable": True},
    {"name": "bought", "type": "bool", "role": "feature", "nullable": True},
]
DATASET = {"name": "shop", "columns": [{**COLUMNS[0], "role": "key"}, *COLUMNS[1:]], "rows": 2, "last_seq": 2}
SETTINGS = {"max_rejected_share": 0.01, "new_columns": "refuse", "retention_days": 90}


@pytest.fixture
def created(api):
    """A service that infers and makes the dataset."""
    return api.on("POST", "/v1/datasets/shop/infer", {"columns": COLUMNS}).on("PUT", "/v1/datasets/shop", DATASET)


def test_dataset_create_from_a_file(created, trainyard, tmp_path):
    """A sample of the file is inferred, roles are set from the options, keys may not be missing."""
    file = tmp_path / "january.csv"
    file.write_text("id,age,vip,city,bought\n1,2,true,Bern,false\n")
    line = "--key id --label bought --group city --ignore vip --ignore age --json"
    done = trainyard("dataset", "create", "shop", "--like", str(file), *line.split())
    assert (done.code, done.json) == (Exit.OK, DATASET)
    assert created.asked[0].body == file.read_bytes()
    assert created.asked[0].headers["Content-Type"] == "text/csv"
    sent = created.asked[1].json
    assert {c["name"]: (c["role"], c["nullable"]) for c in sent["columns"]} == {
        "id": ("key", False),
        "age": ("ignore", True),
        "vip": ("ignore", True),
        "city": ("group", True),
        "bought": ("label", True),
    }
    assert "settings" not in sent


def test_a_large_file_is_sampled_at_the_end_of_a_line(created, trainyard, tmp_path):
    """What is sent for inference is at most 8 MiB and ends with a whole row, also of what gzip unpacks to."""
    data = b'{"text":"' + b"x" * 1000 + b'"}\n' + b'{"id":1}\n' * 1_000_000
    (tmp_path / "large.ndjson").write_bytes(data)
    (tmp_path / "large.ndjson.gz").write_bytes(gzip.compress(data, 1))
    for name in ("large.ndjson", "large.ndjson.gz"):
        assert trainyard("dataset", "create", "shop", "--like", str(tmp_path / name)).code == Exit.OK
    plain, unpacked = (one for one in created.asked if one.method == "POST")
    assert 8_000_000 < len(plain.body) <= 8 * 1024 * 1024
    assert plain.body.endswith(b'{"id":1}\n')
    assert unpacked.body == plain.body


def test_a_parquet_file_is_the_sample_whole(created, trainyard, tmp_path):
    """A part of a Parquet file is none, so a small one is sent as it is."""
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"id": [1, 2]}), file)
    assert trainyard("dataset", "create", "shop", "--like", str(file)).code == Exit.OK
    assert created.asked[0].body == file.read_bytes()
    assert created.asked[0].headers["Content-Type"] == "application/vnd.apache.parquet"


def test_of_a_large_parquet_file_the_first_rows_are_the_sample(created, trainyard, tmp_path, monkeypatch):
    """They keep names and types, and fit into what the service takes."""
    file = tmp_path / "rows.parquet"
    table = pa.table({"id": range(1000), "text": [f"{n:0100}" for n in range(1000)]})
    pq.write_table(table, file, compression="none", use_dictionary=False)
    monkeypatch.setattr(columns_of, "_SAMPLE_BYTES", 20_000)
    assert trainyard("dataset", "create", "shop", "--like", str(file)).code == Exit.OK
    sample = pq.read_table(io.BytesIO(created.asked[0].body))
    assert sample.schema.equals(table.schema)
    assert sample.equals(table.slice(0, sample.num_rows))
    assert len(created.asked[0].body) <= 20_000


def test_a_large_parquet_file_without_pyarrow(created, trainyard, tmp_path, monkeypatch):
    """The message says what to do; nothing is sent."""
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"id": [1, 2]}), file)
    monkeypatch.setattr(columns_of, "_SAMPLE_BYTES", 10)
    monkeypatch.setattr(columns_of.importlib.util, "find_spec", lambda name: None)
    done = trainyard("dataset", "create", "shop", "--like", str(file))
    assert done.code == Exit.USAGE
    assert "install pyarrow" in done.err
    assert created.asked == []


@pytest.mark.parametrize("name", ["a.parquet", "a.csv.gz"])
def test_a_file_that_is_not_what_its_name_says(created, trainyard, tmp_path, monkeypatch, name):
    """It is wrong use, told in a sentence, when the command has to look into it."""
    monkeypatch.setattr(columns_of, "_SAMPLE_BYTES", 1)
    (tmp_path / name).write_bytes(b"no such thing")
    done = trainyard("dataset", "create", "shop", "--like", str(tmp_path / name))
    assert done.code == Exit.USAGE
    assert "cannot be read" in done.err
    assert created.asked == []


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--like", "a.csv", "--schema", "b.json"],
        ["--like", "missing.csv"],
        ["--like", "a.xlsx"],
        ["--like", "-", "--format", "parquet"],
        ["--like", "a.csv", "--retention-days", "0"],
        ["--like", "a.csv", "--max-rejected-share", "1.1"],
    ],
)
def test_dataset_create_refuses_unclear_input_before_asking(api, trainyard, options, monkeypatch):
    """Nothing is sent when the columns cannot be known."""
    pipe = type("Pipe", (io.BytesIO,), {"seekable": lambda _: False})
    monkeypatch.setattr("sys.stdin", type("In", (), {"buffer": pipe(b"")}))
    assert trainyard("dataset", "create", "shop", *options).code == Exit.USAGE
    assert api.asked == []


@pytest.mark.parametrize(
    ("options", "said"), [("--label sold", "bought"), ("--label id --key id", "cannot be both"), ("--ignore x", "age")]
)
def test_roles_that_cannot_be(api, trainyard, tmp_path, options, said):
    """A role for an unknown column is an error that lists the columns; two roles for one are one, too."""
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps({"columns": COLUMNS}))
    done = trainyard("dataset", "create", "shop", "--schema", str(schema), *options.split())
    assert done.code == Exit.USAGE
    assert said in done.err
    assert api.asked == []


def test_settings_come_from_the_file_and_the_options_win(created, trainyard, tmp_path):
    """They go into the body beside the columns."""
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps({"columns": COLUMNS, "settings": {**SETTINGS, "retention_days": 1}}))
    done = trainyard("dataset", "create", "shop", "--schema", str(schema), "--retention-days", "90")
    assert done.code == Exit.OK
    assert created.asked[-1].json == {"columns": COLUMNS, "settings": SETTINGS}


def test_update_keeps_the_columns_when_only_settings_change(created, trainyard):
    """The columns are read and sent back as they are."""
    created.on("GET", "/v1/datasets/shop", {**DATASET, "revision": 3, "settings": SETTINGS})
    done = trainyard("dataset", "update", "shop", "--new-columns", "add")
    assert done.code == Exit.OK
    assert created.asked[-1].json == {"columns": DATASET["columns"], "settings": {"new_columns": "add"}}
    assert trainyard("dataset", "update", "shop").code == Exit.USAGE


def test_update_makes_nothing(api, trainyard, tmp_path):
    """A name that is mistyped is an unknown dataset, not a new one."""
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps({"columns": COLUMNS}))
    api.on("GET", "/v1/datasets/shpo", (404, error("unknown_dataset")))
    assert trainyard("dataset", "update", "shpo", "--schema", str(schema)).code == Exit.NOT_FOUND
    assert api.paths() == ["GET /v1/datasets/shpo"]


def test_update_names_what_would_be_narrowed(created, trainyard, tmp_path):
    """The refusal's details are shown."""
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps({"columns": COLUMNS}))
    details = [{"row": None, "column": "age", "expected": "float or wider", "got": "int"}]
    created.on("GET", "/v1/datasets/shop", DATASET)
    created.on("PUT", "/v1/datasets/shop", (422, error("narrowing", "no", details)))
    done = trainyard("dataset", "update", "shop", "--schema", str(schema))
    assert done.code == Exit.REFUSED
    assert "column 'age': expected float or wider" in done.err


def test_show_has_settings_and_revision(api, trainyard):
    """Each setting is a line of its own."""
    api.on("GET", "/v1/datasets/shop", {**DATASET, "revision": 3, "settings": SETTINGS})
    out = trainyard("dataset", "show", "shop").out
    for said in ("revision", "max rejected share", "0.01", "refuse", "retention days", "90"):
        assert said in out


@pytest.mark.parametrize("as_list", [True, False])
def test_profile_shows_whatever_each_column_says(api, trainyard, as_list):
    """The columns of the table are those that any column has something to say in."""
    columns = {"age": {"nulls": 3, "min": 18, "max": 80}, "city": {"nulls": 0, "distinct": 7, "mean": None}}
    listed = [{"column": name, **of} for name, of in columns.items()]
    api.on("GET", "/v1/datasets/shop/profile", {"rows": 1000, "columns": listed if as_list else columns})
    words = trainyard("dataset", "profile", "shop").out.split()
    for said in ("1000", "age", "nulls", "18", "80", "distinct", "7"):
        assert said in words
    assert "mean" not in words


@pytest.mark.parametrize(("answer", "gone"), [("y\n", True), ("n\n", False)])
def test_delete_asks_a_terminal(api, trainyard, monkeypatch, answer, gone):
    """A person is told how many rows go and may say no; a script is not asked."""
    terminal = io.StringIO(answer)
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    api.on("GET", "/v1/datasets/shop", DATASET).on("DELETE", "/v1/datasets/shop", (204, None))
    done = trainyard("dataset", "delete", "shop")
    assert ("2 rows?" in done.err, done.code) == (True, Exit.OK if gone else Exit.INTERRUPTED)
    assert ("DELETE /v1/datasets/shop" in api.paths()) == gone


def test_delete_with_yes_does_not_ask(api, trainyard, monkeypatch):
    """--yes is the answer."""
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    api.on("DELETE", "/v1/datasets/shop", (204, None))
    assert trainyard("dataset", "delete", "shop", "--yes").code == Exit.OK
    assert api.paths() == ["DELETE /v1/datasets/shop"]
