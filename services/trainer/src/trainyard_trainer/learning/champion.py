"""The model to beat, asked about the same test rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trainyard.errors import ArtifactError, ServiceError
from trainyard.metrics.answers import Answers
from trainyard.model import Predictor, decode
from trainyard.schema.evolution import holds

if TYPE_CHECKING:
    from trainyard.model import Model
    from trainyard_trainer.learning.table import Table
    from trainyard_trainer.learning.target import Target


class CannotCompareError(Exception):
    """The champion cannot score these rows; the message says why."""


def ask(data: bytes, table: Table, target: Target) -> Answers:
    """Return the champion's answers and what it decides, its classes in the target's order.

    A class that the champion does not know has probability 0; one that the target does not know is decided for as -1.

    Args:
        data: the champion's artifact.
        table: the test rows, with all features of the dataset.
        target: the challenger's task and classes.

    Raises:
        CannotCompareError: it does not load, is of another task, or reads other columns.
    """
    try:
        model = decode(data)
        predictor = Predictor(model)
        predictor.self_test()
    except ArtifactError as e:
        raise CannotCompareError(f"the champion does not load ({e})") from e
    _check_fit(model, table, target)
    try:
        answers = predictor.predict_columns(table.columns)
    except ServiceError as e:
        raise CannotCompareError(f"the champion has no finite answer for some test row ({e.message})") from e
    told = Answers.of(model.task, answers, model.threshold)
    if model.task == "regression":
        return told
    theirs = {label: index for index, label in enumerate(model.classes)}
    out = np.zeros((table.rows, len(target.classes)))
    ours = np.full(len(model.classes), -1)
    for index, label in enumerate(target.classes):
        if label in theirs:
            out[:, index] = answers[:, theirs[label]]
            ours[theirs[label]] = index
    return Answers(out, ours[told.decided])


def _check_fit(model: Model, table: Table, target: Target) -> None:
    if model.task != target.task:
        raise CannotCompareError(f"the champion's task is {model.task}, this version's is {target.task}")
    if model.task == "binary" and model.classes != target.classes:
        raise CannotCompareError(f"the champion's classes are {model.classes}, this version's are {target.classes}")
    types = {c.name: c.type for c in table.schema.features}
    for column in model.schema.features:
        # A column that became wider since holds the same values, in the same arrays.
        if not holds(types.get(column.name, ""), column.type):
            raise CannotCompareError(f"the champion reads the column '{column.name}' as {column.type}")
