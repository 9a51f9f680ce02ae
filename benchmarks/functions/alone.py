"""A function's first answer without an emulator around it: ``python alone.py HANDLER EVENT``, then nothing is put away.

What Lambda's runtime client imports is imported before, as it is there.
"""

import importlib
import json
import os
import sys
from types import SimpleNamespace

import awslambdaric.bootstrap
import awslambdaric.lambda_runtime_client  # noqa: F401


def main(handler, event):
    """Answer the event; raise unless that succeeds."""
    module, _, name = handler.rpartition(".")
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: 3000)
    answer = getattr(importlib.import_module(module), name)(json.loads(event), context)
    assert answer["statusCode"] == 200, answer


if __name__ == "__main__":
    main(*sys.argv[1:])
    os._exit(0)
