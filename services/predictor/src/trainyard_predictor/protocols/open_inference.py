"""The Open Inference Protocol v2 over HTTP (KServe's REST specification), as Triton, MLServer and KServe speak it.

A model's inputs are its columns, one tensor each; one tensor of two dimensions may stand for all of them. Its outputs
are columns too: ``prediction``, ``probability.<class>`` of each class, ``prediction_id``; with ``explain`` among the
request's parameters also ``base``, ``score`` and ``contribution.<column>``.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

from trainyard import strict_json
from trainyard.errors import ServiceError
from trainyard.frozen import replace
from trainyard.model.arrays import numpy_is_loaded
from trainyard.model.inference import WORTH_NUMPY
from trainyard.schema import shown
from trainyard_predictor import domain
from trainyard_predictor.exchange import MAX_BODY_BYTES, Response, check_length, check_media, json_response
from trainyard_predictor.protocols import outputs
from trainyard_predictor.protocols.routes import AT_ONCE, COMPUTES, WAITS, Route
from trainyard_predictor.protocols.tables import rows_of_cells, rows_of_columns, rows_of_lists
from trainyard_predictor.protocols.tensors import parameters_of, read_tensors
from trainyard_predictor.rows import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trainyard.schema import Schema
    from trainyard_predictor.edges.catalogue import Catalogue
    from trainyard_predictor.exchange import Request
    from trainyard_predictor.protocols.ask import Ask
    from trainyard_predictor.protocols.routes import Call
    from trainyard_predictor.protocols.tensors import Tensor
    from trainyard_predictor.use_cases import Models

_EXTENSIONS = ["binary_tensor_data", "parameters"]
_PLATFORM = "trainyard_msgpack"
#: Says how much of the body is JSON; tensors follow it.
_JSON_LENGTH = "inference-header-content-length"
#: What the protocol has no status for becomes 400; a model without a version is not ready.
_STATUSES = {"no_model": 503}
_KEPT = {400, 401, 403, 404, 405, 408, 413, 414, 415, 429}
_MOST_SHOWN = 20
#: A body of more bytes may hold more rows than are answered in a few milliseconds, of a protocol that is read slowly.
_QUICK_BYTES = 4 * 1024
#: Rows that are looked at one by one, whatever they came as.
_FEW_ROWS = 16


def refuse(error: ServiceError) -> Response:
    """Return an error in the protocol's form, with every problem in its text (the first 20)."""
    status = _STATUSES.get(error.code, error.status)
    if status < 500 and status not in _KEPT:
        status = 400
    said = [error.message]
    for problem in error.details[:_MOST_SHOWN]:
        where = [f"row {problem.row}"] if problem.row is not None else []
        where += [f"column {problem.column!r}"] if problem.column is not None else []
        said.append(f"{', '.join(where)}: expected {problem.expected}, got {problem.got}")
    if len(error.details) > _MOST_SHOWN:
        said.append(f"and {len(error.details) - _MOST_SHOWN} more")
    return json_response(status, {"error": "; ".join(said)})


class OpenInference:
    """The protocol's routes. ``ready`` tells whether the service can do its job; ``version`` is the release."""

    def __init__(
        self, ask: Ask, models: Models, catalogue: Catalogue, *, ready: Callable[[], bool], version: str
    ) -> None:
        self._ask = ask
        self._models = models
        self._catalogue = catalogue
        self._ready = ready
        self._version = version

    def routes(self) -> list[Route]:
        """Return every route of the protocol."""
        routes = [
            _route("GET", "/v2", self._server),
            Route("GET", "/v2/health/live", None, lambda _: json_response(200, {"live": True}), refuse, quiet=True),
            Route("GET", "/v2/health/ready", None, self._server_ready, refuse, quiet=True),
            _route("GET", "/v2/models", lambda _: json_response(200, {"models": self._catalogue.models()})),
            _route("POST", "/v2/repository/index", self._index),
        ]
        for model in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            routes += [
                _route("GET", model, self._model),
                _route("GET", f"{model}/ready", self._model_ready),
                replace(_route("POST", f"{model}/infer", self._infer), pace=self._pace),
            ]
        return routes

    def _pace(self, request: Request, names: Mapping[str, str]) -> int:
        """Tell a request that only computes from one that may wait, or explain."""
        length = request.headers.get(_JSON_LENGTH, "")
        said = request.body[: int(length)] if _is_count(length) else request.body
        if b"explain" in said or b"\\" in said or "content-encoding" in request.headers:
            return WAITS
        try:
            if not self._models.holds(_named(names)):
                return WAITS
        except ServiceError:  # a name that no model can bear
            return AT_ONCE
        return AT_ONCE if len(request.body) <= _QUICK_BYTES else COMPUTES

    def _server(self, _call: Call) -> Response:
        return json_response(200, {"name": "trainyard", "version": self._version, "extensions": _EXTENSIONS})

    def _server_ready(self, _call: Call) -> Response:
        ready = self._ready()
        return json_response(200 if ready else 503, {"ready": ready})

    def _index(self, call: Call) -> Response:
        """List the models; ``{"ready": true}`` asks for those with a champion only."""
        check_length(call.request)
        given = strict_json.loads(call.request.body) if call.request.body.strip() else {}
        if not isinstance(given, dict) or not isinstance(given.get("ready", False), bool):
            raise ServiceError("bad_request", 'the body must be {"ready": true or false}, or empty')
        ready = self._catalogue.with_champion()
        listed = [
            {"name": name, "state": "READY", "reason": ""}
            if name in ready
            else {"name": name, "state": "UNAVAILABLE", "reason": "no champion yet"}
            for name in self._catalogue.models()
            if name in ready or not given.get("ready")
        ]
        return json_response(200, listed)

    def _model(self, call: Call) -> Response:
        served = self._models.get(_target(call))
        numbers = self._catalogue.versions(served.model)
        return json_response(
            200,
            {
                "name": served.model,
                "versions": [str(number) for number in numbers],
                "platform": _PLATFORM,
                "inputs": outputs.inputs_of(served.features),
                "outputs": outputs.outputs_of(served.predictor.model),
            },
        )

    def _model_ready(self, call: Call) -> Response:
        served = self._models.get(_target(call))
        return json_response(200, {"name": served.model, "ready": True})

    def _infer(self, call: Call) -> Response:
        request = call.request
        check_media(request.headers, ["application/json", "application/octet-stream"], ["gzip", "deflate"])
        check_length(request)
        given, binary = _parts(_unpacked(call), request.headers.get(_JSON_LENGTH))
        parameters = parameters_of(given, "the request")
        explain = parameters.get("explain", False)
        if not isinstance(explain, bool):
            raise ServiceError("bad_request", "the parameter explain must be true or false")
        ident = given.get("id")
        if not isinstance(ident, str | None):
            raise ServiceError("bad_request", "the id must be a string")
        wanted = outputs.wanted(given.get("outputs"), binary=parameters.get("binary_data_output") is True)
        target = _target(call)
        served = self._models.get(target)
        outputs.check_wanted(wanted[0], served.predictor.model, explain=explain)
        rows = rows_of_tensors(read_tensors(given.get("inputs"), binary), served.features)
        answer = self._ask(call, target, rows, explain=explain)
        tensors, packed = outputs.written_outputs(answer.rows, wanted)
        body: dict[str, Any] = {"model_name": answer.model, "model_version": str(answer.version)}
        if ident is not None:
            body["id"] = ident
        if any(row.get("logged") is False for row in answer.rows):
            body["parameters"] = {"logged": False}
        response = json_response(200, {**body, "outputs": tensors})
        response.headers["x-trainyard-version"] = str(answer.version)
        if not packed:
            return response
        response.headers["Inference-Header-Content-Length"] = str(len(response.body))
        response.headers["Content-Type"] = "application/octet-stream"
        return Response(200, response.headers, response.body + packed)


def rows_of_tensors(tensors: Sequence[Tensor], features: Schema) -> Sequence[dict[str, Any]]:
    """Return the rows that tensors hold: one tensor for each column, or one of two dimensions for all of them.

    Raises:
        ServiceError: ``bad_request`` when the shapes do not make a table, else as :mod:`.tables`.
    """
    first = tensors[0]
    if len(tensors) == 1 and len(first.shape) == 2 and (first.shape[1] != 1 or first.name not in features):
        return _rows_of_matrix(first, features)
    for tensor in tensors:
        if tensor.shape not in ((len(tensor),), (len(tensor), 1)):
            said = f"input {shown(tensor.name)!r} has the shape {list(tensor.shape)}"
            raise ServiceError("bad_request", f"{said}; a column is [rows] or [rows, 1], a table the only input")
    if len({len(tensor) for tensor in tensors}) == 1:
        table = _table([tensor.name for tensor in tensors], len(first), tensors, features)
        if table is not None:
            return table
    return rows_of_columns({tensor.name: tensor.values for tensor in tensors})


def _table(names: Sequence[str], n_rows: int, tensors: Sequence[Tensor], features: Schema) -> Table | None:
    """Return tensors that are columns, or one matrix of all, as a table where they are plainly what is wanted.

    None where a value has to be looked at by itself, or numpy is not worth it: then rows are made of them.
    """
    domain.check_count(n_rows)
    if n_rows < (_FEW_ROWS if numpy_is_loaded() else WORTH_NUMPY):
        return None
    wanted = {column.name for column in features.columns if column.type == "float"}
    if len(wanted) != len(features.columns) or len(names) != len(wanted) or set(names) != wanted:
        return None
    arrays = [array for tensor in tensors if (array := tensor.array) is not None]
    if len(arrays) != len(tensors):
        return None
    columns = arrays[0].T.copy() if len(arrays) < len(names) else [array.reshape(-1) for array in arrays]
    return Table(dict(zip(names, columns, strict=True)), n_rows)


def _rows_of_matrix(tensor: Tensor, features: Schema) -> Sequence[dict[str, Any]]:
    """Return the rows of a table whose columns ``parameters.columns`` names, else in the order of the metadata."""
    n_rows, width = tensor.shape
    domain.check_count(n_rows)
    names: Any = features.names
    given = tensor.parameters.get("columns")
    if given is not None:
        names = strict_json.loads(given.encode()) if isinstance(given, str) else given
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ServiceError("bad_request", 'the parameter columns must be a JSON list of names, as text: ["a","b"]')
    if width == len(names) and (table := _table(names, n_rows, [tensor], features)) is not None:
        return table
    rows = [tensor.values[begin : begin + width] for begin in range(0, n_rows * width, width)]
    if tensor.datatype != "BYTES":
        return rows_of_lists(rows, names, features)
    return rows_of_cells([["" if cell is None else cell for cell in row] for row in rows], names, features)


def _route(method: str, path: str, answer: Callable[[Call], Response]) -> Route:
    return Route(method, path, "predict", answer, refuse, quiet=path.endswith(("/infer", "/ready")))


def _target(call: Call) -> domain.Target:
    """Return what the path names; a version may be a number or an alias."""
    return _named(call.names)


def _named(names: Mapping[str, str]) -> domain.Target:
    version = names.get("version")
    return domain.parse_target(names["model"] if version is None else f"{names['model']}@{version}")


def _unpacked(call: Call) -> bytes:
    """Return the body as it was before it was compressed, at most as long as any other."""
    encoding = call.request.headers.get("content-encoding", "identity").strip().lower()
    if encoding == "identity":
        return call.request.body
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16 if encoding == "gzip" else zlib.MAX_WBITS)
    try:
        data = unpacker.decompress(call.request.body, MAX_BODY_BYTES + 1)
    except zlib.error:
        raise ServiceError("bad_gzip", f"the body is not {encoding}") from None
    if len(data) > MAX_BODY_BYTES:
        raise ServiceError("too_large", f"the body unpacks to more than {MAX_BODY_BYTES:,} bytes; send fewer rows")
    if not unpacker.eof or unpacker.unused_data:
        raise ServiceError("bad_gzip", f"the body is not one whole {encoding} stream")
    return data


def _parts(body: bytes, json_length: str | None) -> tuple[dict[str, Any], bytes | None]:
    """Return the request's JSON and the bytes of tensors behind it; None without the header that announces them."""
    length = len(body)
    if json_length is not None:
        if not (_is_count(json_length) and int(json_length) <= length):
            raise ServiceError("bad_request", f"{_JSON_LENGTH} must be a number of bytes of the body")
        length = int(json_length)
    given = strict_json.loads(body[:length])
    if not isinstance(given, dict):
        raise ServiceError("bad_request", 'the body must be {"inputs": [tensor, ...]}')
    return given, None if json_length is None else body[length:]


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20
