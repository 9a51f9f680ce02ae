"""Model files: whose each is by its name, held against its own library; nothing that could run is read."""

from __future__ import annotations

import hashlib
import io
import pickle
import sys
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import catboost
import lightgbm as lgb
import numpy as np
import pytest
import skops.io
import xgboost as xgb
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from tests.unit.convert.tables import CATEGORIES, NUMBERS, SCHEMA, alike, frame, labels, rows_of

from trainyard.model import Predictor, decode, encode
from trainyard_convert import ConversionError, MissingLibraryError, from_file, model_of

if TYPE_CHECKING:
    from pathlib import Path


def _native_files(folder: Path) -> dict[str, bytes]:
    table = frame().astype(dict.fromkeys(CATEGORIES, "category"))
    y = labels(table)
    params = {"objective": "binary", "verbose": -1, "num_threads": 1}
    lgb.train(params, lgb.Dataset(table, y), 4).save_model(folder / "m.txt")
    booster = xgb.train(
        {"objective": "binary:logistic", "nthread": 1}, xgb.DMatrix(table, y, enable_categorical=True), 4
    )
    booster.save_model(folder / "x.json")
    booster.save_model(folder / "x.ubj")
    numbers = catboost.CatBoostClassifier(iterations=4, verbose=0, allow_writing_files=False, thread_count=1)
    numbers.fit(frame()[NUMBERS], y).save_model(str(folder / "c.json"), format="json")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_libraries_own_files(tmp_path: Path) -> None:
    found = _native_files(tmp_path)
    for name, library in (("m.txt", "lightgbm"), ("x.json", "xgboost"), ("x.ubj", "xgboost"), ("c.json", "catboost")):
        converted = from_file(name, found[name], SCHEMA, label="late")
        assert (converted.library[0], converted.classes) == (library, (False, True))
        alike(converted, frame(seed=1))


def test_the_file_is_kept_in_the_lineage(tmp_path: Path) -> None:
    data = _native_files(tmp_path)["x.ubj"]
    converted = from_file("x.ubj", data, SCHEMA, label="late")
    model = model_of(converted, "late", "things", rows_of(frame(seed=1)), source=data).model
    imported = model.lineage.configuration["imported"]
    assert imported["sha256"] == hashlib.sha256(data).hexdigest()
    assert (imported["library"], model.lineage.dataset, model.lineage.snapshot_rows) == ("xgboost", "things", 0)
    assert model.golden is not None
    assert len(model.golden.rows) == 16
    Predictor(decode(encode(model))).self_test()


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(max_iter=2000),
        RandomForestClassifier(3, random_state=0),
        GradientBoostingClassifier(n_estimators=3),
        HistGradientBoostingClassifier(max_iter=3),
        CalibratedClassifierCV(LogisticRegression(max_iter=2000), ensemble=False),
        VotingClassifier([("a", LogisticRegression(max_iter=2000))], voting="soft"),
    ],
)
def test_skops_files(estimator: Any) -> None:
    parts = [
        ("n", make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), NUMBERS),
        ("l", OneHotEncoder(handle_unknown="ignore", sparse_output=False), CATEGORIES),
    ]
    fitted = make_pipeline(ColumnTransformer(parts), estimator).fit(frame(), labels(frame()))
    alike(from_file("m.skops", skops.io.dumps(fitted), SCHEMA, label="late"), frame(seed=2))


def test_a_skops_file_with_foreign_types_is_refused_with_their_names() -> None:
    fitted = lgb.LGBMClassifier(n_estimators=2, verbose=-1, n_jobs=1).fit(frame()[NUMBERS], labels(frame()))
    with pytest.raises(ConversionError, match=r"not trusted: lightgbm\.basic\.Booster, lightgbm\.sklearn"):
        from_file("m.skops", skops.io.dumps(fitted), SCHEMA)
    with pytest.raises(ConversionError, match=r"\.skops file: skops cannot read it"):
        from_file("m.skops", b"PK", SCHEMA)


@pytest.mark.parametrize("name", ["m.pkl", "m.pickle", "m.joblib", "m.txt", "m.json", "m", "m.skops"])
def test_a_pickle_is_refused_whatever_its_name(name: str) -> None:
    buffer = io.BytesIO()
    pickle.dump(np.zeros(3), buffer)
    with pytest.raises(ConversionError, match=r"reading one runs whatever its author put there; save it as \.txt"):
        from_file(name, buffer.getvalue(), SCHEMA)


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("m.cbm", r"\.cbm file: it is CatBoost's binary form; save it with save_model\(\.\.\., format='json'\)"),
        ("m.model", r"\.model file: XGBoost's old binary form"),
        ("m.onnx", r"\.onnx file"),
        ("m.yaml", r"\.yaml file: its ending names no library; save it as"),
        ("m", "nameless file: its ending names no library"),
        ("m.txt", "LightGBM file: it is not a text model"),
        ("m.json", "CatBoost file: it is not JSON"),
        ("m.ubj", "XGBoost"),
    ],
)
def test_other_files_are_refused_by_name(name: str, refused: str) -> None:
    with pytest.raises(ConversionError, match=refused):
        from_file(name, b"hello", SCHEMA)


def test_without_its_library_no_file_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = _native_files(tmp_path)
    for name, library in (("m.txt", "lightgbm"), ("x.ubj", "xgboost"), ("c.json", "catboost")):
        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(MissingLibraryError, match=rf"{library} is not installed; .*trainyard-convert\[{library}\]"):
            from_file(name, found[name], SCHEMA)
    monkeypatch.setitem(sys.modules, "skops.io", None)
    with pytest.raises(MissingLibraryError, match=r"trainyard-convert\[scikit-learn\]"):
        from_file("m.skops", b"PK", SCHEMA)


def test_a_conversion_that_answers_otherwise_is_refused(tmp_path: Path) -> None:
    found = _native_files(tmp_path)
    right, wrong = (
        from_file("m.txt", d, SCHEMA) for d in (found["m.txt"], found["m.txt"].replace(b"sigmoid:1", b"sigmoid:2"))
    )
    mixed = type(right)(**{**vars(right), "native": wrong.native})
    with pytest.raises(ConversionError, match=r"parity with lightgbm: .* differs by 0\.\d+, more than"):
        alike(mixed, frame(seed=1))
    with pytest.raises(ConversionError, match="rows to compare with: none has a value in every column"):
        alike(right, frame(0))


def _packed(parts: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in parts.items():
            packed.writestr(name, content)
    return out.getvalue()


def _parts() -> dict[str, bytes]:
    fitted = LogisticRegression(max_iter=2000).fit(frame(missing=False)[NUMBERS], labels(frame(missing=False)))
    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(fitted))) as whole:
        return {name: whole.read(name) for name in whole.namelist()}


def test_a_compressed_skops_file() -> None:
    alike(from_file("m.skops", _packed(_parts()), SCHEMA, label="late"), frame(seed=2))


def test_a_skops_file_that_unpacks_to_much_more_than_itself_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bytes] = []
    monkeypatch.setattr(skops.io, "get_untrusted_types", lambda *, data: read.append(data))
    with pytest.raises(ConversionError, match="it unpacks to 4 MiB; a model has at most 1024 MiB, 64 MiB of them"):
        from_file("m.skops", _packed({**_parts(), "schema.json": b" " * (4 << 20)}), SCHEMA)
    assert not read


def test_a_part_of_a_skops_file_longer_than_its_entry_says_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bytes] = []
    monkeypatch.setattr(skops.io, "get_untrusted_types", lambda *, data: read.append(data))
    size = 4 << 20
    data = _packed({"schema.json": b" " * size})
    assert data.count(size.to_bytes(4, "little")) == 2  # where the part stands, and in the directory
    crc = zlib.crc32(b" " * size).to_bytes(4, "little")
    data = data.replace(size.to_bytes(4, "little"), (9).to_bytes(4, "little"))
    data = data.replace(crc, zlib.crc32(b" " * 9).to_bytes(4, "little"))
    with pytest.raises(ConversionError, match="skops cannot read it"):  # nothing is found in what was asked of it
        from_file("m.skops", data, SCHEMA)
    assert len(read[0]) < 1000
    with zipfile.ZipFile(io.BytesIO(read[0])) as plain:
        assert [(part.file_size, part.compress_type) for part in plain.infolist()] == [(9, zipfile.ZIP_STORED)]


def test_a_skops_file_that_fails_when_it_is_made_is_refused() -> None:
    parts = _parts()
    array = next(name for name in parts if name.endswith(".npy"))
    with pytest.raises(ConversionError, match=r"\.skops file: skops cannot read it"):
        from_file("m.skops", _packed({**parts, array: b"no array"}), SCHEMA)


@pytest.mark.parametrize("start", [b"{Z", b"{SU\x01a", b"{d\x3f\x80\x00\x00abc", b"{[]", b"{i\xffa", b"[#i\xff"])
def test_a_name_or_list_of_no_length_is_no_ubjson(start: bytes) -> None:
    with pytest.raises(ConversionError, match=r"XGBoost \.ubj file: it is not UBJSON from byte \d"):
        from_file("m.ubj", start + bytes(8), SCHEMA)


def test_ubjson_of_too_many_values_is_refused() -> None:
    count = 1_000_001
    with pytest.raises(ConversionError, match=f"it is not UBJSON from byte {count + 6} on"):
        from_file("m.ubj", b"[#l" + count.to_bytes(4, "big") + b"Z" * count, SCHEMA)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("m.txt", b"threshold=", b"threshold=zz "),
        ("m.txt", b"leaf_value=", b"other="),
        ("m.txt", b"num_tree_per_iteration=1", b"num_tree_per_iteration=x"),
        ("x.json", b'"split_indices"', b'"other"'),
        ("x.json", b'"attributes":{}', b'"attributes":[1]'),
        ("x.json", b'"attributes":{}', b'"attributes":{"best_iteration":1e999}'),
        ("c.json", b'"splits"', b'"other"'),
        ("c.json", b'"split_index"', b'"other"'),
        ("c.json", b'"features_info":', b'"features_info":[],"other":'),
    ],
)
def test_a_damaged_file_is_refused_and_no_crash(name: str, old: bytes, new: bytes, tmp_path: Path) -> None:
    data = _native_files(tmp_path)[name]
    assert old in data
    with pytest.raises(ConversionError, match="damaged"):
        from_file(name, data.replace(old, new), SCHEMA)
