"""``POST /v1/predict/{model}``: rows by column name, every answer with its prediction id (docs/api.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainyard import strict_json
from trainyard_predictor import domain
from trainyard_predictor.exchange import check_length, check_media, json_response
from trainyard_predictor.protocols.routes import Route

if TYPE_CHECKING:
    from trainyard_predictor.exchange import Response
    from trainyard_predictor.protocols.ask import Ask
    from trainyard_predictor.protocols.routes import Call


def routes(ask: Ask) -> list[Route]:
    """Return the one route."""

    def predict(call: Call) -> Response:
        request = call.request
        check_media(request.headers, ["application/json"])
        check_length(request)
        target = domain.parse_target(call.names["target"])
        rows, explain = domain.parse_body(strict_json.loads(request.body))
        answer = ask(call, target, rows, explain=explain)
        response = json_response(200, answer.as_dict())
        response.headers["x-trainyard-version"] = str(answer.version)
        return response

    return [Route("POST", "/v1/predict/{target}", "predict", predict, quiet=True)]
