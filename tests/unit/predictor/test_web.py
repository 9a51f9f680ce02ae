"""The mapping between WSGI and the handler, at its edges."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

from trainyard.testing.models import sample_rows
from trainyard_predictor.handler import MAX_BODY_BYTES
from trainyard_predictor.wsgi import wsgi_app

if TYPE_CHECKING:
    from conftest import World

BODY = json.dumps({"rows": sample_rows(1)}).encode()


class Stream(io.BytesIO):
    """A body that remembers how much was asked of it at once."""

    most = 0

    def read(self, size: int | None = -1) -> bytes:
        """Read and remember."""
        Stream.most = max(Stream.most, size or 0)
        return super().read(size)


def call(world: World, body: bytes, **changes: Any) -> tuple[str, dict[str, str], bytes]:
    """Send one request through the WSGI application; changes of None take a variable away."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/v1/predict/flights",
        "QUERY_STRING": "",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_HOST": "127.0.0.1:8083",
        "HTTP_AUTHORIZATION": f"Bearer {world.key}",
        "wsgi.input": Stream(body),
        **changes,
    }
    Stream.most = 0
    said: list[Any] = []
    parts = wsgi_app(world.service.handler)(
        {name: value for name, value in environ.items() if value is not None}, lambda *given: said.extend(given)
    )
    return said[0], dict(said[1]), b"".join(parts)


def test_a_prediction_passes_through(world: World) -> None:
    """Status line, headers and length are those of the handler's answer."""
    status, headers, body = call(world, BODY)
    assert status == "200 OK"
    assert headers["Content-Length"] == str(len(body))
    assert headers["x-trainyard-version"] == json.loads(body)["version"].__str__()


def test_a_chunked_body_is_read_up_to_the_limit(world: World) -> None:
    """Without a length the server says where the body ends; no more than one byte beyond the limit is kept."""
    assert call(world, BODY, CONTENT_LENGTH=None, **{"wsgi.input_terminated": True})[0] == "200 OK"
    status, _, _ = call(world, b" " * (3 * MAX_BODY_BYTES), CONTENT_LENGTH=None, **{"wsgi.input_terminated": True})
    assert status.startswith("413 ")
    assert Stream.most == MAX_BODY_BYTES + 1


def test_a_body_that_is_too_long_is_thrown_away(world: World) -> None:
    """413 after the rest was read in small pieces, so that a client that is still sending gets to read the answer."""
    stream = Stream(b" " * (3 * MAX_BODY_BYTES))
    status, _, _ = call(world, b"", CONTENT_LENGTH=str(3 * MAX_BODY_BYTES), **{"wsgi.input": stream})
    assert status.startswith("413 ")
    assert Stream.most == MAX_BODY_BYTES + 1
    assert stream.read() == b""


def test_a_client_that_stops_sending_gets_a_timeout(world: World) -> None:
    """408 instead of a thread that waits for ever."""

    class Stalled:
        def read(self, size: int) -> bytes:
            raise TimeoutError

    assert call(world, BODY, **{"wsgi.input": Stalled()})[0] == "408 Request Timeout"


def test_odd_variables_are_refused_not_crashed_on(world: World) -> None:
    """No length, a length that is no number, a path that is not UTF-8, no content type."""
    assert call(world, BODY, CONTENT_LENGTH=None)[0].startswith("400 ")
    assert call(world, BODY, CONTENT_LENGTH="many")[0].startswith("400 ")
    assert call(world, BODY, PATH_INFO="/v1/predict/\xff\xfe")[0].startswith("404 ")
    assert call(world, BODY, CONTENT_TYPE=None)[0] == "200 OK"


def test_head_has_no_body(world: World) -> None:
    """The answer to HEAD carries the length but not the bytes."""
    status, headers, body = call(world, b"", REQUEST_METHOD="HEAD", PATH_INFO="/healthz", CONTENT_LENGTH=None)
    assert (status, body) == ("405 Method Not Allowed", b"")
    assert int(headers["Content-Length"]) > 0
