"""What all keeping of datasets does.

The class needs the fixtures ``warehouse`` (empty), ``keeping`` (of it), ``stored_rows``, ``add_version`` and
``outlive``.
"""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import pytest

from trainyard.contracts.idempotency import Repeatable
from trainyard.contracts.warehouse import Intake, Rows
from trainyard.dataset_settings import DatasetSettings
from trainyard.errors import Problem, ServiceError
from trainyard.schema import Column, Schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainyard.contracts.keeping import Keeping
    from trainyard.contracts.warehouse import Batch, Dataset, Warehouse

    #: the name of a dataset -> its rows by number, each by column name, typed
    StoredRows = Callable[[str], dict[int, dict[str, Any]]]
    #: the name of a model, the dataset it reads, the last row of the snapshot -> version 1 of a new model
    AddVersion = Callable[[str, str, int], None]
    #: the name of a dataset, days: let what it holds have come so much earlier
    Outlive = Callable[[str, float], None]

_SHOP = Schema(
    [
        Column("id", "int", "key", nullable=False),
        Column("amount", "int"),
        Column("day", "date"),
        Column("kind", "category"),
    ]
)
_FIRST = b"1,10,2024-01-01,a\n2,,2024-01-03,b\n3,30,,a\n"
_SECOND = b"2,20,2024-01-02,c\n4,20,2024-01-02,a\n4,20,2024-01-02,a\n"


def _load(warehouse: Warehouse, dataset: Dataset, csv: bytes, fingerprint: str, **others: Any) -> Batch:
    intake = Intake("http", "k1", fingerprint, f"of {fingerprint}", **others)
    return warehouse.load(dataset, Rows(dataset.schema.names, iter([csv])), lambda: intake).batch


def _with(schema: Schema, *columns: Column) -> Schema:
    """Return the schema with these columns in the place of those of their names, or behind them."""
    new = {column.name: column for column in columns}
    kept = [new.pop(column.name, column) for column in schema.columns]
    return Schema([*kept, *new.values()])


class KeepingContract:
    """Columns only grow, rows go with everything that tells of them, and reports say what is there."""

    @pytest.fixture
    def shop(self, warehouse: Warehouse) -> Dataset:
        """A dataset without rows."""
        return warehouse.create("shop", _SHOP, actor="k1")[0]

    @pytest.fixture
    def batches(self, warehouse: Warehouse, shop: Dataset) -> tuple[Batch, Batch]:
        """Two batches: rows 1 to 3, and 4 to 6, of which one corrects and two are the same."""
        return _load(warehouse, shop, _FIRST, "f1", rejected=1), _load(warehouse, shop, _SECOND, "f2")

    # --- columns and settings ---

    def test_nothing_to_change(self, keeping: Keeping, warehouse: Warehouse, shop: Dataset) -> None:
        """The same columns in another order, and the same settings, change nothing."""
        backwards = Schema(reversed(_SHOP.columns))
        assert keeping.reshape(shop, backwards, {"retention_days": None}, actor="k1") == shop
        assert keeping.reshape(shop, _SHOP, {}, actor="k1") == warehouse.dataset("shop") == shop

    @pytest.mark.usefixtures("batches")
    def test_new_column(self, keeping: Keeping, warehouse: Warehouse, shop: Dataset, stored_rows: StoredRows) -> None:
        """A new column, wherever it is named, comes last, is missing in the rows there are, and takes values."""
        wanted = Schema([Column("note", "text"), *_SHOP.columns])
        changed = keeping.reshape(shop, wanted, {}, actor="k1")
        assert changed.schema.names == ("id", "amount", "day", "kind", "note")
        assert (changed.revision, changed.last_seq) == (2, 6)
        assert keeping.reshape(shop, wanted, {}, actor="k1") == changed == warehouse.dataset("shop")
        _load(warehouse, changed, b"9,1,,x,hello\n", "f3")
        assert [row["note"] for row in stored_rows("shop").values()] == [None] * 6 + ["hello"]

    @pytest.mark.usefixtures("batches")
    def test_widening(self, keeping: Keeping, shop: Dataset, stored_rows: StoredRows) -> None:
        """Types become wider, and every value is what it was."""
        wider = [Column("amount", "float"), Column("day", "timestamp", "event_time"), Column("kind", "text", "label")]
        with pytest.raises(ServiceError, match="narrowed"):
            keeping.reshape(shop, _with(_SHOP, *wider), {}, actor="k1")  # the event time is a role that stays
        wider[1] = Column("day", "timestamp")
        changed = keeping.reshape(shop, _with(_SHOP, *wider), {}, actor="k1")
        assert [column.type for column in changed.schema.columns] == ["int", "float", "timestamp", "text"]
        first = stored_rows("shop")[1]
        assert list(first.values()) == [1, 10.0, datetime(2024, 1, 1, tzinfo=UTC), "a"]
        assert isinstance(first["amount"], float)

    def test_levels_and_null(self, keeping: Keeping, warehouse: Warehouse) -> None:
        """A column becomes nullable, levels are added behind the known ones."""
        strict = Schema([Column("a", "int", nullable=False), Column("b", "category", categories=("y", "x"))])
        dataset, _ = warehouse.create("d", strict, actor="k1")
        wanted = Schema([Column("a", "int", "label"), Column("b", "category", categories=("x", "z", "y"))])
        changed = keeping.reshape(dataset, wanted, {}, actor="k1")
        assert changed.schema.column("a") == Column("a", "int", "label")
        assert changed.schema.column("b").categories == ("y", "x", "z")
        assert keeping.reshape(changed, wanted, {}, actor="k1") == changed

    @pytest.mark.usefixtures("batches")
    @pytest.mark.parametrize(
        ("wanted", "column"),
        [
            (Schema(_SHOP.columns[:3]), "kind"),
            (_with(_SHOP, Column("amount", "int", nullable=False)), "amount"),
            (_with(_SHOP, Column("amount", "bool")), "amount"),
            (_with(_SHOP, Column("kind", "date")), "kind"),
            (_with(_SHOP, Column("amount", "int", "group")), "amount"),
            (_with(_SHOP, Column("id", "int", nullable=False)), "id"),
            (_with(_SHOP, Column("id", "text", "key", nullable=False)), "id"),
            (_with(_SHOP, Column("more", "int", nullable=False)), "more"),
            (_with(_SHOP, Column("more", "int", "key")), "more"),
        ],
    )
    def test_narrowing(
        self,
        keeping: Keeping,
        warehouse: Warehouse,
        shop: Dataset,
        stored_rows: StoredRows,
        *,
        wanted: Schema,
        column: str,
    ) -> None:
        """What would lose values or meaning is refused by column, with whatever else was asked for."""
        before = warehouse.dataset("shop"), stored_rows("shop")
        with pytest.raises(ServiceError) as refused:
            keeping.reshape(shop, _with(wanted, Column("new", "int")), {"retention_days": 3}, actor="k1")
        assert refused.value.code == "narrowing"
        assert [problem.column for problem in refused.value.details] == [column]
        assert (warehouse.dataset("shop"), stored_rows("shop")) == before

    def test_digits_that_a_float_lacks(
        self, keeping: Keeping, warehouse: Warehouse, shop: Dataset, stored_rows: StoredRows
    ) -> None:
        """Whole numbers become floats only when all of them survive."""
        _load(warehouse, shop, b"1,9007199254740992,,\n2,-9007199254740993,,\n", "f1")
        wanted = _with(_SHOP, Column("amount", "float"))
        with pytest.raises(ServiceError) as refused:
            keeping.reshape(shop, wanted, {}, actor="k1")
        assert refused.value.code == "narrowing"
        assert (refused.value.details[0].column, refused.value.details[0].got) == ("amount", "-9007199254740993")
        assert isinstance(stored_rows("shop")[1]["amount"], int)
        keeping.erase(shop, {"id": 2}, actor="k1")
        assert keeping.reshape(shop, wanted, {}, actor="k1").schema.column("amount").type == "float"

    def test_settings(self, keeping: Keeping, warehouse: Warehouse, shop: Dataset) -> None:
        """Settings that are given replace the old ones, the others stay; those that cannot be change nothing."""
        changed = keeping.reshape(shop, _SHOP, {"retention_days": 7}, actor="k1")
        assert (changed.settings, changed.revision) == (DatasetSettings(retention_days=7), 1)
        changed = keeping.reshape(shop, _SHOP, {"new_columns": "add"}, actor="k1")
        assert changed.settings == DatasetSettings(retention_days=7, new_columns="add")
        with pytest.raises(ServiceError) as refused:
            keeping.reshape(shop, _with(_SHOP, Column("new", "int")), {"retention_days": -1}, actor="k1")
        assert refused.value.code == "bad_request"
        assert warehouse.dataset("shop") == changed

    @pytest.mark.usefixtures("batches")
    def test_evolve(self, keeping: Keeping, warehouse: Warehouse, shop: Dataset) -> None:
        """Columns that came with rows become nullable features; those that are there stay as they are."""
        more = [Column("amount", "text"), Column("new", "float", "key", nullable=False)]
        changed = keeping.evolve(shop, more, actor="k1")
        assert changed.schema == _with(_SHOP, Column("new", "float"))
        assert keeping.evolve(shop, [Column("new", "int")], actor="k1") == changed == warehouse.dataset("shop")

    def test_deleted_meanwhile(self, keeping: Keeping, warehouse: Warehouse, shop: Dataset) -> None:
        """A dataset that is gone is named so, and one of its name that is another is left alone."""
        warehouse.delete("shop", actor="k1")
        warehouse.create("shop", _SHOP, actor="k1")
        for act in (
            lambda: keeping.reshape(shop, _with(_SHOP, Column("new", "int")), {}, actor="k1"),
            lambda: keeping.evolve(shop, [Column("new", "int")], actor="k1"),
            lambda: keeping.erase(shop, {"id": 1}, actor="k1"),
        ):
            with pytest.raises(ServiceError) as refused:
                act()
            assert refused.value.code == "unknown_dataset"

    # --- rows that go ---

    @pytest.mark.usefixtures("batches")
    def test_erase(
        self, keeping: Keeping, warehouse: Warehouse, shop: Dataset, stored_rows: StoredRows, add_version: AddVersion
    ) -> None:
        """All rows of the key go, others stay under their numbers; versions that were trained on them are named."""
        for model, upto in (("before", 1), ("after", 2), ("last", 6)):
            add_version(model, "shop", upto)
        erasure = keeping.erase(shop, {"id": 2}, actor="k1")
        assert (erasure.rows, erasure.not_reproducible) == (2, (("after", 1), ("last", 1)))
        assert [(seq, row["id"]) for seq, row in stored_rows("shop").items()] == [(1, 1), (3, 3), (5, 4), (6, 4)]
        dataset = warehouse.dataset("shop")
        assert (dataset.rows, dataset.last_seq, dataset.removed) == (4, 6, 2)
        again = keeping.erase(shop, {"id": 2}, actor="k1")
        assert (again.rows, again.not_reproducible, again.id != erasure.id) == (0, (), True)
        assert _load(warehouse, dataset, b"2,,,\n", "f3").first_seq == 7

    @pytest.mark.usefixtures("batches")
    def test_erase_once(self, keeping: Keeping, warehouse: Warehouse, shop: Dataset) -> None:
        """The same call again has the first answer, also when rows of the key came meanwhile."""
        once = Repeatable("DELETE", "k1", "again", "of the key")
        first = keeping.erase(shop, {"id": 1}, actor="k1", once=once)
        _load(warehouse, shop, b"1,,,\n", "f3")
        assert keeping.erase(shop, {"id": 1}, actor="k1", once=once) == first
        assert warehouse.dataset("shop").rows == 6

    def test_erase_by_several_columns(self, keeping: Keeping, warehouse: Warehouse, stored_rows: StoredRows) -> None:
        """Only rows with all values of the key go, whatever their types; rows without a whole key stay."""
        schema = Schema([Column("a", "text", "key"), Column("b", "date", "key"), Column("c", "timestamp", "key")])
        dataset, _ = warehouse.create("d", schema, actor="k1")
        at = "2024-01-01T00:00:00Z"
        rows = f"x',2024-01-01,{at}\nx',2024-01-02,{at}\nx',,{at}\nx',2024-01-01,{at}\n"
        _load(warehouse, dataset, rows.encode(), "f1")
        key = {"a": "x'", "b": date(2024, 1, 1), "c": datetime(2024, 1, 1, tzinfo=UTC)}
        assert keeping.erase(dataset, key, actor="k1").rows == 2
        assert list(stored_rows("d")) == [2, 3]

    def test_rejects_that_tell_of_the_key(self, keeping: Keeping, warehouse: Warehouse) -> None:
        """Rejected cells that hold a value of the key go as well."""
        schema = Schema([Column("email", "text", "key"), Column("a", "int")])
        dataset, _ = warehouse.create("d", schema, actor="k1")
        rejects = [Problem(1, "a", "a number", "x"), Problem(2, "a", "a number", "me@x")]
        batch = _load(warehouse, dataset, b"you@x,1\n", "f1", rejected=2, rejects=rejects)
        keeping.erase(dataset, {"email": "me@x"}, actor="k1")
        assert [problem for _, problem in warehouse.rejects(batch, limit=9)] == rejects[:1]

    def test_retention(
        self,
        keeping: Keeping,
        warehouse: Warehouse,
        shop: Dataset,
        stored_rows: StoredRows,
        *,
        outlive: Outlive,
        add_version: AddVersion,
    ) -> None:
        """Rows go once their batch is older than the setting; the batch stays in the ledger."""
        old = _load(warehouse, shop, _FIRST, "f1")
        add_version("m", "shop", 3)
        outlive("shop", 30)
        assert keeping.expire() == 0  # nothing is forgotten unless the dataset says so
        keeping.reshape(shop, _SHOP, {"retention_days": 31}, actor="k1")
        _load(warehouse, shop, _SECOND, "f2")
        assert keeping.expire() == 0
        keeping.reshape(shop, _SHOP, {"retention_days": 29}, actor="k1")
        assert (keeping.expire(), keeping.expire()) == (3, 0)
        assert list(stored_rows("shop")) == [4, 5, 6]
        kept = warehouse.batch(shop, old.id)
        assert (kept.state, kept.rows, kept.first_seq, kept.last_seq) == ("committed", 3, 1, 3)
        assert warehouse.dataset("shop").rows == 3
        outlive("shop", 30)
        assert (keeping.expire(), stored_rows("shop")) == (3, {})

    # --- reports ---

    def test_reports(self, keeping: Keeping, batches: tuple[Batch, Batch]) -> None:
        """Each batch is reported on once, in order: counts, ranges, levels and what came twice."""
        assert keeping.report(batches[0].id) is None
        assert [keeping.take_report() for _ in range(3)] == [True, True, False]
        first, second = (keeping.report(batch.id) for batch in batches)
        assert first is not None
        assert second is not None
        assert (first["rows"], first["rejected"], first["removed"], first["sampled"]) == (3, 1, 0, False)
        by_name = {column["name"]: column for column in first["columns"]}
        wanted = {"nulls": 1, "min": 10, "max": 30, "mean": 20.0, "distinct": 2}
        assert {name: by_name["amount"][name] for name in wanted} == wanted
        assert by_name["amount"]["std"] == pytest.approx(14.142135623)
        assert (by_name["day"]["min"], by_name["day"]["max"]) == ("2024-01-01", "2024-01-03")
        assert by_name["kind"]["levels"] == [{"level": "a", "rows": 2}, {"level": "b", "rows": 1}]
        assert by_name["kind"]["new_categories"] == {"count": 2, "levels": ["a", "b"]}
        assert first["duplicates"] == {"rows": 0, "keys": 0, "known_keys": 0}
        assert second["duplicates"] == {"rows": 1, "keys": 1, "known_keys": 1}
        assert second["columns"][3]["new_categories"] == {"count": 1, "levels": ["c"]}
        assert first["checksum"] is not None
        assert by_name["amount"]["bins"] == [1, *[0] * 18, 1]
        assert (by_name["kind"]["bins"], sum(by_name["day"]["bins"])) == (None, 2)

    def test_report_of_every_type(self, keeping: Keeping, warehouse: Warehouse) -> None:
        """Every type has its figures, and a batch without values has none."""
        kinds = ("bool", "int", "float", "text", "date", "timestamp")
        dataset, _ = warehouse.create("d", Schema([Column(kind, kind) for kind in kinds]), actor="k1")
        at = "2024-01-01T01:00:00+01:00"
        full = _load(warehouse, dataset, f"t,1,1.5,x,2024-01-01,{at}\nf,3,1e300,x,,{at}\n".encode(), "f1")
        empty = _load(warehouse, dataset, b",,,,,\n", "f2")
        assert [keeping.take_report() for _ in range(3)] == [True, True, False]
        report = keeping.report(full.id)
        assert report is not None
        assert [(c["min"], c["max"], c["distinct"]) for c in report["columns"]] == [
            (None, None, 2),
            (1, 3, 2),
            (1.5, 1e300, None),
            (None, None, 1),
            ("2024-01-01", "2024-01-01", 1),
            ("2024-01-01T00:00:00.000000Z", "2024-01-01T00:00:00.000000Z", 1),
        ]
        assert [c["mean"] for c in report["columns"][:2]] == [0.5, 2.0]
        report = keeping.report(empty.id)
        assert report is not None
        assert {(c["nulls"], c["min"], c["mean"], c["std"]) for c in report["columns"]} == {(1, None, None, None)}
        assert report["duplicates"] == {"rows": 0, "keys": None, "known_keys": None}

    def test_quality_of_batches(self, keeping: Keeping, shop: Dataset, batches: tuple[Batch, Batch]) -> None:
        """Newest first, page by page: how many rows were rejected, and what is missing once there is a report."""
        first, second = (batch.id for batch in batches)
        assert [(one.batch_id, one.missing, one.columns) for one in keeping.quality(shop, limit=9)] == [
            (second, None, {}),
            (first, None, {}),
        ]
        while keeping.take_report():
            pass
        (oldest,) = keeping.quality(shop, limit=9, after=second)
        assert (oldest.batch_id, oldest.state, oldest.rows, oldest.rejected) == (first, "committed", 3, 1)
        assert oldest.columns["amount"] == pytest.approx(1 / 3)
        assert oldest.missing == pytest.approx(sum(oldest.columns.values()) / len(shop.schema.columns))
        assert len(keeping.quality(shop, limit=1)) == 1
        with pytest.raises(ServiceError, match="has no batch"):
            keeping.quality(shop, limit=1, after=str(uuid.uuid4()))

    def test_report_is_made_again(self, keeping: Keeping, shop: Dataset, batches: tuple[Batch, Batch]) -> None:
        """Once rows went, the report tells of them no more: it is made again."""
        keeping.take_report()
        before = keeping.report(batches[0].id)
        keeping.erase(shop, {"id": 2}, actor="k1")
        assert keeping.report(batches[0].id) is None
        while keeping.take_report():
            pass
        first, second = (keeping.report(batch.id) for batch in batches)
        assert before is not None
        assert first is not None
        assert second is not None
        assert (first["rows"], first["removed"], first["checksum"] != before["checksum"]) == (2, 1, True)
        assert first["columns"][3]["levels"] == [{"level": "a", "rows": 2}]
        assert second["duplicates"]["known_keys"] == 0
        assert keeping.profile(shop)["columns"][3]["levels"] == 1  # b and c came with the rows that went

    def test_profile(self, keeping: Keeping, warehouse: Warehouse, shop: Dataset, batches: tuple[Batch, Batch]) -> None:
        """The reports together say what the whole dataset holds; a column that came later was missing before."""
        assert keeping.profile(shop)["newest"] is None
        changed = keeping.evolve(shop, [Column("late", "float")], actor="k1")
        _load(warehouse, changed, b"7,50,2024-02-01,a,2.5\n", "f3")
        while keeping.take_report():
            pass
        profile = keeping.profile(warehouse.dataset("shop"))
        assert (profile["rows"], profile["batches"], profile["reported"], profile["merged"]) == (7, 3, 3, 3)
        by_name = {column["name"]: column for column in profile["columns"]}
        amount = by_name["amount"]
        assert (amount["nulls"], amount["min"], amount["max"], amount["mean"]) == (1, 10, 50, pytest.approx(25.0))
        assert amount["std"] == pytest.approx(13.784048752)  # of 10, 30, 20, 20, 20, 50
        assert (by_name["day"]["min"], by_name["day"]["max"]) == ("2024-01-01", "2024-02-01")
        assert (by_name["kind"]["levels"], by_name["late"]["nulls"]) == (3, 6)
        assert profile["newest"]["report"]["rows"] == 1
        assert batches[1].id != profile["newest"]["batch"]
