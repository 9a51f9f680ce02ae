"""`trainyard model import`: the file is converted here, compared with its library, and sent as a model file."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import lightgbm as lgb
import numpy as np
import pytest

from trainyard.model import Predictor, decode
from trainyard_client.cli.exits import Exit

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = [
    {"name": "x", "type": "float", "role": "feature", "nullable": True},
    {"name": "y", "type": "int", "role": "feature", "nullable": True},
    {"name": "late", "type": "bool", "role": "label", "nullable": True},
]
VERSION = {"model": "late", "version": 3}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """A model of LightGBM and rows to compare on."""
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.normal(size=200), rng.integers(0, 5, 200)])
    params = {"objective": "binary", "verbose": -1, "num_threads": 1}
    data = lgb.Dataset(x, x[:, 0] + x[:, 1] > 2, feature_name=["x", "y"])
    lgb.train(params, data, 5).save_model(tmp_path / "model.txt")
    lines = [f"{a},{int(b)},true" for a, b in x.tolist()]
    (tmp_path / "rows.csv").write_text("\n".join(["x,y,late", *lines]) + "\n")
    return {name: str(tmp_path / name) for name in ("model.txt", "rows.csv", "out.msgpack")}


@pytest.fixture(autouse=True)
def known(api: Any) -> None:
    """The model and its dataset."""
    about = {"name": "late", "dataset": "flights", "label": "late", "task": "auto", "policy": {}, "champion": None}
    api.on("GET", "/v1/models/late", about).on("GET", "/v1/datasets/flights", {"name": "flights", "columns": COLUMNS})
    api.on("POST", "/v1/models/late/versions", (201, VERSION))


def test_a_file_becomes_a_version(trainyard: Any, api: Any, files: dict[str, str]) -> None:
    done = trainyard("model", "import", "late", files["model.txt"], "--rows", files["rows.csv"], "--json")
    assert (done.code, done.err) == (0, "")
    assert (done.json["version"], done.json["rows"], done.json["rows_with_a_value_taken_out"]) == (3, 400, 200)
    assert done.json["largest_difference"] <= done.json["allowed"] == 1e-6
    sent = api.asked[-1]
    assert sent.headers["Content-Type"] == "application/vnd.trainyard.model"
    model = decode(sent.body)
    Predictor(model).self_test()
    assert (model.name, model.classes, model.lineage.dataset) == ("late", (False, True), "flights")


def test_a_file_is_written_instead(trainyard: Any, api: Any, files: dict[str, str], tmp_path: Path) -> None:
    command = (
        "model",
        "import",
        "late",
        files["model.txt"],
        "--rows",
        files["rows.csv"],
        "--out",
        files["out.msgpack"],
    )
    done = trainyard(*command)
    assert done.code == 0
    assert "largest difference" in done.out
    assert decode((tmp_path / "out.msgpack").read_bytes()).task == "binary"
    assert "POST /v1/models/late/versions" not in api.paths()


def test_what_cannot_be_converted_is_refused_by_name(trainyard: Any, files: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(b"\x80\x04.")
    done = trainyard("model", "import", "late", str(tmp_path / "model.pkl"), "--rows", files["rows.csv"])
    assert done.code == Exit.REFUSED
    assert ".pkl file: reading one runs whatever its author put there; save it as" in done.err
    done = trainyard("model", "import", "late", files["model.txt"], "--rows", files["rows.csv"], "--columns", "x,z")
    assert done.code == Exit.REFUSED
    assert "column 'z': the dataset has no such column" in done.err


def test_another_task_is_refused(trainyard: Any, api: Any, files: dict[str, str]) -> None:
    about = {"name": "late", "dataset": "flights", "label": "y", "task": "regression", "policy": {}, "champion": None}
    api.on("GET", "/v1/models/late", about)
    done = trainyard("model", "import", "late", files["model.txt"], "--rows", files["rows.csv"])
    assert done.code == Exit.REFUSED
    assert "the file is a model for binary, late is one for regression" in done.err


def test_rows_that_do_not_fit_are_refused(trainyard: Any, files: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "odd.csv").write_text("x,y\n1.5,2\nmany,3\n")
    done = trainyard("model", "import", "late", files["model.txt"], "--rows", str(tmp_path / "odd.csv"))
    assert done.code == Exit.REFUSED
    assert "1 value(s) that do not fit the dataset: row 2, x: a finite number, not many" in done.err


@pytest.mark.parametrize(
    ("missing", "named"), [("trainyard_convert", "'trainyard-convert[lightgbm]'"), ("lightgbm", "")]
)
def test_what_is_not_installed_is_named(
    trainyard: Any, files: dict[str, str], monkeypatch: pytest.MonkeyPatch, missing: str, named: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    done = trainyard("model", "import", "late", files["model.txt"], "--rows", files["rows.csv"])
    assert done.code == Exit.DEPENDENCY
    assert f"{missing.replace('_', '-')} is not installed" in done.err
    assert named in done.err
