"""Labels and predictions over HTTP and Postgres."""

import json
from datetime import UTC, datetime

from trainyard.contracts.prediction_log import Prediction, ShadowScore


def _log(service, count, model="buys"):
    at = datetime(2026, 1, 1, tzinfo=UTC)
    service.log.add(
        [Prediction(f"{model}{n}", model, 1, "k", None, {"age": n}, {"prediction": n}, 5, at) for n in range(count)]
    )


def test_labels_come_back_with_predictions(service):
    """Labels are answered with how many were taken and parked, and joined to their predictions, the latest counting."""
    _log(service, 3)
    items = [{"prediction_id": "buys1", "label": 0}, {"prediction_id": "buys1", "label": 1}]
    items += [{"prediction_id": "later", "label": True}, {"model": "buys", "key": {"id": 7}, "label": "x"}]
    response = service.call("POST", "/v1/feedback", {"items": items}, scope="feedback")
    assert (response.status_code, response.get_json()) == (200, {"accepted": 4, "parked": 1})
    page = service.call("GET", "/v1/predictions?model=buys&version=1", scope="read").get_json()
    assert [(row["id"], row["label"]) for row in page["items"]] == [("buys0", None), ("buys1", 1), ("buys2", None)]
    assert page["items"][0] == {
        "id": "buys0",
        "model": "buys",
        "version": 1,
        "predicted_at": "2026-01-01T00:00:00+00:00",
        "inputs": {"age": 0},
        "output": {"prediction": 0},
        "label": None,
    }
    assert service.call("GET", "/v1/predictions/buys1").get_json() == {**page["items"][1], "shadows": []}


def test_what_a_shadow_would_have_answered_stands_with_the_prediction(service):
    """Each shadow once, with the difference; the list of predictions is without."""
    _log(service, 1)
    at = datetime(2026, 1, 2, tzinfo=UTC)
    service.log.add_shadows([ShadowScore("buys0", "buys", 1, 2, -0.25, True, at)])
    (shadow,) = service.call("GET", "/v1/predictions/buys0").get_json()["shadows"]
    assert shadow == {"shadow_version": 2, "difference": -0.25, "changed": True, "scored_at": at.isoformat()}
    assert "shadows" not in service.call("GET", "/v1/predictions?model=buys").get_json()["items"][0]


def test_the_same_key_again(service):
    """A repeated Idempotency-Key gets the first answer and stores nothing; with another body it is refused."""
    body = json.dumps({"items": [{"prediction_id": "p", "label": 1}]})
    first = service.call("POST", "/v1/feedback", body, Idempotency_Key="a")
    again = service.call("POST", "/v1/feedback", body, Idempotency_Key="a")
    assert first.get_json() == again.get_json() == {"accepted": 1, "parked": 1}
    assert service.scalar("SELECT count(*) FROM core.feedback") == 1
    other = service.call("POST", "/v1/feedback", body.replace("1", "2"), Idempotency_Key="a")
    assert (other.status_code, other.get_json()["error"]["code"]) == (422, "key_reused")


def test_pages_of_predictions(service):
    """The cursor walks the whole log of a model once."""
    _log(service, 2_500)
    _log(service, 10, "other")
    found, cursor, pages = [], "0", 0
    while cursor is not None:
        page = service.call("GET", f"/v1/predictions?model=buys&limit=1000&cursor={cursor}").get_json()
        found += [row["id"] for row in page["items"]]
        cursor, pages = page["next_cursor"], pages + 1
    assert (found, pages) == ([f"buys{n}" for n in range(2_500)], 3)
