"""Entry point for Lambda: the function's handler is ``trainyard_predictor.aws_lambda.handle``.

Lambda imports this module once in each environment, before the first event, and bills a failure here as what it is.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

from trainyard import logs
from trainyard.config import load
from trainyard_predictor import lambda_bootstrap

#: Where an environment starts from a snapshot, or ahead of its first event, importing numpy is nobody's wait.
_AHEAD = {"snap-start", "provisioned-concurrency"}

_environ = os.environ  # noqa: TID251 - an entry module
_config = load(_environ, only=lambda_bootstrap.SETTINGS)
logs.configure("predictor", level=_config.log_level)
_function = lambda_bootstrap.build(_config, _environ)
if _environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") in _AHEAD:
    importlib.import_module("trainyard.model.batches")


def handle(event: Any, context: Any) -> Any:
    """Answer one event; see :class:`trainyard_predictor.function.Function`."""
    return _function.handle(event, context.get_remaining_time_in_millis() / 1000)
