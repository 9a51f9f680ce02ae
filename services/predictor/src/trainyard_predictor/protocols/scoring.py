"""``/invocations`` and what goes with it, as MLflow's scoring servers and SageMaker's containers answer it.

Both protocols have the same path. The body tells them apart: an object is MLflow's and answered as MLflow does; a bare
array, or text in a SageMaker container, is answered with a bare array, or with lines where ``Accept`` asks for CSV.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from trainyard import strict_json
from trainyard.errors import ServiceError, TransientError
from trainyard_predictor import domain
from trainyard_predictor.exchange import MAX_BODY_BYTES, Response, check_length, check_media, json_response, media_type
from trainyard_predictor.protocols.frames import read_csv, read_json
from trainyard_predictor.protocols.routes import Route

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainyard_predictor.edges.catalogue import Catalogue
    from trainyard_predictor.protocols.ask import Ask
    from trainyard_predictor.protocols.routes import Call
    from trainyard_predictor.use_cases import Answer, Models

_JSON, _CSV = "application/json", "text/csv"
#: Which model is meant: this header, or ``?model=``.
_MODEL = "x-trainyard-model"
_SAGEMAKER = "x-amzn-sagemaker-"
_INFERENCE_ID = f"{_SAGEMAKER}inference-id"
_ATTRIBUTES = f"{_SAGEMAKER}custom-attributes"
#: More ids than this would make a header line that proxies refuse.
MOST_IDS = 100
_CODES = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    413: "INVALID_PARAMETER_VALUE",
    422: "INVALID_PARAMETER_VALUE",
    429: "REQUEST_LIMIT_EXCEEDED",
    500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def refuse(error: ServiceError) -> Response:
    """Return an error in MLflow's form; every problem of every row is in ``details``."""
    if error.code == "unsupported_media":
        return Response(415, {"Content-Type": "text/plain; charset=utf-8"}, error.message.encode())
    status = {"no_model": 404}.get(error.code, error.status)
    if 400 < status < 500 and status not in _CODES:
        status = status if status in (405, 408, 414) else 400
    said: dict[str, Any] = {"error_code": _CODES.get(status, "BAD_REQUEST"), "message": error.message}
    if error.details:
        said["details"] = [problem.as_dict() for problem in error.details]
    return json_response(400 if status == 422 else status, said)


class Scoring:
    """The routes of both protocols.

    Args:
        ask: has rows predicted.
        models: where models come from.
        catalogue: which models there are.
        version: the release.
        default: the model that is meant where a request names none, ``model`` or ``model@alias``; None: the only one.
        sagemaker: whether this is a SageMaker container; else only requests with SageMaker's headers count as its.
        keyless: whether ``/invocations`` takes requests without an API key.
    """

    def __init__(
        self,
        ask: Ask,
        models: Models,
        catalogue: Catalogue,
        *,
        version: str,
        default: str | None = None,
        sagemaker: bool = False,
        keyless: bool = False,
    ) -> None:
        self._ask = ask
        self._models = models
        self._catalogue = catalogue
        self._version = version
        self._default = default
        self._sagemaker = sagemaker
        self._scope = None if keyless else "predict"

    def routes(self) -> list[Route]:
        """Return every route of both protocols."""
        return [
            Route("POST", "/invocations", self._scope, self._invoke, refuse, quiet=True),
            Route("GET", "/ping", None, self._ping, refuse, quiet=True),
            Route("GET", "/health", None, self._ping, refuse, quiet=True),
            Route("GET", "/version", "predict", lambda _: _text(f"{self._version}\n"), refuse),
            Route("GET", "/execution-parameters", None, self._execution, refuse),
        ]

    def _ping(self, _call: Call) -> Response:
        """Answer 200 when there is a model to ask: the default one, or any."""
        try:
            target = self._target(None)
        except ServiceError as e:
            if e.code == "bad_request":  # several models and no default: each request names its own
                return _text("" if self._sagemaker else "\n")
            raise
        self._models.get(target)
        return _text("" if self._sagemaker else "\n")

    def _execution(self, _call: Call) -> Response:
        """Tell SageMaker's batch transform how to send."""
        megabytes = MAX_BODY_BYTES // 2**20
        return json_response(
            200, {"MaxConcurrentTransforms": 8, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": megabytes}
        )

    def _invoke(self, call: Call) -> Response:
        request = call.request
        kind = check_media(request.headers, [_JSON, _CSV])
        sagemaker = self._sagemaker or any(name.startswith(_SAGEMAKER) for name in request.headers)
        header = _header_parameter(request.headers)
        check_length(request)
        target = self._target(_named(call))
        features = self._models.get(target).features
        params = {"probabilities": False, "explain": False}
        if kind == _CSV:
            rows: list[Any] = read_csv(request.body, features, header)
        else:
            rows, params = read_json(request.body, features, bare=sagemaker)
        explain = params["explain"]
        answer = self._ask(call, target, rows, explain=explain, repeat=request.headers.get(_INFERENCE_ID))
        as_records = any(params.values())
        bare = sagemaker and (kind == _CSV or request.body.lstrip()[:1] == b"[")
        response = _response(answer, request.headers.get("accept", ""), bare=bare, as_records=as_records)
        return _with_headers(response, answer, request.headers)

    def _target(self, named: str | None) -> domain.Target:
        """Return the model that is meant.

        Raises:
            ServiceError: ``unknown_model`` where there is none, ``bad_request`` where there are several and none is
                named; else as :func:`domain.parse_target`.
        """
        if named or self._default:
            return domain.parse_target(named or self._default or "")
        try:
            models = self._catalogue.models()
        except TransientError as e:
            raise ServiceError("unavailable", "the object store does not answer", retry_after_seconds=1) from e
        if not models:
            raise ServiceError("unknown_model", "there is no model yet")
        if len(models) > 1:
            said = f"there are several models: name one with the header {_MODEL} or ?model=, or set"
            raise ServiceError("bad_request", f"{said} TRAINYARD_DEFAULT_MODEL")
        return domain.parse_target(models[0])


def _named(call: Call) -> str | None:
    return call.request.headers.get(_MODEL) or parse_qs(call.request.query).get("model", [None])[0]


def _header_parameter(headers: Mapping[str, str]) -> bool | None:
    """Return whether the CSV has a header line, where its media type says so; no other parameter is known."""
    _, parameters = media_type(headers.get("content-type", ""))
    said = parameters.get("header")
    if said not in (None, "present", "absent") or set(parameters) - {"charset", "header"}:
        raise ServiceError("unsupported_media", "the parameters of the Content-Type may be charset and header only")
    return None if said is None else said == "present"


def _response(answer: Answer, accept: str, *, bare: bool, as_records: bool) -> Response:
    rows: list[Any] = answer.rows if as_records else [row["prediction"] for row in answer.rows]
    if not bare:
        return json_response(200, {"predictions": rows})
    if not as_records and _CSV in [media_type(part)[0] for part in accept.split(",")]:
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([_cell(value)] for value in rows)
        return Response(200, {"Content-Type": f"{_CSV}; charset=utf-8"}, out.getvalue().encode())
    return json_response(200, rows)


def _cell(value: object) -> str:
    """Return a predicted value as a cell of CSV: texts as they are, anything else as JSON."""
    return value if isinstance(value, str) else strict_json.dumps(value).decode()


def _with_headers(response: Response, answer: Answer, asked: Mapping[str, str]) -> Response:
    headers = response.headers
    headers["x-trainyard-version"] = str(answer.version)
    if len(answer.rows) <= MOST_IDS:
        headers["x-trainyard-prediction-ids"] = ",".join(row["prediction_id"] for row in answer.rows)
    if any(row.get("logged") is False for row in answer.rows):
        headers["x-trainyard-logged"] = "false"
    attributes = asked.get(_ATTRIBUTES, "")
    if attributes and attributes.isascii() and attributes.isprintable():
        headers["X-Amzn-SageMaker-Custom-Attributes"] = attributes
    return response


def _text(text: str) -> Response:
    return Response(200, {"Content-Type": "text/plain; charset=utf-8"}, text.encode())
