"""The report against scikit-learn's own figures, and that it is whole, bounded and the same again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression

from trainyard.evaluation import Sample, evaluate

if TYPE_CHECKING:
    from collections.abc import Mapping


def always() -> bool:
    """There is time for everything."""
    return True


def softmax(scores: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return probabilities from scores (rows, classes)."""
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


class Model:
    """A made-up model that reads the columns x and c: answers, truth drawn from them, and what it is asked."""

    def __init__(self, task: str, rows: int = 1500, classes: int = 3, seed: int = 0, rows_seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.task, self.width = task, {"binary": 2, "multiclass": classes, "regression": 1}[task]
        self.weights = rng.normal(size=(2, self.width)) * 2
        rng = np.random.default_rng((seed, rows_seed))
        city = np.array(["a", "b", None], dtype=object)[rng.integers(0, 3, rows)]
        flag = rng.integers(0, 2, rows).astype(float)
        flag[rng.random(rows) < 0.1] = np.nan
        day = np.datetime64("2024-01-01", "us") + rng.integers(0, 120, rows) * np.timedelta64(1, "D")
        x = rng.normal(size=rows)
        self.columns = {"x": x, "city": city, "flag": flag, "day": day, "noise": rng.normal(size=rows)}
        self.kinds = {"x": "float", "city": "category", "flag": "bool", "day": "date", "noise": "float"}
        answers = self.ask(self.columns)
        if task == "regression":
            labels: Any = answers + rng.normal(size=rows) * np.where(city == "b", 3.0, 0.5)
        else:
            labels = (np.cumsum(answers, axis=1) < rng.random((rows, 1))).sum(axis=1).clip(0, self.width - 1)
        names = [False, True] if task == "binary" else [f"class {i}" for i in range(self.width)]
        self.sample = Sample(
            task, [] if task == "regression" else names, labels, answers, self.columns, self.kinds, threshold=0.4
        )

    def ask(self, columns: Mapping[str, Any]) -> Any:
        """Answer columns."""
        seen = np.column_stack([columns["x"], (columns["city"] == "a").astype(float)])
        scores = seen @ self.weights
        return scores[:, 0] if self.task == "regression" else softmax(scores)

    def report(self) -> dict[str, Any]:
        """Return the report as it is stored and read again."""
        found: dict[str, Any] = json.loads(json.dumps(evaluate(self.sample, self.ask, always), allow_nan=False))
        return found


def test_binary_figures_are_those_of_scikit_learn() -> None:
    """Areas, average precision, Brier score, calibration, confusion and its figures agree at the model's threshold."""
    model = Model("binary")
    truth, given = model.sample.labels, model.sample.answers[:, 1]
    found = model.report()
    values = {name: of["value"] for name, of in found["metrics"].items()}
    expected = {
        "roc_auc": sk.roc_auc_score(truth, given),
        "log_loss": sk.log_loss(truth, given),
        "brier": sk.brier_score_loss(truth, given),
        "accuracy": sk.accuracy_score(truth, given >= 0.4),
        "loss": sk.log_loss(truth, given),
        "f1": sk.f1_score(truth, given >= 0.4),
        "balanced_accuracy": sk.balanced_accuracy_score(truth, given >= 0.4),
    }
    assert values == pytest.approx(expected, rel=1e-5)
    curves = found["curves"]
    assert curves["roc"][0]["auc"] == pytest.approx(expected["roc_auc"], rel=1e-5)
    assert curves["pr"][0]["average_precision"] == pytest.approx(sk.average_precision_score(truth, given), rel=1e-5)
    share, said = calibration_curve(truth, given, n_bins=20, strategy="quantile")
    assert [point[:2] for point in curves["calibration"][0]["points"]] == [
        pytest.approx(pair, rel=1e-5) for pair in zip(said, share, strict=True)
    ]
    decided = given >= 0.4
    confusion = found["confusion"]
    assert confusion["counts"] == sk.confusion_matrix(truth, decided).tolist()
    assert (confusion["truths"], confusion["threshold"]) == (["false", "true"], 0.4)
    assert [confusion[name] for name in ("precision", "recall", "f1")] == pytest.approx(
        [score(truth, decided) for score in (sk.precision_score, sk.recall_score, sk.f1_score)], rel=1e-5
    )


def test_curve_points_lie_on_the_whole_curve() -> None:
    """At most 101 points, all of them points of scikit-learn's curve, from its first to its last, area nearly kept."""
    model = Model("binary", rows=5000)
    truth, given = model.sample.labels, model.sample.answers[:, 1]
    curves = model.report()["curves"]
    x, y, _ = sk.roc_curve(truth, given, drop_intermediate=False)
    points = curves["roc"][0]["points"]
    assert (points[0], points[-1], len(points) <= 101) == ([0, 0], [1, 1], True)
    assert farthest(points, x, y) < 1e-5
    assert sk.auc(*zip(*points, strict=True)) == pytest.approx(curves["roc"][0]["auc"], abs=0.002)
    precision, recall, _ = sk.precision_recall_curve(truth, given)
    points = curves["pr"][0]["points"]
    assert len(points) <= 101
    assert farthest(points, recall, precision) < 1e-5


def farthest(points: list[list[float]], x: Any, y: Any) -> float:
    """Return the largest distance of a point from the nearest point of a curve."""
    return max(float(np.min(np.hypot(x - a, y - b))) for a, b in points)


def test_many_classes_are_the_commonest_and_the_rest() -> None:
    """Of 40 classes 20 have lines of their own and 5 have curves; nothing is lost from the counts."""
    model = Model("multiclass", classes=40)
    found = model.report()
    truth, decided = model.sample.labels, model.sample.decided
    confusion = found["confusion"]
    assert len(confusion["truths"]) == len(confusion["answers"]) == 21
    assert sum(map(sum, confusion["counts"])) == len(truth)
    kept = [int(name.split()[1]) for name in confusion["truths"][:-1]]
    assert [line[:20] for line in confusion["counts"][:20]] == sk.confusion_matrix(truth, decided, labels=kept).tolist()
    assert len(found["curves"]["roc"]) == 5
    for curve in found["curves"]["roc"]:
        one = int(curve["class"].split()[1])
        assert curve["auc"] == pytest.approx(sk.roc_auc_score(truth == one, model.sample.answers[:, one]), rel=1e-5)


def test_regression_figures_are_those_of_scikit_learn() -> None:
    """RMSE, MAE and R² agree, residuals are truth minus answer, and there are neither curves nor a confusion matrix."""
    model = Model("regression")
    truth, given = model.sample.labels, model.sample.answers
    found = model.report()
    values = {name: of["value"] for name, of in found["metrics"].items()}
    expected = {
        "loss": sk.mean_squared_error(truth, given),
        "rmse": sk.root_mean_squared_error(truth, given),
        "mae": sk.mean_absolute_error(truth, given),
        "r2": sk.r2_score(truth, given),
    }
    assert values == pytest.approx(expected, rel=1e-5)
    quantiles = dict(map(tuple, found["residuals"]["quantiles"]))
    assert quantiles[0.5] == pytest.approx(float(np.median(truth - given)), rel=1e-5)
    assert len(found["residuals"]["points"]) == 101
    assert (found["confusion"], found["curves"]["roc"]) == (None, [])


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_intervals_hold_what_they_say(task: str) -> None:
    """Of 60 hold-outs from one truth at least 48 intervals of each metric cover the value of a very large one."""
    values = {name: of["value"] for name, of in Model(task, rows=60_000, seed=1).report()["metrics"].items()}
    covered = dict.fromkeys(values, 0)
    for seed in range(60):
        sample = Model(task, rows=400, seed=1, rows_seed=seed).sample
        for name, of in evaluate(sample, lambda _, answers=sample.answers: answers, lambda: False)["metrics"].items():
            covered[name] += of["low"] <= values[name] <= of["high"]
    assert min(covered.values()) >= 48, covered


def test_importance_finds_what_the_model_reads() -> None:
    """What it reads stands before what it does not, whose rise is nought; the spread is that of the turns."""
    found = Model("binary").report()["importance"]
    rises = {one["feature"]: one["rise"] for one in found["features"]}
    assert [one["feature"] for one in found["features"]][:2] == ["x", "city"]
    assert {name: rise for name, rise in rises.items() if name not in {"x", "city"}} == dict.fromkeys(
        ["flag", "day", "noise"], 0.0
    )
    assert found["features"][0]["spread"] > 0
    assert found["cut"] is None


def test_importance_says_when_it_was_cut_short() -> None:
    """Every feature has a turn before any has two, the figures so far are there, and words say where it ended."""
    model = Model("binary")
    turns = iter([True] * 7)
    found = evaluate(model.sample, model.ask, lambda: next(turns, False))["importance"]
    assert found["cut"] == "the time was up after 7 of 25 turns (5 for each feature)"
    assert len(found["features"]) == 5
    assert sum(one["spread"] is not None for one in found["features"]) == 2
    assert evaluate(model.sample, model.ask, lambda: False)["importance"]["features"] == []


def test_slices_begin_with_the_worst() -> None:
    """The part with the noise comes first; counts are right; parts of every type are there, each once."""
    model = Model("regression")
    found = model.report()["slices"]
    first = found["items"][0]
    assert (first["column"], first["slice"]) == ("city", "= b")
    assert first["rows"] == int((model.columns["city"] == "b").sum())
    assert first["low"] > found["loss"]
    losses = [item["loss"] for item in found["items"]]
    assert losses == sorted(losses, reverse=True)
    parts = {(item["column"], item["slice"]) for item in found["items"]}
    assert {("city", "missing"), ("flag", "true"), ("flag", "missing"), ("day", "2024-02")} <= parts
    assert len(parts) == len(found["items"]) == found["shown"]
    assert sum(item["rows"] for item in found["items"] if item["column"] == "x") == model.sample.rows


def test_the_same_rows_give_the_same_report() -> None:
    """Nothing but the rows and the seed decides, as long as time does not."""
    assert Model("multiclass").report() == Model("multiclass").report()


def test_the_report_stays_small() -> None:
    """A hundred thousand rows, 40 classes, 300 wide columns of long names: at most 128 KB of JSON."""
    model = Model("multiclass", rows=20_000, classes=40)
    text = np.array([f"level {i} " + "é" * 300 for i in range(30)], dtype=object)
    more = {f"column {i} " + "ü" * 200: text[np.arange(20_000) % (3 + i % 27)] for i in range(40)}
    columns = {**model.columns, **more}
    kinds = {**model.kinds, **dict.fromkeys(more, "category")}
    sample = Sample("multiclass", model.sample.classes, model.sample.labels, model.sample.answers, columns, kinds)
    report = evaluate(sample, model.ask, always)
    assert len(json.dumps(report, ensure_ascii=False).encode()) < 128 * 1024


def test_a_real_model_is_judged_as_scikit_learn_judges_it() -> None:
    """The rise of the loss agrees with scikit-learn's permutation importance within its noise."""
    from sklearn.inspection import permutation_importance  # noqa: PLC0415 - only here

    rng = np.random.default_rng(0)
    x = rng.normal(size=(1500, 3))
    y = (x[:, 0] + 0.3 * x[:, 1] + rng.normal(size=1500) > 0).astype(np.int64)
    fitted = LogisticRegression().fit(x[:500], y[:500])

    def ask(columns: Mapping[str, Any]) -> Any:
        return fitted.predict_proba(np.column_stack([columns[name] for name in "abc"]))

    columns = {name: x[500:, i] for i, name in enumerate("abc")}
    sample = Sample("binary", [0, 1], y[500:], ask(columns), columns, dict.fromkeys("abc", "float"))
    ours = {one["feature"]: one["rise"] for one in evaluate(sample, ask, always)["importance"]["features"]}
    theirs = permutation_importance(fitted, x[500:], y[500:], scoring="neg_log_loss", n_repeats=20, random_state=0)
    assert [ours[name] for name in "abc"] == pytest.approx(theirs.importances_mean.tolist(), abs=0.03)
