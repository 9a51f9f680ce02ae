"""What every warehouse does. The class needs the fixtures ``warehouse`` (empty), ``stored_rows`` and ``add_model``."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import pytest

from trainyard.contracts.warehouse import Intake, Rows, Taken
from trainyard.errors import Problem, ServiceError
from trainyard.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainyard.contracts.warehouse import Dataset, Stored, Warehouse

    #: the name of a dataset -> its rows in order, by column name, typed
    StoredRows = Callable[[str], list[dict[str, Any]]]
    #: the name of a model, the name of the dataset it reads
    AddModel = Callable[[str, str], None]

_SCHEMA = Schema.from_dict(
    {
        "columns": [
            {"name": "id", "type": "int", "role": "key", "nullable": False},
            {"name": 'Größe "%s" 100%', "type": "float"},
            {"name": "note", "type": "text"},
            {"name": "ok", "type": "bool"},
            {"name": "day", "type": "date"},
            {"name": "at", "type": "timestamp"},
            {"name": "kind", "type": "category"},
        ]
    }
)
_OTHER = Schema.from_dict({"columns": [{"name": "a", "type": "int"}]})


def _intake(fingerprint: str, **others: Any) -> Intake:
    return Intake(source="http", source_name="k1", fingerprint=fingerprint, body_sha256=f"of {fingerprint}", **others)


def _load(warehouse: Warehouse, dataset: Dataset, ids: Sequence[int], fingerprint: str = "f1", **others: Any) -> Stored:
    chunks = iter(["".join(f"{number}\n" for number in ids).encode()])
    return warehouse.load(dataset, Rows(("id",), chunks), lambda: _intake(fingerprint, **others))


class WarehouseContract:
    """Datasets made once, batches stored whole and once, a ledger that can be paged."""

    def test_create_and_find_alike(self, warehouse: Warehouse) -> None:
        """A dataset is made once; again with the same columns gives it back, with others is a conflict."""
        made, new = warehouse.create("shop", _SCHEMA, actor="k1")
        assert (new, made.name, made.schema, made.rows, made.last_seq) == (True, "shop", _SCHEMA, 0, 0)
        assert warehouse.create("shop", _SCHEMA, actor="k1") == (made, False)
        assert warehouse.dataset("shop") == made
        with pytest.raises(ServiceError) as refused:
            warehouse.create("shop", _OTHER, actor="k1")
        assert refused.value.code == "conflict"

    def test_create_at_once(self, warehouse: Warehouse) -> None:
        """Of eight who make the same dataset at once, one makes it and all get it."""
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda _: warehouse.create("shop", _SCHEMA, actor="k1"), range(8)))
        assert sorted(new for _, new in made) == [False] * 7 + [True]
        assert len({dataset.id for dataset, _ in made}) == 1

    def test_what_was_taken(self, warehouse: Warehouse) -> None:
        """The ledger adds up by source and state, over all datasets; the same batch again counts once."""
        assert warehouse.taken() == []
        shop = warehouse.create("shop", _SCHEMA, actor="k1")[0]
        other = warehouse.create("other", _SCHEMA, actor="k1")[0]
        for dataset, ids, fingerprint in ((shop, [1, 2], "f1"), (shop, [1, 2], "f1"), (other, [3], "f2")):
            _load(warehouse, dataset, ids, fingerprint, rejected=2)
        warehouse.refuse(other, _intake("f3", rejected=4), "too many rejects")
        assert warehouse.taken() == [Taken("http", "committed", 2, 3, 4), Taken("http", "refused", 1, 0, 4)]

    def test_unknown_dataset(self, warehouse: Warehouse) -> None:
        """What does not exist is named so, when read and when deleted."""
        for act in (lambda: warehouse.dataset("no"), lambda: warehouse.delete("no", actor="k1")):
            with pytest.raises(ServiceError) as refused:
                act()
            assert refused.value.code == "unknown_dataset"

    def test_list_by_name(self, warehouse: Warehouse) -> None:
        """Datasets are listed by name, page by page."""
        for name in ("b", "c_1", "a", "ca"):
            warehouse.create(name, _OTHER, actor="k1")
        assert [d.name for d in warehouse.datasets(limit=3)] == ["a", "b", "c_1"]
        assert [d.name for d in warehouse.datasets(limit=3, after="c_1")] == ["ca"]

    def test_delete(self, warehouse: Warehouse) -> None:
        """A deleted dataset is gone; its name can be used again and starts from nothing."""
        old, _ = warehouse.create("shop", _SCHEMA, actor="k1")
        _load(warehouse, old, [1, 2])
        warehouse.delete("shop", actor="k1")
        assert warehouse.datasets(limit=10) == []
        new, made = warehouse.create("shop", _SCHEMA, actor="k1")
        assert (made, new.rows, warehouse.batches(new, limit=10)) == (True, 0, [])
        with pytest.raises(ServiceError) as refused:
            _load(warehouse, old, [3], "f2")
        assert refused.value.code == "unknown_dataset"

    def test_delete_in_use(self, warehouse: Warehouse, add_model: AddModel) -> None:
        """A dataset that a model reads stays."""
        warehouse.create("shop", _SCHEMA, actor="k1")
        add_model("buys", "shop")
        with pytest.raises(ServiceError, match="buys") as refused:
            warehouse.delete("shop", actor="k1")
        assert refused.value.code == "in_use"
        assert warehouse.dataset("shop").name == "shop"

    def test_values_survive(self, warehouse: Warehouse, stored_rows: StoredRows) -> None:
        """Every type comes back as it was, in any column order, with every sign that a text may hold."""
        dataset, _ = warehouse.create("shop", _SCHEMA, actor="k1")
        names = ("note", "id", 'Größe "%s" 100%', "ok", "day", "at", "kind")
        odd = "tab\t line\r\n\\.\n back\\slash, \\N \\. 'quote\" ä €"
        quoted = odd.replace('"', '""')
        records = [
            f'"{quoted}",1,1.5e-300,t,2024-02-29,2024-01-01T12:00:00.123456+02:00,a\n',
            '"",+2,.5,f,0001-01-01,9999-12-31T23:59:59Z,\\N\n',
            ",-9223372036854775808,1.,true,,,\n",
        ]
        chunks = iter(["".join(records[:2]).encode(), b"", records[2].encode()])
        warehouse.load(dataset, Rows(names, chunks), lambda: _intake("f1"))
        first, second, third = stored_rows("shop")
        noon = datetime(2024, 1, 1, 10, 0, 0, 123456, UTC)
        assert list(first.values()) == [1, 1.5e-300, odd, True, date(2024, 2, 29), noon, "a"]
        late = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
        assert list(second.values()) == [2, 0.5, "", False, date(1, 1, 1), late, "\\N"]
        assert list(third.values()) == [-(2**63), 1.0, None, True, None, None, None]

    def test_columns_not_sent_are_missing(self, warehouse: Warehouse, stored_rows: StoredRows) -> None:
        """Columns that a batch does not name are missing in all its rows; the empty cell can mean missing."""
        dataset, _ = warehouse.create("shop", _SCHEMA, actor="k1")
        warehouse.load(dataset, Rows(("kind", "id"), iter([b",1\nx,2\n"])), lambda: _intake("f1"))
        assert [(row["id"], row["kind"], row["note"]) for row in stored_rows("shop")] == [
            (1, None, None),
            (2, "x", None),
        ]

    def test_quoted_empty_cells(self, warehouse: Warehouse, stored_rows: StoredRows) -> None:
        """The quoted empty cell is a text, or missing like the other where the batch says so."""
        dataset, _ = warehouse.create("shop", _SCHEMA, actor="k1")
        warehouse.load(dataset, Rows(("id", "note"), iter([b'1,""\n'])), lambda: _intake("f1"))
        rows = Rows(("id", "note"), iter([b'2,""\n"3",x\n']), quoted_empty_is_missing=True)
        warehouse.load(dataset, rows, lambda: _intake("f2"))
        assert [row["note"] for row in stored_rows("shop")] == ["", None, "x"]

    def test_chunks_of_any_form(self, warehouse: Warehouse, stored_rows: StoredRows) -> None:
        """Plain chunks, quoted ones, ones with tabs and backslashes follow each other in any order, as one batch."""
        dataset, _ = warehouse.create("shop", _SCHEMA, actor="k1")
        chunks = [
            b"1,a\n2,\n",
            b"",
            b"3,b\tc\n",
            b"4,d\\n\n",
            b'5,"e,""f"\n',
            b"6,g\n",
            b'"7","h\n\\.\n"\n',
            b"8,i\n,\n",
        ]
        stored = warehouse.load(dataset, Rows(("id", "note"), iter(chunks)), lambda: _intake("f1")).batch
        notes = ["a", None, "b\tc", "d\\n", 'e,"f', "g", "h\n\\.\n", "i", None]
        assert [(row["id"], row["note"]) for row in stored_rows("shop")] == list(
            zip([*range(1, 9), None], notes, strict=True)
        )
        assert (stored.rows, stored.first_seq, stored.last_seq) == (9, 1, 9)

    def test_known_before(self, warehouse: Warehouse, stored_rows: StoredRows) -> None:
        """A batch whose fingerprint is known before and in the ledger is answered without reading a chunk."""
        dataset, _ = warehouse.create("shop", _SCHEMA, actor="k1")
        first = _load(warehouse, dataset, [1])

        def unread() -> Any:
            raise AssertionError("a chunk was read")
            yield b""

        again = warehouse.load(dataset, Rows(("id",), unread()), lambda: _intake("f1"), fingerprint="f1")
        assert (again.new, again.batch) == (False, first.batch)
        assert len(stored_rows("shop")) == 1

    def test_single_column(self, warehouse: Warehouse, stored_rows: StoredRows) -> None:
        """A table of one column keeps its missing values."""
        dataset, _ = warehouse.create("one", _OTHER, actor="k1")
        warehouse.load(dataset, Rows(("a",), iter([b"\n7\n"])), lambda: _intake("f1"))
        assert stored_rows("one") == [{"a": None}, {"a": 7}]

    def test_numbers_without_gaps(self, warehouse: Warehouse) -> None:
        """Batches follow each other: the second begins where the first ended."""
        dataset, _ = warehouse.create("shop", _SCHEMA, actor="k1")
        first = _load(warehouse, dataset, range(3), "f1").batch
        second = _load(warehouse, dataset, range(2), "f2", rejected=1).batch
        assert (first.rows, first.rejected, first.first_seq, first.last_seq) == (3, 0, 1, 3)
        assert (second.rows, second.rejected, second.first_seq, second.last_seq) == (2, 1, 4, 5)
        assert (first.state, first.source, first.source_name, first.reason) == ("committed", "http", "k1", None)
        assert warehouse.dataset("shop").last_seq == 5

    def test_same_batch_twice(self, warehouse: Warehouse, stored_rows: StoredRows) -> None:
        """A fingerprint that is in the ledger is not stored again, whatever the rows."""
        dataset, _ = warehouse.create("shop", _SCHEMA, actor="k1")
        first = _load(warehouse, dataset, [1])
        again = _load(warehouse, dataset, [1, 2])
        assert (first.new, again.new) == (True, False)
        assert (again.batch, again.body_sha256) == (first.batch, "of f1")
        assert len(stored_rows("shop")) == 1

    def test_same_batch_at_once(self, warehouse: Warehouse, stored_rows: StoredRows) -> None:
        """Of eight who bring the same batch at once, one stores it; all get the same answer."""
        dataset, _ = warehouse.create("shop", _SCHEMA, actor="k1")
        with ThreadPoolExecutor(8) as pool:
            stored = list(pool.map(lambda _: _load(warehouse, dataset, range(100)), range(8)))
        assert sorted(one.new for one in stored) == [False] * 7 + [True]
        assert len({one.batch for one in stored}) == 1
        assert len(stored_rows("shop")) == 100

    def test_other_batches_at_once(self, warehouse: Warehouse, stored_rows: StoredRows) -> None:
        """Batches that come at once are numbered one after the other, none within another."""
        dataset, _ = warehouse.create("shop", _SCHEMA, actor="k1")

        def load(number: int) -> Stored:
            return _load(warehouse, dataset, [number] * 50, f"f{number}")

        with ThreadPoolExecutor(8) as pool:
            spans = sorted((s.batch.first_seq or 0, s.batch.last_seq or 0) for s in pool.map(load, range(8)))
        assert spans == [(start, start + 49) for start in range(1, 400, 50)]
        ids = [row["id"] for row in stored_rows("shop")]
        assert all(len(set(ids[start : start + 50])) == 1 for start in range(0, 400, 50))

    def test_nothing_of_a_batch_that_fails(self, warehouse: Warehouse, stored_rows: StoredRows) -> None:
        """What reading the rows, or concluding, raises comes out as it is, and nothing stays behind."""
        dataset, _ = warehouse.create("shop", _SCHEMA, actor="k1")
        mine = ServiceError("bad_csv", "line 7")

        def breaking() -> Any:
            yield b"1\n" * 10_000
            raise mine

        def concluding() -> Intake:
            raise mine

        for rows, conclude in (
            (breaking(), lambda: _intake("f1")),
            (iter([b"1\n"]), concluding),
        ):
            with pytest.raises(ServiceError) as raised:
                warehouse.load(dataset, Rows(("id",), rows), conclude)
            assert raised.value is mine
        assert (stored_rows("shop"), warehouse.batches(dataset, limit=5)) == ([], [])
        assert warehouse.dataset("shop").last_seq == 0

    def test_refuse(self, warehouse: Warehouse) -> None:
        """A refusal is in the ledger with its reason and problems, once, and has no rows."""
        dataset, _ = warehouse.create("shop", _SCHEMA, actor="k1")
        problems = [Problem(3, "id", "a number", "x"), Problem(None, None, "b", "")]
        intake = Intake("landing", "landing/shop/a.csv", "s3:a", "", rejects=problems)
        first = warehouse.refuse(dataset, intake, "bad_csv: line 3")
        assert (first.new, warehouse.refuse(dataset, intake, "other").batch) == (True, first.batch)
        batch = first.batch
        assert (batch.state, batch.rows, batch.first_seq, batch.reason) == ("refused", 0, None, "bad_csv: line 3")
        assert warehouse.rejects(batch, limit=10) == [(1, problems[0]), (2, problems[1])]
        assert warehouse.dataset("shop").last_seq == 0

    def test_find_and_known(self, warehouse: Warehouse) -> None:
        """The ledger answers by fingerprint, within one dataset."""
        dataset, _ = warehouse.create("shop", _SCHEMA, actor="k1")
        other, _ = warehouse.create("other", _OTHER, actor="k1")
        stored = _load(warehouse, dataset, [1])
        found = warehouse.find(dataset, "f1")
        assert found is not None
        assert (found.batch, found.new) == (stored.batch, False)
        assert (warehouse.find(dataset, "f2"), warehouse.find(other, "f1")) == (None, None)
        assert warehouse.known(dataset, ["f0", "f1", "f2"]) == {"f1"}
        assert warehouse.known(dataset, []) == set()

    def test_page_batches_and_rejects(self, warehouse: Warehouse) -> None:
        """Batches come newest first and rejects in order, page by page; no more rejects are kept than promised."""
        dataset, _ = warehouse.create("shop", _SCHEMA, actor="k1")
        problems = [Problem(number, "id", "e", "g") for number in range(1, 10_003)]
        made = [_load(warehouse, dataset, [1], f"f{n}", rejects=problems if n == 0 else ()).batch for n in range(3)]
        page = warehouse.batches(dataset, limit=2)
        assert page == [made[2], made[1]]
        assert warehouse.batches(dataset, limit=2, after=page[-1].id) == [made[0]]
        assert warehouse.batch(dataset, made[1].id) == made[1]
        assert warehouse.rejects(made[0], limit=2, after=9_998) == [(9_999, problems[9_998]), (10_000, problems[9_999])]
        assert warehouse.rejects(made[1], limit=2) == []

    def test_batches_in_one_state(self, warehouse: Warehouse) -> None:
        """Committed and refused ones can be listed apart, page by page."""
        dataset, _ = warehouse.create("shop", _OTHER, actor="k1")
        refused = [warehouse.refuse(dataset, _intake(f"r{n}"), "bad_csv: no").batch.id for n in range(3)]
        stored = warehouse.load(dataset, Rows(("a",), iter([b"1\n"])), lambda: _intake("f1")).batch
        assert [batch.id for batch in warehouse.batches(dataset, limit=9, state="committed")] == [stored.id]
        first, *others = warehouse.batches(dataset, limit=9, state="refused")
        assert [first.id, *(batch.id for batch in others)] == refused[::-1]
        assert warehouse.batches(dataset, limit=9, state="refused", after=first.id) == others

    def test_batch_id_known_before(self, warehouse: Warehouse) -> None:
        """A batch bears the id that it was given; the batch that is in the ledger already keeps its own."""
        dataset, _ = warehouse.create("shop", _SCHEMA, actor="k1")
        first, second = str(uuid.uuid4()), str(uuid.uuid4())
        for ident in (first, second):
            chunks = iter([b"1\n"])
            stored = warehouse.load(dataset, Rows(("id",), chunks), lambda: _intake("f1"), batch_id=ident)
            assert stored.batch.id == first

    def test_batch_of_any_dataset(self, warehouse: Warehouse) -> None:
        """The id alone leads to a batch while its dataset exists."""
        dataset, _ = warehouse.create("shop", _SCHEMA, actor="k1")
        other, _ = warehouse.create("other", _SCHEMA, actor="k1")
        mine, its = _load(warehouse, dataset, [1]).batch, _load(warehouse, other, [1]).batch
        assert (warehouse.batch_of_any(mine.id), warehouse.batch_of_any(its.id)) == (mine, its)
        warehouse.delete("other", actor="k1")
        for ident in (its.id, str(uuid.uuid4()), "x", ""):
            with pytest.raises(ServiceError) as refused:
                warehouse.batch_of_any(ident)
            assert refused.value.code == "unknown_batch"

    def test_unknown_batch(self, warehouse: Warehouse) -> None:
        """Any text that is not the id of a batch of this dataset is an unknown batch."""
        dataset, _ = warehouse.create("shop", _SCHEMA, actor="k1")
        other, _ = warehouse.create("other", _SCHEMA, actor="k1")
        foreign = _load(warehouse, other, [1]).batch.id
        for ident in ("", "nonsense", "1\0", "00000000-0000-0000-0000-000000000000", foreign):
            for act in (warehouse.batch, lambda d, i: warehouse.batches(d, limit=1, after=i)):
                with pytest.raises(ServiceError) as refused:
                    act(dataset, ident)
                assert refused.value.code == "unknown_batch"
