"""Entry point for Lambda: the function's handler is ``trainyard_predictor.aws_lambda.handle``.

Lambda imports this module once in each environment, before the first event, and bills a failure here as what it is.
"""

from __future__ import annotations

import gc
import importlib
import os

from trainyard_predictor import road

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from trainyard_predictor.function import Function


def _function_of(environ: os._Environ[str]) -> Function:
    """Import and put together; nothing of that is ever garbage, and looking for some would take 5 ms."""
    gc.disable()
    road.take(__file__.rpartition("/trainyard_predictor/")[0])
    from trainyard import logs  # noqa: PLC0415
    from trainyard.config import load  # noqa: PLC0415
    from trainyard_predictor import lambda_bootstrap  # noqa: PLC0415

    config = load(environ, only=lambda_bootstrap.SETTINGS)
    logs.configure("predictor", level=config.log_level)
    function = lambda_bootstrap.build(config, environ)
    gc.freeze()
    gc.enable()
    return function


_environ = os.environ  # noqa: TID251 - an entry module
_function = _function_of(_environ)
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
