"""What a model may learn from: useless columns and leaks are left out with their reasons, honest ones are kept."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from benchmarks import flights
from sklearn import datasets

from trainyard.clock import SystemClock
from trainyard.policy import ColumnPolicy
from trainyard.schema import Column, Schema
from trainyard_trainer.domain import DataError
from trainyard_trainer.learning.budget import Budget
from trainyard_trainer.learning.screen import Rules, screen
from trainyard_trainer.learning.table import Table
from trainyard_trainer.learning.target import Target

if TYPE_CHECKING:
    from trainyard_trainer.learning.verdicts import Screening

N = 600
RNG = np.random.default_rng(7)
X = RNG.normal(size=N)
YES = X + RNG.normal(size=N) > 0
AMOUNT = 100.0 + 10.0 * X + 5.0 * RNG.normal(size=N)
DRAWN = RNG.bit_generator.state


@pytest.fixture(autouse=True)
def the_same_numbers() -> None:
    """Every test draws the same numbers, whatever ran before it."""
    RNG.bit_generator.state = DRAWN


def objects(values: Any) -> Any:
    """Return strings as a column holds them."""
    return np.array(list(values), dtype=object)


def target_of(label: Any) -> Target:
    """Return a label: flags, strings, or numbers for regression."""
    values = np.asarray(label)
    present = np.ones(len(values), dtype=bool)
    if values.dtype.kind == "f":
        return Target("regression", (), values, present)
    classes, index = np.unique(values, return_inverse=True)
    task = "binary" if len(classes) == 2 else "multiclass"
    return Target(task, tuple(classes.tolist()), index.astype(np.int64), present)


def screened(columns: dict[str, Any], label: Any = YES, *, moments: Any = None, **rules: Any) -> Screening:
    """Screen columns whose type their arrays tell; a name that ends in ``_int`` is a column of whole numbers."""

    def kind(name: str, values: Any) -> str:
        if values.dtype == object:
            return "text"
        if values.dtype.kind == "M":
            return "timestamp"
        return "int" if name.endswith("_int") else "float"

    given = {
        name: v if v.dtype == object or v.dtype.kind == "M" else np.asarray(v, dtype=np.float64)
        for name, v in columns.items()
    }
    schema = Schema(Column(name, kind(name, values)) for name, values in given.items())
    known = Rules(rules.get("leave_out", True), ColumnPolicy(rules.get("exclude", ()), rules.get("include", ())))
    rows = np.arange(len(np.asarray(label)))
    budget = Budget(SystemClock(), rules.get("seconds", 60.0))
    return screen(Table(schema, given), target_of(label), rows, moments, rules=known, budget=budget)


def kinds(screening: Screening) -> dict[str, str]:
    """Return the kind of reason of each column that is left out."""
    return {verdict.column: verdict.kind for verdict in screening.left_out}


def test_useless_columns_are_left_out_and_say_why() -> None:
    """Constants, identifiers, free text and copies go; what repeats, is measured, or is missing at times stays."""
    words = ["late", "again", "the", "box", "was", "open", "call", "back"]
    columns = {
        "constant": np.ones(N),
        "nothing": np.full(N, np.nan),
        "one level": objects(["a"] * N),
        "numbered_int": np.arange(N),
        "shuffled_int": RNG.permutation(N) + 5_000,
        "hash_int": RNG.integers(0, 2**50, N),
        "uuid": objects(str(uuid.UUID(int=int(i) << 80, version=4)) for i in RNG.permutation(N)),
        "code": objects(f"R-{i}" for i in range(N)),
        "remark": objects(" ".join(RNG.choice(words, 9)) + f" {i}" for i in range(N)),
        "x": X,
        "copy": X.copy(),
        "sometimes": np.where(np.arange(N) % 3 == 0, np.nan, 5.0),
        "salary_int": np.round(np.exp(RNG.normal(10, 0.5, N))),
        "level": objects(RNG.choice(["a", "b"], N)),
        "user": objects(f"u{i}" for i in RNG.integers(0, 200, N)),
    }
    screening = screened(columns)
    assert kinds(screening) == {
        "constant": "constant",
        "nothing": "constant",
        "one level": "constant",
        "numbered_int": "id",
        "shuffled_int": "id",
        "hash_int": "id",
        "uuid": "id",
        "code": "id",
        "remark": "text",
        "copy": "duplicate",
    }
    assert "UUIDs" in next(v.reason for v in screening.left_out if v.column == "uuid")
    assert screening.suspects == ()


@pytest.mark.parametrize(
    ("name", "column", "label", "kind"),
    [
        ("score", X + 0.01 * RNG.normal(size=N), X > 0, "alone"),
        ("two sided", np.abs(X), np.abs(X) > 0.7, "alone"),
        ("code", objects(np.where(YES, "y", "n")), YES, "function"),
        ("zip", objects(f"z{i % 60}" for i in range(N)), objects("abc"[i % 60 % 3] for i in range(N)), "function"),
        ("in cents", AMOUNT * 100, AMOUNT, "function"),
        ("its exponential", np.exp(AMOUNT / 5.0), AMOUNT, "function"),
        ("nearly it", AMOUNT + RNG.normal(size=N), AMOUNT, "alone"),
        ("closed", np.where(YES, 1.0 + RNG.random(N), np.nan), YES, "missingness"),
        ("reason", objects(("x" if y and i % 3 == 0 else None) for i, y in enumerate(YES)), YES, "one_outcome"),
        ("gap", np.where(~YES & (np.arange(N) % 4 == 0), np.nan, X), YES, "one_outcome"),
    ],
)  # fmt: skip
def test_each_kind_of_leak_is_found(name: str, column: Any, label: Any, kind: str) -> None:
    """Whatever way a column gives the label away, it is left out, a suspect with a figure; its neighbour stays."""
    other = RNG.normal(size=N)
    screening = screened({name: column, "other": other}, label)
    assert kinds(screening) == {name: kind}
    assert [v.column for v in screening.suspects] == [name]
    assert screening.suspects[0].figure is not None


@pytest.mark.parametrize(
    ("label", "a", "b"),
    [
        (lambda u, v: u + v, 5.0, 50.0),
        (lambda u, v: u - v, 5.0, 50.0),
        (lambda u, v: u * v, 1.0, 9.0),
        (lambda u, v: u / v, 1.0, 9.0),
    ],
    ids=["sum", "difference", "product", "quotient"],
)
def test_pairs_that_make_up_the_label(label: Any, a: float, b: float) -> None:
    """Neither column gives the label away, both together do, gaps or not: as casual and registered riders do."""
    rng = np.random.default_rng(1)
    u, v, other = rng.uniform(a, b, N), rng.uniform(a, b, N), rng.uniform(a, b, N)
    u_seen = np.where(np.arange(N) % 10 == 0, np.nan, u)
    screening = screened({"u": u_seen, "other": other, "v": v}, label(u, v))
    assert kinds(screening) == {"u": "arithmetic", "v": "arithmetic"}


def test_flags_of_which_one_is_set_make_up_the_label() -> None:
    """Classes that are numbers are added up as well; chance agreement of rare flags is no formula."""
    u, v = RNG.random(N) < 0.3, RNG.random(N) < 0.3
    v &= ~u
    assert kinds(screened({"u": u, "v": v, "x": X}, u | v)) == {"u": "arithmetic", "v": "arithmetic"}
    rare = {f"f{i}": np.isin(np.arange(N), RNG.choice(N, 6, replace=False)) for i in range(20)}
    assert kinds(screened(rare, np.isin(np.arange(N), RNG.choice(N, 12, replace=False)))) == {}


def test_a_time_after_the_event_is_known_too_late() -> None:
    """A moment that mostly lies after the row's own is a suspect; one before it is a feature."""
    event = np.datetime64("2024-01-01", "us") + (np.arange(N) * 3_600_000_000).astype("timedelta64[us]")
    later = event + np.timedelta64(5, "h")
    later[::4] = np.datetime64("NaT")
    born = event - (RNG.integers(1, 10**6, N) * 10**6).astype("timedelta64[us]")
    screening = screened({"closed": later, "born": born}, moments=event)
    assert kinds(screening) == {"closed": "later"}
    assert screening.suspects[0].figure == 1.0


def test_noise_is_not_suspected() -> None:
    """Columns that say nothing pass, however many, with few of one class, tails, or a level for nearly every row."""
    rng = np.random.default_rng(3)
    columns: dict[str, Any] = {f"x{i}": rng.standard_cauchy(300) for i in range(300)}
    columns["level"] = objects(f"l{i}" for i in rng.integers(0, 140, 300))
    rare = np.arange(300) % 60 == 0
    assert screened(columns, rare).suspects == ()
    assert screened(columns, rng.standard_cauchy(300)).suspects == ()
    assert screened(columns, objects(f"c{i}" for i in rng.integers(0, 40, 300))).suspects == ()


def test_policy_has_the_last_word() -> None:
    """``keep`` reports only; a column that is included is learnt from, one that is excluded is not."""
    columns = {"leak": YES.astype(float) + 0.01 * X, "x": X, "id_int": np.arange(N)}
    assert kinds(screened(columns)) == {"leak": "alone", "id_int": "id"}
    kept = screened(columns, leave_out=False)
    assert kinds(kept) == {"id_int": "id"}
    assert [v.column for v in kept.suspects] == ["leak"]
    included = screened(columns, include=("leak", "id_int"), exclude=("x",))
    assert kinds(included) == {"x": "excluded"}
    assert [v.column for v in included.suspects] == ["leak"]


def test_a_copy_is_left_out_only_where_the_original_is_kept() -> None:
    """Excluding one of two equal columns leaves the other to learn from."""
    assert kinds(screened({"a": X, "b": X.copy()})) == {"b": "duplicate"}
    assert kinds(screened({"a": X, "b": X.copy()}, exclude=("a",))) == {"a": "excluded"}


def test_nothing_left_is_said_with_the_reasons() -> None:
    """A table without an honest column makes no model; the message names the columns and the way out."""
    with pytest.raises(DataError, match=r"'leak': .*AUC 1\.000.*; 'id_int': it numbers the rows.*'columns' includes"):
        screened({"leak": YES.astype(float) + 0.01 * X, "id_int": np.arange(N)})


def test_without_time_columns_are_kept_and_named() -> None:
    """What is cheap is always looked at; where the budget is used up, the rest is kept and listed as not looked at."""
    screening = screened({"leak": YES.astype(float), "id_int": np.arange(N)}, seconds=0.0)
    assert kinds(screening) == {"id_int": "id"}
    assert screening.unscreened == ("leak",)


def test_the_same_rows_get_the_same_verdicts() -> None:
    """Nothing is drawn at random: figures included, two screens of the same rows are equal; JSON can carry them."""
    columns = {"leak": YES + 0.1 * X, "x": X, "level": objects(RNG.choice(["a", "b"], N))}
    first, second = screened(columns), screened(columns)
    assert first.as_dict() == second.as_dict()
    assert first.record() == [{"column": "leak", "kind": "alone"}]
    assert json.loads(json.dumps(first.as_dict(), allow_nan=False))["suspects"][0]["figure"] > 0.97


def test_strong_honest_features_come_with_their_figure() -> None:
    """Of the cancer cells only those at the line are suspected, with a figure that says so; wine and diabetes pass."""
    cells = datasets.load_breast_cancer()
    columns = {name: cells.data[:, i] for i, name in enumerate(cells.feature_names.tolist())}
    suspects = {v.column: v.figure for v in screened(columns, cells.target == 1).suspects}
    assert set(suspects) == {"worst perimeter", "worst radius"}
    assert all(figure is not None and 0.97 <= figure < 0.98 for figure in suspects.values())
    wine = datasets.load_wine()
    columns = {name: wine.data[:, i] for i, name in enumerate(wine.feature_names)}
    assert screened(columns, objects(f"w{c}" for c in wine.target)).suspects == ()
    sick = datasets.load_diabetes()
    columns = {name: sick.data[:, i] for i, name in enumerate(sick.feature_names)}
    assert screened(columns, sick.target).suspects == ()


def test_what_is_known_only_after_a_flight(flights_of_a_day: dict[str, Any]) -> None:
    """Of real flights the arrival delay gives lateness away; what an airline knows before take-off does not."""
    arrived = ~np.isnan(flights_of_a_day["arr_delay"])
    known = {name: values[arrived] for name, values in flights_of_a_day.items()}
    found = kinds(screened(known, known["arr_delay"] > 15))
    assert found["arr_delay"] == "function"
    assert not {"carrier", "dest", "distance", "sched_dep_time"} & set(found)
    assert found["year"] == "constant"


def test_what_is_missing_for_cancelled_flights(flights_of_a_day: dict[str, Any]) -> None:
    """Whether a real flight was cancelled is told by what has no value then, the plane's number at times among it."""
    cancelled = np.isnan(flights_of_a_day["dep_time"])
    found = kinds(screened(flights_of_a_day, cancelled))
    assert {found[name] for name in ("dep_time", "dep_delay", "arr_time", "air_time")} == {"missingness"}
    assert found["tailnum"] == "one_outcome"
    assert "carrier" not in found


@pytest.fixture(scope="module")
def flights_of_a_day() -> dict[str, Any]:
    """Every eighth flight of the year 2013 from New York."""
    header, body = flights.rows()
    body = body[::8]
    return {
        name: objects(cell or None for cell in cells)
        if name in ("carrier", "tailnum", "origin", "dest")
        else np.array([float(cell or "nan") for cell in cells])
        for name, cells in zip(header, zip(*body, strict=True), strict=True)
        if name != "time_hour"
    }
