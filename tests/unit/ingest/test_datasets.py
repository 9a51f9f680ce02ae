"""What ingest does for datasets besides taking rows, against the fakes."""

from __future__ import annotations

import pytest

from trainyard.clock import ManualClock
from trainyard.contracts.warehouse import Intake, Rows
from trainyard.dataset_settings import DatasetSettings
from trainyard.errors import ServiceError
from trainyard.schema import Column, Schema
from trainyard.testing.fakes import MemoryKeeping, MemoryWarehouse
from trainyard_ingest.domain.keys import read_key
from trainyard_ingest.use_cases.datasets import KeepDatasets

SCHEMA = Schema([Column("id", "int", "key", nullable=False), Column("a", "float")])


@pytest.fixture
def warehouse():
    """An empty warehouse."""
    return MemoryWarehouse(ManualClock())


@pytest.fixture
def keeping(warehouse):
    """What keeps it."""
    return MemoryKeeping(warehouse, ManualClock())


@pytest.fixture
def datasets(warehouse, keeping):
    """The use cases."""
    return KeepDatasets(warehouse, keeping)


def _load(warehouse, dataset, csv, fingerprint):
    intake = Intake("http", "k", fingerprint, "")
    warehouse.load(dataset, Rows(dataset.schema.names, iter([csv])), lambda: intake)


def test_put(datasets):
    """A dataset is made with its settings or with the defaults, and changed when it is put again."""
    made, new = datasets.put("d", SCHEMA, {"retention_days": 3}, actor="k")
    assert (new, made.settings) == (True, DatasetSettings(retention_days=3))
    assert datasets.put("d", SCHEMA, {}, actor="k") == (made, False)
    wider = Schema([*SCHEMA.columns, Column("b", "text")])
    changed, new = datasets.put("d", wider, {"new_columns": "add"}, actor="k")
    assert (new, changed.schema, changed.settings) == (False, wider, DatasetSettings(0.05, "add", 3))
    with pytest.raises(ServiceError) as refused:
        datasets.put("d", SCHEMA, {}, actor="k")
    assert refused.value.code == "narrowing"
    assert datasets.put("other", SCHEMA, {}, actor="k")[0].settings == DatasetSettings()


def test_new_columns_of_a_batch(datasets, keeping):
    """New columns are added behind the others, once; names that no column may have are refused."""
    dataset, _ = datasets.put("d", SCHEMA, {"new_columns": "add"}, actor="k")
    new = (Column("n", "int"), Column("t", "timestamp"))
    evolved = datasets.with_new_columns(dataset, new, actor="k")
    assert evolved.schema.columns[2:] == new
    assert datasets.with_new_columns(evolved, new, actor="k") == evolved
    assert datasets.with_new_columns(evolved, (), actor="k") == evolved
    with pytest.raises(ServiceError) as refused:
        datasets.with_new_columns(evolved, (Column("N", "int"),), actor="k")
    assert refused.value.code == "invalid_schema"


def test_erase_is_once_for_its_key(datasets, warehouse):
    """The Idempotency-Key belongs to the dataset and the rows that are named."""
    dataset, _ = datasets.put("d", SCHEMA, {}, actor="k")
    _load(warehouse, dataset, b"1,2\n1,3\n2,4\n", "f1")
    first = datasets.erase("d", "1", actor="k", idempotency_key="again")
    assert first.rows == 2
    assert datasets.erase("d", "1", actor="k", idempotency_key="again") == first
    assert datasets.erase("d", "2", actor="k", idempotency_key=None).rows == 1


def test_loops_work_until_nothing_is_left_or_a_stop_comes(datasets, warehouse):
    """All reports are made and all rows that are due go; a stop is heeded between two pieces."""
    dataset, _ = datasets.put("d", SCHEMA, {"retention_days": 1e-9}, actor="k")
    for number in range(3):
        _load(warehouse, dataset, b"1,2\n", f"f{number}")
    warehouse._clock.sleep(1)
    assert (datasets.report_all(lambda: True), datasets.expire_all(lambda: True)) == (0, 0)
    assert datasets.report_all(lambda: False) == 3


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("int", "7", 7),
        ("text", "", ""),
        ("text", '{"a":1}', '{"a":1}'),
        ("category", " x ", " x "),
        ("bool", "t", True),
    ],
)
def test_key_of_one_column(kind, text, value):
    """The text is the value as a cell would hold it; the empty text is one."""
    schema = Schema([Column("k", kind, "key")])
    assert read_key(schema, text) == {"k": value}


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ([Column("k", "int")], "1"),
        ([Column("k", "int", "key")], ""),
        ([Column("k", "int", "key")], "x"),
        ([Column("k", "text", "key")], "a\0"),
        ([Column("k", "int", "key"), Column("j", "int", "key")], '{"k":1}'),
        ([Column("k", "int", "key"), Column("j", "int", "key")], '{"k":1,"j":null}'),
        ([Column("k", "int", "key"), Column("j", "int", "key")], '{"k":1,"j":2,"i":3}'),
        ([Column("k", "int", "key"), Column("j", "int", "key")], '{"k":1,"k":1,"j":2}'),
        ([Column("k", "int", "key"), Column("j", "int", "key")], "nonsense\ud800"),
    ],
)
def test_what_is_no_key(columns, text):
    """Anything else is refused with what would have been one."""
    with pytest.raises(ServiceError) as refused:
        read_key(Schema(columns), text)
    assert refused.value.code == "bad_request"
