"""The SDK in a notebook: what it returns shows itself, and pandas frames go in and come out."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from fake_api import error, page

import trainyard_client
from trainyard_client import (
    ApiError,
    Client,
    Dataset,
    MissingPackageError,
    MisuseError,
    Model,
    Prediction,
    Run,
    Version,
    frames,
)

if TYPE_CHECKING:
    from fake_api import FakeApi

COLUMNS = [
    {"name": "id", "type": "int", "role": "key", "nullable": False},
    {"name": "age", "type": "int", "role": "feature", "nullable": True},
    {"name": "city", "type": "category", "role": "feature", "nullable": True},
    {"name": "late", "type": "bool", "role": "feature", "nullable": True},
]
DATASET = {"name": "shop", "rows": 12, "revision": 1, "columns": COLUMNS}
MODEL = {
    "name": "late",
    "dataset": "shop",
    "label": "late",
    "task": "binary",
    "champion": 3,
    "policy": {"min_new_rows": 5},
}
RUN = {
    "id": "r1",
    "model": "late",
    "state": "done",
    "trials": [{"rank": 1, "kind": "linear", "score": 0.25, "chosen": True}],
}
VERSION = {
    "model": "late", "version": 3, "passed": True, "aliases": ["champion"], "metrics": {"auc": 0.75, "by": {"a": 1}},
    "gate": {"checks": [{"name": "beats champion", "value": 0.01, "threshold": 0.0, "passed": True, "words": "a < b"}]},
}  # fmt: skip


def _answer(count: int, *, explained: bool = False) -> dict[str, Any]:
    rows: list[dict[str, Any]] = [
        {"prediction": n % 2 == 0, "probabilities": {"true": 0.5, "false": 0.5}, "prediction_id": f"p{n}"}
        for n in range(count)
    ]
    if explained:
        of = {"unit": "log-odds", "base": 0.5, "score": 1.5, "contributions": {"age": 1.0, "city": 0.0}}
        rows = [{**row, "explanation": of} for row in rows]
    return {"model": "late", "version": 3, "rows": rows}


@pytest.fixture
def known(api: FakeApi) -> FakeApi:
    """A model with its dataset."""
    return api.on("GET", "/v1/models/late", MODEL).on("GET", "/v1/datasets/shop", DATASET)


def test_what_comes_back_is_json_that_shows_itself(client: Client, known: FakeApi) -> None:
    """Each is the object that the API sent, of a type that Jupyter can show."""
    known.on("GET", "/v1/runs/r1", RUN).on("GET", "/v1/models/late/versions/3", VERSION)
    known.on("GET", "/v1/models/late/versions", page(VERSION)).on("POST", "/v1/predict/late", _answer(2))
    found: list[tuple[Any, type, dict[str, Any], list[str]]] = [
        (client.dataset("shop"), Dataset, DATASET, ["shop", "category", "12"]),
        (client.model("late"), Model, MODEL, ["late", "min_new_rows", "5"]),
        (client.run("r1"), Run, RUN, ["r1", "linear", "0.25"]),
        (client.version("late", 3), Version, VERSION, ["late 3", "auc", "0.75", "a &lt; b"]),
        (
            client.predict("late", [{"age": 1}, {"age": 2}]),
            Prediction,
            _answer(2),
            ["late, version 3", "p(true)", "p0"],
        ),
    ]
    for one, kind, sent, said in found:
        assert type(one) is kind
        assert one == sent
        assert json.loads(json.dumps(one)) == sent
        shown = one._repr_html_()
        assert all(part in shown for part in said), shown
    assert [type(one) for one in client.versions("late")] == [Version]


@pytest.mark.parametrize("kind", [Dataset, Model, Run, Version, Prediction])
def test_nothing_in_it_is_run(kind: type) -> None:
    """Names, values and keys of data are text, whatever they hold; what is missing is left out."""
    evil = "<img src=x onerror=alert(1)>\u202e"
    one = kind(
        name=evil, id=evil, model=evil, version=evil, aliases=[evil], metrics={evil: 1.0}, policy={evil: evil},
        columns=[{"name": evil, "type": evil}], trials=[{"kind": evil}], gate={"checks": [{"name": evil}]},
        rows=[{"prediction": evil, "probabilities": {evil: 1.0}, "explanation": {"contributions": {evil: 1.0}}}],
    )  # fmt: skip
    shown = one._repr_html_()
    assert "&lt;img" in shown
    assert "<img" not in shown
    assert "\u202e" not in shown
    assert kind()._repr_html_()


def test_long_lists_are_cut_in_the_picture_alone() -> None:
    """A thousand predictions are not a page."""
    one = Prediction(_answer(1_000))
    assert "… and 980 more" in one._repr_html_()
    assert len(one.to_frame()) == 1_000


def test_a_frame_goes_in_and_comes_out(client: Client, known: FakeApi) -> None:
    """With its index; label and key are left out; types are those of JSON; what is missing is null."""
    known.on("POST", "/v1/predict/late", _answer(3, explained=True))
    frame = pd.DataFrame(
        {
            "id": [7, 8, 9],
            "age": pd.array([30, None, 50], dtype="Int64"),
            "city": pd.Categorical(["Bern", None, "Genf"]),
            "late": [True, False, None],
            "typo": np.array([1.5, np.nan, np.inf]),
            "seen": pd.to_datetime(["2026-01-01T10:00:00Z", None, "2026-01-02T00:00:00Z"]),
        },
        index=["a", "b", "c"],
    )
    found = client.predict_frame("late", frame, explain=True)
    assert known.asked[-1].json == {
        "explain": True,
        "rows": [
            {"age": 30, "city": "Bern", "typo": 1.5, "seen": "2026-01-01T10:00:00+00:00"},
            {"age": None, "city": None, "typo": None, "seen": None},
            {"age": 50, "city": "Genf", "typo": "inf", "seen": "2026-01-02T00:00:00+00:00"},
        ],
    }
    assert list(found.index) == ["a", "b", "c"]
    assert list(found["prediction"]) == [True, False, True]
    assert list(found["prediction_id"]) == ["p0", "p1", "p2"]
    assert set(found.columns) >= {"probability_true", "version", "score", "contribution_age"}


def test_many_rows_are_as_many_requests_as_it_takes(client: Client, known: FakeApi) -> None:
    """1,000 each, or 100 with explanations; an error counts the rows of the frame."""
    known.on("POST", "/v1/predict/late", _answer(1_000), _answer(1_000), _answer(500))
    frame = pd.DataFrame({"age": range(2_500)})
    assert len(client.predict_frame("late", frame)) == 2_500
    sent = [len(one.json["rows"]) for one in known.asked if one.method == "POST"]
    assert sent == [1_000, 1_000, 500]

    problem = {"row": 2, "column": "age", "expected": "int", "got": "x"}
    known.on("POST", "/v1/predict/late", _answer(1_000), (422, error("invalid_rows", "1 problem", [problem])))
    with pytest.raises(ApiError) as caught:
        client.predict_frame("late", frame)
    assert caught.value.details[0]["row"] == 1_002
    known.asked.clear()
    known.on("POST", "/v1/predict/late", _answer(100, explained=True))
    client.predict_frame("late", frame[:200], explain=True)
    assert [len(one.json["rows"]) for one in known.asked if one.method == "POST"] == [100, 100]


def test_a_key_that_may_only_predict_sends_all_columns(client: Client, known: FakeApi) -> None:
    """It cannot know which are no features; the service will say."""
    known.on("GET", "/v1/models/late", (403, error("wrong_scope"))).on("POST", "/v1/predict/late", _answer(1))
    client.predict_frame("late", pd.DataFrame({"id": [1], "age": [2]}))
    assert known.asked[-1].json["rows"] == [{"id": 1, "age": 2}]
    known.on("GET", "/v1/models/late", (404, error("unknown_model")))
    with pytest.raises(ApiError, match="unknown_model"):
        client.predict_frame("late", pd.DataFrame({"id": [1]}))


def test_labels_come_from_a_frame(client: Client, api: FakeApi) -> None:
    """The answers with the truth beside them are the feedback; a frame without ids is refused here."""
    api.on("POST", "/v1/feedback", {"accepted": 2, "parked": 0})
    answered = Prediction(_answer(2)).to_frame()
    answered["label"] = np.array([True, False])
    assert client.feedback(answered)["accepted"] == 2
    assert api.asked[-1].json == {
        "items": [{"prediction_id": "p0", "label": True}, {"prediction_id": "p1", "label": False}]
    }
    with pytest.raises(MisuseError, match="prediction_id"):
        client.feedback(answered.drop(columns="prediction_id"))


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.int8(3), 3),
        (np.bool_(True), True),
        (np.float32(0.5), 0.5),
        (dt.date(2026, 1, 2), "2026-01-02"),
        (Decimal("1.10"), "1.10"),
        (pd.NaT, None),
        (pd.NA, None),
        (np.datetime64("2026-01-02"), "2026-01-02"),
    ],
)
def test_values_of_any_kind_become_json(value: Any, plain: Any) -> None:
    """Also in columns of Python objects."""
    frame = pd.DataFrame({"x": pd.Series([value], dtype=object)})
    assert list(frames.rows_of(frame)) == [{"x": plain}]


def test_without_pandas_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK does not bring it along."""

    def missing(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(frames.importlib, "import_module", missing)
    with pytest.raises(MissingPackageError, match="pip install pandas"):
        Prediction(_answer(1)).to_frame()


def test_the_package_is_typed_and_names_what_it_gives() -> None:
    """`py.typed` is beside it; what is exported is there, and has a word about itself."""
    import importlib.resources  # noqa: PLC0415 - of this test alone

    assert (importlib.resources.files(trainyard_client) / "py.typed").is_file()
    for name in trainyard_client.__all__:
        assert getattr(trainyard_client, name).__doc__, name
