"""Entry point for Lambda: the function's handler is ``trainyard_predictor.aws_lambda.handle``.

Lambda imports this module once in each environment, before the first event, and bills a failure here as what it is.
"""

from __future__ import annotations

import importlib
import os

from trainyard import logs
from trainyard.config import load
from trainyard_predictor import lambda_bootstrap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_environ = os.environ  # noqa: TID251 - an entry module
_config = load(_environ, only=lambda_bootstrap.SETTINGS)
logs.configure("predictor", level=_config.log_level)
_function = lambda_bootstrap.build(_config, _environ)
_starts = _environ.get("AWS_LAMBDA_INITIALIZATION_TYPE")
if _starts == "snap-start":
    _hooks = importlib.import_module("snapshot_restore_py")  # comes with Lambda's runtime client
    _snapshot = _function.snapshot()
    _hooks.register_before_snapshot(_snapshot.prepare)
    _hooks.register_after_restore(_snapshot.restore)
elif _starts == "provisioned-concurrency":  # ahead of its first event: nobody waits for this
    _function.snapshot().prepare()


def handle(event: Any, context: Any) -> Any:
    """Answer one event; see :class:`trainyard_predictor.function.Function`."""
    return _function.handle(event, context.get_remaining_time_in_millis() / 1000)
