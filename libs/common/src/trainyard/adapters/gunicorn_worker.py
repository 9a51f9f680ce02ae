"""gunicorn's worker of threads, told from the original by its answer to what is no HTTP: our JSON instead of its HTML.

``gunicorn --worker-class trainyard.adapters.gunicorn_worker.JsonWorker``: a request line that is too long or a broken
header never reaches the application, and is 400 ``bad_request`` all the same.
"""

from __future__ import annotations

from typing import Any

from gunicorn import util
from gunicorn.http.errors import ConfigurationProblem, ParseException
from gunicorn.workers.gthread import ThreadWorker

from trainyard import logs, strict_json
from trainyard.errors import ServiceError

_log = logs.get(__name__)


class JsonWorker(ThreadWorker):  # type: ignore[misc]
    """Answers every request in JSON."""

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Answer a request that cannot be read; all else is gunicorn's."""
        if not isinstance(exc, ParseException) or isinstance(exc, ConfigurationProblem):
            super().handle_error(req, client, addr, exc)
            return
        _log.warning("request.unreadable", reason=str(exc))
        error = ServiceError("bad_request", f"the request is not HTTP as it is read here: {exc}")
        body = strict_json.dumps(error.as_dict())
        head = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        try:
            util.write_nonblock(client, f"HTTP/1.1 {error.status} Bad Request\r\n{head}".encode() + body)
        except OSError as e:
            _log.info("request.gone", reason=str(e))  # it has not waited for its answer
