"""The rows of a version, kept for the record."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from pyarrow import parquet

from trainyard.policy import Policy
from trainyard.schema import Column, Schema
from trainyard.snapshot.rows import snapshot_of
from trainyard_trainer import extract, workdir

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from conftest import World

SCHEMA = Schema(
    [
        Column("id", "int", role="key"),
        Column("first_seq", "float"),
        Column("flag", "bool"),
        Column("city", "text"),
        Column("day", "date"),
        Column("at", "timestamp"),
    ]
)


def row(number: int, **values: Any) -> dict[str, Any]:
    """Return a row of SCHEMA."""
    day = datetime(2024, 2, 28, 12, 30, 15, number, tzinfo=UTC)
    return {
        "id": number,
        "first_seq": number / 3,
        "flag": number % 2 == 0,
        "city": f"Zürich {number % 5}",
        "day": date(2024, 2, 28),
        "at": day,
        **values,
    }


def test_every_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file gives back the rows that count, in all types, missing values included, over several groups of rows."""
    monkeypatch.setattr(extract, "BLOCK_ROWS", 7)
    nothing = dict.fromkeys(SCHEMA.names)
    rows = [*(row(n) for n in range(20)), nothing, row(3, city=None)]
    snapshot = snapshot_of(SCHEMA, rows)
    path = extract.write_extract(tmp_path, workdir.write_snapshot(tmp_path, snapshot))
    found = parquet.read_table(path)
    assert found.schema.names == ["ingest_seq", "_first_seq", *SCHEMA.names]
    assert found.column("ingest_seq").to_pylist() == snapshot.seq.tolist()
    assert found.column("_first_seq").to_pylist() == snapshot.first_seq.tolist()
    expected = [rows[seq - 1] for seq in snapshot.seq.tolist()]
    assert found.select(SCHEMA.names).to_pylist() == expected
    assert found.schema.metadata[b"trainyard.sha256"].decode() == snapshot.sha256
    assert parquet.ParquetFile(path).num_row_groups == 3


def test_kept_when_the_policy_says_so(world: World) -> None:
    """The version names the object, which bears the hash of its rows; a second version of the same rows shares it."""
    for _ in range(2):
        world.request(settings={"keep_extract": True})
        assert world.trainer.step()
    versions = list(world.runs.models["flights"].versions.values())
    keys = {f"extracts/flights/{version.snapshot_hash}.parquet" for version in versions}
    assert {version.extract_key for version in versions} == keys
    (key,) = keys
    assert parquet.read_table(io.BytesIO(world.blobs.get(key).data)).num_rows == versions[0].snapshot_rows


def test_not_kept_otherwise(world: World) -> None:
    """Without that word nothing is stored, and the settings of a request are those of the release before."""
    world.request()
    world.trainer.step()
    assert world.runs.models["flights"].versions[1].extract_key is None
    assert list(world.blobs.list("extracts/")) == []
    assert "keep_extract" not in Policy().settings()
    assert Policy(keep_extract=True).settings()["keep_extract"] is True
