"""Why the demo could not go on: one sentence that names the way out."""

from __future__ import annotations

from trainyard.errors import TrainyardError


class DemoError(TrainyardError):
    """The story cannot be told to its end; the message says what failed and what to do."""
