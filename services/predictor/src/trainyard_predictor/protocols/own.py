"""``POST /v1/predict/{model}``: rows by column name, every answer with its prediction id (docs/api.md)."""

from __future__ import annotations

from trainyard.errors import ServiceError
from trainyard_predictor import domain
from trainyard_predictor.exchange import check_length, check_media, json_response
from trainyard_predictor.protocols.routes import AT_ONCE, COMPUTES, WAITS, Route

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainyard_predictor.exchange import Json, Request, Response
    from trainyard_predictor.protocols.ask import Ask
    from trainyard_predictor.protocols.routes import Call
    from trainyard_predictor.use_cases import Models


#: A body of more bytes may hold more rows than are answered in a few milliseconds.
_QUICK_BYTES = 16 * 1024


def routes(ask: Ask, models: Models, json: Json) -> list[Route]:
    """Return the one route: ``ask`` has rows predicted, ``models`` says which models are in memory."""

    def predict(call: Call) -> Response:
        request = call.request
        seen = request.seen
        target = None if seen is None else seen.target
        if target is None:
            check_media(request.headers, ["application/json"])
            check_length(request)
            target = domain.parse_target(call.names["target"])
            if seen is not None:
                seen.target = target
        rows, explain = domain.parse_body(json.loads(request.body))
        answer = ask(call, target, rows, explain=explain)
        response = json_response(200, answer.as_dict(), json)
        response.headers["x-trainyard-version"] = str(answer.version)
        return response

    def pace(request: Request, names: Mapping[str, str]) -> int:
        body = request.body
        if b"explain" in body or b"\\" in body:  # an escape could spell it
            return WAITS
        try:
            known = None if request.seen is None else request.seen.target
            if not models.holds(known or domain.parse_target(names["target"])):
                return WAITS
        except ServiceError:  # a name that no model can bear
            return AT_ONCE
        return AT_ONCE if len(body) <= _QUICK_BYTES else COMPUTES

    return [Route("POST", "/v1/predict/{target}", "predict", predict, quiet=True, pace=pace)]
