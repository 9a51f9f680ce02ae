"""Models in the libraries' own files: which file is whose, and nothing that could run."""

from __future__ import annotations

import io
import shutil
import tempfile
import zipfile
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainyard_convert.catboost_json import from_catboost
from trainyard_convert.errors import ConversionError, MissingLibraryError, damaged, reading
from trainyard_convert.lightgbm_text import from_lightgbm
from trainyard_convert.sklearn_models import from_sklearn
from trainyard_convert.xgboost_json import from_xgboost

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from trainyard.schema import Schema
    from trainyard_convert.converted import Converted

MAX_BYTES = 1 << 30
#: Of a skops file, unpacked: its types and numbers as JSON, and how many times as large as the file all of it may be.
_MOST_SCHEMA, _MOST_RATIO = 64 << 20, 200
_NEXT = "save it as .txt (LightGBM), .json or .ubj (XGBoost), .json (CatBoost) or .skops (scikit-learn)"
#: what cannot be read -> why, and what to do instead
_REFUSED = {
    **dict.fromkeys(
        (".pkl", ".pickle", ".joblib", ".sav", ".dill"), ("reading one runs whatever its author put there", _NEXT)
    ),
    ".cbm": ("it is CatBoost's binary form", "save it with save_model(..., format='json')"),
    ".model": ("XGBoost's old binary form does not say what it is", "save it with save_model('model.ubj')"),
    ".onnx": ("a graph of operators does not say which model it was", _NEXT),
    ".pmml": ("no library that can be imported writes it", _NEXT),
}


def from_file(
    name: str,
    data: bytes,
    schema: Schema,
    *,
    columns: Sequence[str] | None = None,
    label: str | None = None,
    classes: Sequence[Any] | None = None,
    levels: Mapping[str, Iterable[str]] | None = None,
    missing_level: str | None = None,
) -> Converted:
    """Convert a model file with its library at hand, which answers for it when both are compared.

    Args:
        name: the file's name; its ending says whose it is.
        data: what it holds.
        schema, columns, label, classes: as for :func:`trainyard_convert.from_sklearn`.
        levels, missing_level: as for :func:`trainyard_convert.from_catboost`; other files know their own levels.

    Raises:
        ConversionError: the file is of no kind that can be imported, or its model holds what the format cannot say.
        MissingLibraryError: the library that it came from is not installed.
    """
    ending = Path(name).suffix.lower()
    if ending in _REFUSED or data[:2] in _PICKLES:
        reason, step = _REFUSED.get(ending, _REFUSED[".pkl"])
        raise ConversionError(f"{ending or 'pickle'} file", reason, step)
    if len(data) > MAX_BYTES:
        raise ConversionError(f"{ending} file", f"it is larger than {MAX_BYTES >> 20} MiB")
    given: dict[str, Any] = {"columns": columns, "label": label, "classes": classes}
    with reading(f"{ending or 'nameless'} file", "a damaged file"):
        return _converted(ending, data, schema, given, {"levels": levels, "missing_level": missing_level})


def _converted(
    ending: str, data: bytes, schema: Schema, given: Mapping[str, Any], levels: Mapping[str, Any]
) -> Converted:
    if ending == ".skops":
        return from_sklearn(_skops_model(data), schema, **given)
    if ending == ".txt":
        text = _text(data, "LightGBM")
        from_lightgbm(text, schema, **given)  # what cannot be converted is refused by us, by name
        lightgbm = _library("lightgbm", "lightgbm")
        try:
            booster = lightgbm.Booster(model_str=text)
        except lightgbm.basic.LightGBMError as e:
            raise damaged("LightGBM file", f"LightGBM cannot read it: {e}") from e
        return from_lightgbm(booster, schema, **given)
    if ending == ".ubj" or (ending == ".json" and b'"learner"' in data):
        from_xgboost(data, schema, **given)
        booster = _library("xgboost", "xgboost").Booster()
        booster.load_model(bytearray(data))
        return from_xgboost(booster, schema, **given)
    if ending == ".json":
        from_catboost(_text(data, "CatBoost"), schema, **given, **levels)
        return from_catboost(_catboost_model(data), schema, **given, **levels)
    raise ConversionError(f"{ending or 'nameless'} file", "its ending names no library", _NEXT)


#: Parts of the estimators that can be imported, which skops does not trust by itself: they hold arrays and numbers. The
#: trees' arrays are checked as those of the converted model before scikit-learn walks along them.
_TRUSTED = frozenset(
    {
        "collections.OrderedDict",
        "numpy.dtype",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.calibration._TemperatureScaling",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.tree._tree.Tree",
        "sklearn.utils._bunch.Bunch",
    }
)
#: How a pickle of any protocol that is still written begins.
_PICKLES = tuple(b"\x80" + bytes((protocol,)) for protocol in range(2, 6))


def _text(data: bytes, library: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as e:
        raise ConversionError(f"{library} file", "it is not UTF-8") from e


def _library(name: str, extra: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as e:
        raise MissingLibraryError(name, extra) from e


def _catboost_model(data: bytes) -> Any:
    catboost = _library("catboost", "catboost")
    with tempfile.TemporaryDirectory() as folder:  # it reads JSON from files only
        path = Path(folder) / "model.json"
        path.write_bytes(data)
        try:
            return catboost.CatBoost().load_model(str(path), format="json")
        except catboost.CatBoostError as e:
            raise damaged("CatBoost file", f"CatBoost cannot read it: {e}") from e


def _skops_model(data: bytes) -> Any:
    """Return the model in a skops file, which names the types that it is made of before any is made.

    Raises:
        ConversionError: a type is none that skops or we trust, or it is much larger than the file.
    """
    reader = _library("skops.io", "scikit-learn")
    try:
        data = _unpacked(data)
        strangers = set(reader.get_untrusted_types(data=data)) - _TRUSTED
        model = None if strangers else reader.loads(data, trusted=sorted(_TRUSTED))
    except ConversionError:
        raise
    except Exception as e:
        raise ConversionError(".skops file", f"skops cannot read it: {e}", "save it with skops.io.dump") from e
    if strangers:
        raise ConversionError(
            ".skops file", f"it holds types that are not trusted: {', '.join(sorted(strangers))}",
            "fit the model without them",
        )  # fmt: skip
    return model


def _unpacked(data: bytes) -> bytes:
    """Return the same parts uncompressed, each as long as its entry says at most: Python unpacks what lies there."""
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        parts = packed.infolist()
        whole = sum(part.file_size for part in parts)
        schema = sum(part.file_size for part in parts if part.filename == "schema.json")
        if whole > MAX_BYTES or whole > _MOST_RATIO * len(data) or schema > _MOST_SCHEMA:
            raise ConversionError(
                ".skops file", f"it unpacks to {whole >> 20} MiB", f"a model has at most {MAX_BYTES >> 20} MiB,"
                f" {_MOST_SCHEMA >> 20} MiB of them schema.json, and {_MOST_RATIO} times the size of its file",
            )  # fmt: skip
        if all(part.compress_type == zipfile.ZIP_STORED for part in parts):
            return data
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as plain:
            for part in parts:
                with packed.open(part) as source, plain.open(part.filename, "w") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
        return out.getvalue()
