"""Model files from elsewhere: decoded, tested and held against model and dataset before they become versions."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from trainyard.alias_object import artifact_key
from trainyard.clock import ManualClock
from trainyard.errors import ServiceError
from trainyard.model import Golden, Model, encode
from trainyard.testing.fakes import MemoryBlobs, MemoryStore
from trainyard.testing.models import SCHEMA, sample_model
from trainyard_scheduler.use_cases import imports
from trainyard_scheduler.use_cases.answers import By
from trainyard_scheduler.use_cases.models import put_model
from trainyard_scheduler.use_cases.versions import set_alias

BY = By("operator", "trace")
ORIGIN = {"library": "xgboost", "version": "3.2.0"}
LABEL = next(c.name for c in SCHEMA.columns if c.role == "label")


class Scene:
    """The model ``flights`` of the dataset ``flights``, without versions."""

    def __init__(self, *, task: str = "auto") -> None:
        self.store = MemoryStore(ManualClock())
        self.blobs = MemoryBlobs()
        self.store.state.add_dataset("flights", tuple(c.to_dict() for c in SCHEMA.columns))
        with self.store.begin() as records:
            put_model(records, "flights", {"dataset": "flights", "label": LABEL, "task": task}, BY)

    def take(self, data: bytes, name: str = "flights") -> tuple[bool, Any]:
        """Do what the route does."""
        upload = imports.read(data)
        with self.store.begin() as records:
            imports.check(records, name, upload)
        imports.store(self.blobs, name, data, upload.sha256)
        with self.store.begin() as records:
            return imports.register(records, name, upload, BY)


def imported(**changes: Any) -> Model:
    """Return a model that was imported."""
    model = sample_model()
    lineage = replace(model.lineage, configuration={"imported": ORIGIN})
    return replace(model, **{"lineage": lineage, "classes": ("no", "yes"), **changes})


def test_a_model_file_becomes_a_version_once(journal: Any) -> None:
    scene = Scene()
    skip = (len(scene.store.state.events), len(scene.store.state.audit))
    data = encode(imported())
    sha256 = hashlib.sha256(data).hexdigest()
    made, version = scene.take(data)
    assert (made, version.version, version.sha256, version.passed, version.run_id) == (True, 1, sha256, False, None)
    assert version.gate["imported"] == ORIGIN
    assert version.metrics == {"parity": None}
    assert scene.blobs.get(version.artifact_key).data == data
    assert scene.take(data) == (False, version)
    events, audit = journal(scene.store, skip)
    details = {"version": 1, "sha256": sha256, "library": "xgboost"}
    assert events == [("version.imported", "model/flights", details)]
    assert audit == [("operator", "version.import", "model/flights", details)]


@pytest.mark.parametrize(
    "origin",
    [
        {},
        {"library": 7},
        {"library": "x" * 501},
        {"library": "a\0b"},
        {"library": "x", "notes": ["n"] * 50},
        {"library": "x", "notes": [{"deep": "er"}]},
        {"library": "x", **{f"fact {i}": "" for i in range(20)}},
    ],
    ids=repr,
)
def test_what_it_says_of_its_origin_is_short(origin: dict[str, Any]) -> None:
    """It goes into lists, events and audits: nothing long, nothing nested, no control character."""
    lineage = replace(sample_model().lineage, configuration={"imported": origin})
    assert (
        "does not say in a few words where it comes from"
        in _refused(Scene(), encode(imported(lineage=lineage))).message
    )


def test_the_same_file_again_is_young_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sweeper takes old objects without a version: a second try must not find one that is about to go."""
    scene = Scene()
    data = encode(imported())
    sha256 = hashlib.sha256(data).hexdigest()
    imports.store(scene.blobs, "flights", data, sha256)
    written: list[str] = []
    put = scene.blobs.put
    monkeypatch.setattr(scene.blobs, "put", lambda key, *a, **k: (put(key, *a, **k), written.append(key))[0])
    imports.store(scene.blobs, "flights", data, sha256)
    assert written == [artifact_key("flights", sha256)]


def test_how_far_it_is_from_its_library_is_kept() -> None:
    """The version says what the import found, as trained ones do; the file's other figures are nobody's here."""
    _, version = Scene().take(encode(imported(metrics={"parity": 2.5e-9, "loss": 0.1})))
    assert version.metrics == {"parity": 2.5e-9}


def test_it_serves_when_somebody_says_so() -> None:
    scene = Scene()
    _, version = scene.take(encode(imported()))
    assert scene.store.state.aliases == {}
    with scene.store.begin() as records:
        set_alias(records, "flights", "champion", version.version, expected_seq=None, reason="tried", by=BY)
        assert [a.sha256 for a in records.versions.published()] == [version.sha256]


def _refused(scene: Scene, data: bytes, name: str = "flights") -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        scene.take(data, name)
    assert list(scene.blobs.list("models/")) == []
    assert scene.store.state.versions == []
    return caught.value


def test_what_is_no_servable_model_file_is_refused() -> None:
    scene = Scene()
    data = encode(imported())
    for bad in (b"hello", data[:-1], data + b"x", data[:-1] + bytes([data[-1] ^ 1])):
        assert _refused(scene, bad).code == "invalid_artifact"
    golden = imported().golden
    assert golden is not None
    wrong = Golden(golden.rows, np.full((len(golden.rows), 2), 0.5))
    assert "golden_mismatch" in _refused(scene, encode(imported(golden=wrong))).message


def test_a_trained_model_is_not_imported() -> None:
    assert "does not say in a few words where it comes from" in _refused(Scene(), encode(sample_model())).message


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"name": "trains"}, "name: the name flights"),
        ({"classes": (False, True)}, f"{LABEL}: classes that are values of a"),
    ],
)
def test_what_does_not_fit_the_model_is_refused(change: dict[str, Any], expected: str) -> None:
    error = _refused(Scene(), encode(imported(**change)))
    assert (error.code, error.status) == ("invalid_artifact", 422)
    assert expected in error.message


def test_what_does_not_fit_the_dataset_is_refused_column_by_column() -> None:
    scene = Scene()
    dataset = scene.store.state.datasets[1]
    kept = [c for c in dataset.columns if c["name"] != "carrier"]
    narrowed = tuple({**c, "type": "int"} if c["name"] == "distance" else c for c in kept)
    scene.store.state.datasets[1] = replace(dataset, columns=narrowed)
    error = _refused(scene, encode(imported()))
    assert [(p.column, p.expected) for p in error.details] == [
        ("distance", "the type int"),
        ("carrier", "a feature of the dataset"),
    ]


def test_another_task_and_another_dataset_are_refused() -> None:
    other = encode(replace(imported(), lineage=replace(imported().lineage, dataset="trains")))
    assert "dataset: the dataset flights" in _refused(Scene(), other).message
    regression = sample_model(task="regression")
    lineage = replace(regression.lineage, configuration={"imported": ORIGIN})
    assert "task" in _refused(Scene(), encode(replace(regression, lineage=lineage))).message


def test_an_unknown_model_and_a_foreign_object_are_refused() -> None:
    scene = Scene()
    assert _refused(scene, encode(imported()), "trains").code == "unknown_model"
    data = encode(imported())
    scene.blobs.put(f"models/flights/{hashlib.sha256(data).hexdigest()}.msgpack", b"other")
    with pytest.raises(ServiceError, match="another object stands under the key"):
        scene.take(data)
