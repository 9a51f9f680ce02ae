"""scikit-learn: fitted pipelines and estimators, what they are wrapped in, and boosting libraries in its dress."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.model import Blend, Isotonic, Pipeline
from trainyard_convert import catboost_json, catboost_trees, lightgbm_text, xgboost_json, xgboost_trees
from trainyard_convert.columns import Binding, names_of
from trainyard_convert.converted import Converted, Native, labels_of
from trainyard_convert.errors import ConversionError, reading
from trainyard_convert.frames import frame_of
from trainyard_convert.inputs import Inputs
from trainyard_convert.parts import OUTPUTS, Part, on_probability, rescaled, task_of
from trainyard_convert.sklearn_columns import Columns, Input, bound, transformed
from trainyard_convert.sklearn_encoders import called
from trainyard_convert.sklearn_linear import classifier, perceptron, regressor
from trainyard_convert.sklearn_trees import boosting, forest, histogram_boosting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trainyard.schema import Schema

_NAME = "scikit-learn"
_MOST_MEMBERS = 16


@reading("scikit-learn model")
def from_sklearn(
    model: Any,
    schema: Schema,
    *,
    columns: Sequence[str] | None = None,
    label: str | None = None,
    classes: Sequence[Any] | None = None,
) -> Converted:
    """Convert a fitted estimator or pipeline of scikit-learn.

    Args:
        model: what was fitted.
        schema: the dataset's columns.
        columns: the dataset's column of each input, in order; by default the names that it was fitted with.
        label: the dataset's label, whose type the classes get.
        classes: the classes in the model's order; by default the model's own.

    Raises:
        ConversionError: it holds something that the format cannot say.
    """
    own = getattr(model, "feature_names_in_", None)
    count = getattr(model, "n_features_in_", None)
    if count is None:
        raise ConversionError(called(model), "it is not fitted", "fit it first")
    names = names_of(columns, None if own is None else [str(n) for n in own], int(count), _NAME)
    binding = Binding(schema)
    part = part_of(model, [Input(name) for name in names], binding)
    if part.decides:
        raise ConversionError(
            called(model), "it gives scores and no probabilities", "wrap it in CalibratedClassifierCV(method='sigmoid')"
        )
    found = () if part.task == "regression" else part.classes if classes is None else classes
    return Converted(
        library=("scikit-learn", _version()),
        kind=_kind(model),
        task=part.task,
        schema=binding.narrowed(),
        pipeline=_joined(part),
        classes=labels_of(found, None if label is None else schema.column(label), _NAME),
        calibration=part.calibration,
        threshold=part.threshold,
        native=_native(model, names, own is not None, binding, part),
    )


def _version() -> str:
    import sklearn  # noqa: PLC0415 - whose model this is

    return str(sklearn.__version__)


def _kind(model: Any) -> str:
    inner = model.steps[-1][1] if type(model).__name__ == "Pipeline" else None
    return type(model).__name__ + ("" if inner is None else f" with {type(inner).__name__}")


def _joined(part: Part) -> Pipeline | Blend:
    if len(part.pipelines) == 1:
        return part.pipelines[0]
    if len(part.pipelines) > _MOST_MEMBERS:
        raise ConversionError(
            f"{_NAME} ensemble of {len(part.pipelines)} models", f"a blend has at most {_MOST_MEMBERS} members",
            "use fewer, or CalibratedClassifierCV(ensemble=False)",
        )  # fmt: skip
    return Blend(tuple(part.pipelines), np.array(part.weights))


def _native(model: Any, names: Sequence[str], named: bool, binding: Binding, part: Part) -> Native:
    levels = _pandas_levels(model, names)

    def answer(rows: Mapping[str, Sequence[Any]]) -> Any:
        own = list(model.feature_names_in_) if named else list(names)
        pairs = [(n, str(call)) for n, call in zip(names, own, strict=True) if not named or n in binding.read]
        frame = frame_of(rows, [n for n, _ in pairs], [call for _, call in pairs], binding.schema, levels=levels)
        x = frame if named else frame.to_numpy()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of levels that an encoder does not know
            found = model.predict(x) if part.task == "regression" else model.predict_proba(x)
        return np.asarray(found, dtype=np.float64)

    return Native(answer, single=part.single)


def _pandas_levels(model: Any, names: Sequence[str]) -> dict[str, list[Any]]:
    """Return the levels of the columns that a histogram-based boosting was given as pandas categories."""
    preprocessor = getattr(model, "_preprocessor", None)
    if preprocessor is None:
        return {}
    known = preprocessor.named_transformers_["encoder"].categories_
    chosen = [name for name, is_category in zip(names, model.is_categorical_, strict=True) if is_category]
    return {n: [v for v in levels if isinstance(v, str)] for n, levels in zip(chosen, known, strict=True)}


# --- by kind -----------------------------------------------------------------------------------------------------


def part_of(model: Any, columns: Columns, binding: Binding) -> Part:
    """Return what a fitted estimator is in the format, on ``columns``.

    Raises:
        ConversionError: it is of a kind, or set in a way, that the format cannot say.
    """
    kind, family = type(model).__name__, type(model).__module__.split(".")[0]
    if family in _BOOSTERS:
        return _BOOSTERS[family](model, bound(columns, binding), binding)
    known = _ESTIMATORS.get(kind) if family == "sklearn" else None
    if known is None:
        raise ConversionError(
            called(model), "the format has no such estimator",
            f"these can be imported: {', '.join(sorted(_ESTIMATORS))}",
        )  # fmt: skip
    return known(model, columns, binding)


def _pipeline(model: Any, columns: Columns, binding: Binding) -> Part:
    for _, step in model.steps[:-1]:
        columns = transformed(step, columns, binding)
    return part_of(model.steps[-1][1], columns, binding)


def _searched(model: Any, columns: Columns, binding: Binding) -> Part:
    return part_of(model.best_estimator_, columns, binding)


def _frozen(model: Any, columns: Columns, binding: Binding) -> Part:
    return part_of(model.estimator, columns, binding)


# --- wrapped -----------------------------------------------------------------------------------------------------


def _calibrated(model: Any, columns: Columns, binding: Binding) -> Part:
    """Convert CalibratedClassifierCV: what was learnt on the score is taken into the estimator."""
    parts = [_one_calibrated(c, columns, binding) for c in model.calibrated_classifiers_]
    if len(parts) > 1 and any(part.calibration is not None for part in parts):
        raise ConversionError(
            "scikit-learn CalibratedClassifierCV(isotonic) of several fits", "a model has one calibration",
            "use ensemble=False",
        )  # fmt: skip
    pipelines = [pipeline for part in parts for pipeline in part.pipelines]
    weights = [1.0 / len(pipelines)] * len(pipelines)
    first = parts[0]
    return replace(first, classes=list(model.classes_), pipelines=pipelines, weights=weights, scored=False)


def _one_calibrated(calibrated: Any, columns: Columns, binding: Binding) -> Part:
    method = calibrated.method
    name = f"scikit-learn CalibratedClassifierCV({method})"
    part = part_of(calibrated.estimator, columns, binding)
    if len(part.pipelines) > 1 or part.calibration is not None:
        raise ConversionError(name, "it calibrates a blend, or what is calibrated already", "calibrate a single model")
    if part.task == "multiclass" and method != "temperature":
        raise ConversionError(
            f"{name} of {len(part.classes)} classes", "its classes are calibrated one by one",
            "use method='temperature'",
        )  # fmt: skip
    pipeline, found = part.pipelines[0], calibrated.calibrators[0]
    if method == "isotonic":
        if part.scored:
            raise ConversionError(
                f"{name} of {called(calibrated.estimator)}", "it is learnt on the decision function; the format"
                " calibrates probabilities", "use method='sigmoid'",
            )  # fmt: skip
        steps = Isotonic(np.asarray(found.X_thresholds_), np.asarray(found.y_thresholds_))
        return replace(part, calibration=steps)
    if method == "temperature":
        if not part.scored:
            raise ConversionError(
                f"{name} of {called(calibrated.estimator)}", "scikit-learn adds 1e-12 to its probabilities there",
                "use method='sigmoid'",
            )  # fmt: skip
        # Of two classes the logits are the score and its negative.
        slope, intercept = float(found.beta_) * (2.0 if part.task == "binary" else 1.0), 0.0
        output = OUTPUTS[part.task]
    else:
        slope, intercept, output = -float(found.a_), -float(found.b_), "sigmoid"
    base = pipeline if part.scored else on_probability(pipeline)
    if base is None:
        raise ConversionError(
            f"{name} of {called(calibrated.estimator)}", "it is learnt on probabilities of boosted trees",
            "calibrate without it, or import the model as it is",
        )  # fmt: skip
    return replace(part, pipelines=[rescaled(base, slope, intercept, output)], decides=False)


def _voting(model: Any, columns: Columns, binding: Binding) -> Part:
    name = called(model)
    classes = list(model.classes_) if hasattr(model, "classes_") else None
    if classes is not None and model.voting != "soft":
        raise ConversionError(f"{name}(voting='hard')", "it counts votes and has no probabilities", "use voting='soft'")
    given = model.weights
    if given is not None:  # of those that were dropped there is no estimator
        given = [w for w, (_, e) in zip(given, model.estimators, strict=True) if not isinstance(e, str)]
    shares = np.asarray([1.0] * len(model.estimators_) if given is None else given, dtype=np.float64)
    shares = shares / shares.sum()
    pipelines: list[Pipeline] = []
    weights: list[float] = []
    single = False
    for estimator, share in zip(model.estimators_, shares.tolist(), strict=True):
        part = part_of(estimator, columns, binding)
        if part.calibration is not None or part.decides:
            raise ConversionError(f"{name} of {called(estimator)}", "a blend takes plain probabilities of its members")
        if share <= 0:
            raise ConversionError(f"{name} with a weight of {share:g}", "each member of a blend counts", "leave it out")
        pipelines += part.pipelines
        weights += [share * w for w in part.weights]
        single |= part.single
    total = sum(weights)
    return Part(task_of(classes), classes or (), pipelines, [w / total for w in weights], single=single)


def _thresholded(model: Any, columns: Columns, binding: Binding) -> Part:
    """Convert FixedThresholdClassifier or TunedThresholdClassifierCV."""
    name = called(model)
    part = part_of(model.estimator_, columns, binding)
    positive = getattr(model, "pos_label", None)
    if hasattr(model, "_curve_scorer"):
        positive = model._curve_scorer._get_pos_label()  # noqa: SLF001 - what it was tuned for has no public name
    if positive is not None and positive != part.classes[1]:
        raise ConversionError(f"{name} for {positive!r}", f"the positive class is the second, {part.classes[1]!r}")
    decided = model.response_method == "decision_function"
    threshold = getattr(model, "best_threshold_", None)
    if threshold is None:
        threshold = model.threshold if model.threshold != "auto" else 0.0 if decided else 0.5
    if decided:
        if not part.scored or part.decides:
            raise ConversionError(f"{name}(response_method='decision_function')", "it cuts what is no probability")
        threshold = 1.0 / (1.0 + np.exp(-threshold))
    if not 0.0 <= threshold <= 1.0:
        raise ConversionError(f"{name} at {threshold:g}", "a threshold is a probability, within 0 and 1")
    return replace(part, threshold=float(threshold))


# --- the boosting libraries' scikit-learn models -------------------------------------------------------------------


def _of_lightgbm(model: Any, columns: Columns, binding: Binding) -> Part:
    text = lightgbm_text.parse(model.booster_.model_to_string())
    pipeline = lightgbm_text.pipeline_of(text, Inputs((), tuple(columns), {}), binding)
    return Part(text.task, list(getattr(model, "classes_", ())), [pipeline])


def _of_xgboost(model: Any, columns: Columns, binding: Binding) -> Part:
    document = xgboost_json.parse(bytes(model.get_booster().save_raw("ubj")))
    pipeline = xgboost_trees.pipeline_of(document, Inputs((), tuple(columns), {}), binding)
    return Part(document.task, list(getattr(model, "classes_", ())), [pipeline], single=True)


def _of_catboost(model: Any, columns: Columns, binding: Binding) -> Part:
    document = catboost_json.parse(catboost_json.document_of(model))
    pipeline = catboost_trees.pipeline_of(document, catboost_trees.numbers_only(document, columns), binding)
    return Part(document.task, list(model.classes_) if document.classes else [], [pipeline])


_BOOSTERS = {"lightgbm": _of_lightgbm, "xgboost": _of_xgboost, "catboost": _of_catboost}
_ESTIMATORS: dict[str, Callable[[Any, Columns, Binding], Part]] = {
    "Pipeline": _pipeline,
    "FrozenEstimator": _frozen,
    **dict.fromkeys(("GridSearchCV", "RandomizedSearchCV"), _searched),
    **dict.fromkeys(
        ("LogisticRegression", "LogisticRegressionCV", "SGDClassifier", "LinearSVC", "RidgeClassifier"), classifier
    ),
    **dict.fromkeys(
        ("LinearRegression", "Ridge", "RidgeCV", "Lasso", "LassoCV", "ElasticNet", "ElasticNetCV", "BayesianRidge",
         "HuberRegressor", "SGDRegressor", "LinearSVR", "QuantileRegressor"),
        regressor("identity"),
    ),
    **dict.fromkeys(("PoissonRegressor", "GammaRegressor"), regressor("exp")),
    **dict.fromkeys(("MLPClassifier", "MLPRegressor"), perceptron),
    **dict.fromkeys(
        ("DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor",
         "RandomForestClassifier", "RandomForestRegressor", "ExtraTreesClassifier", "ExtraTreesRegressor"),
        forest,
    ),
    **dict.fromkeys(("GradientBoostingClassifier", "GradientBoostingRegressor"), boosting),
    **dict.fromkeys(("HistGradientBoostingClassifier", "HistGradientBoostingRegressor"), histogram_boosting),
    "CalibratedClassifierCV": _calibrated,
    **dict.fromkeys(("VotingClassifier", "VotingRegressor"), _voting),
    **dict.fromkeys(("FixedThresholdClassifier", "TunedThresholdClassifierCV"), _thresholded),
}  # fmt: skip
