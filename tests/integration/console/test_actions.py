"""What may be changed from the console: what the services are asked, what is shown when they refuse."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from trainyard.errors import Problem, ServiceError
from trainyard_console.domain import Fetched
from trainyard_console.pages import datasets

from .conftest import RECORDED

if TYPE_CHECKING:
    from .conftest import Browser, Services

POLICY = RECORDED["/v1/models/late"]["policy"]
#: form -> (path, fields, what the scheduler is asked, where it leads)
ACTIONS = [
    ("/models/late/train", {}, ("POST", "/v1/models/late/requests", {}), "/models/late?said=asked"),
    ("/runs/RUN/cancel", {"request": "REQ"}, ("POST", "/v1/requests/REQ/cancel", {}), "/runs/RUN?said=cancelled"),
    (
        "/models/late/versions/9/promote", {"seq": "5", "reason": "better for us"},
        ("PUT", "/v1/models/late/aliases/champion", {"version": 9, "reason": "better for us", "expected_seq": 5}),
        "/models/late?said=moved",
    ),
    (
        "/models/late/versions/9/challenger", {"seq": "0", "percent": "12.5"},
        ("PUT", "/v1/models/late/aliases/challenger", {"version": 9, "expected_seq": 0, "weight": 0.125}),
        "/models/late?said=moved",
    ),
    (
        "/models/late/versions/9/shadow", {"seq": "0", "percent": "100"},
        ("PUT", "/v1/models/late/aliases/shadow", {"version": 9, "expected_seq": 0, "weight": 1.0}),
        "/models/late?said=moved",
    ),
    (
        "/models/late/versions/7/rollback", {"seq": "5"}, ("POST", "/v1/models/late/rollback", {"expected_seq": 5}),
        "/models/late?said=rolled_back",
    ),
    (
        "/models/late/versions/9/approve", {}, ("POST", "/v1/models/late/versions/9/approve", {"approve": True}),
        "/models/late/versions/9?said=decided",
    ),
    (
        "/models/late/versions/9/reject", {"reason": "no"},
        ("POST", "/v1/models/late/versions/9/approve", {"approve": False, "reason": "no"}),
        "/models/late/versions/9?said=decided",
    ),
    (
        "/operations/queues/training/redrive", {}, ("POST", "/v1/queues/dlq/redrive", {"queue": "training"}),
        "/operations/queues/training?said=redriven",
    ),
    (
        "/datasets/flights/sources/orders/pull", {}, ("POST", "/v1/datasets/flights/sources/orders/pull", {}),
        "/datasets/flights?said=pulling",
    ),
    ("/datasets/flights/sources/orders/delete", {}, ("DELETE", "/v1/datasets/flights/sources/orders", None),
     "/datasets/flights?said=deleted"),
    ("/datasets/flights/delete", {}, ("DELETE", "/v1/datasets/flights", None), "/datasets?said=deleted"),
    ("/models/late/delete", {}, ("DELETE", "/v1/models/late", None), "/models?said=deleted"),
    ("/operations/keys/00ff/revoke", {}, ("DELETE", "/v1/keys/00ff", None), "/operations/keys?said=revoked"),
]  # fmt: skip


@pytest.mark.parametrize(("form", "fields", "asked", "leads"), ACTIONS)
def test_actions_ask_a_service_once(
    admin: Browser, services: Services, form: str, fields: dict[str, Any], asked: tuple[str, str, Any], leads: str
) -> None:
    """The form becomes one request with the form's own idempotency key, and the page after it says what was done."""
    answer = admin.post(form, fields)
    assert (answer.status_code, answer.location) == (303, leads)
    ((method, service, path, body),) = services.sent
    assert (service, (method, path, body)) == ("ingest" if path.startswith("/v1/datasets") else "scheduler", asked)
    assert services.repeats == (["r-1"] if method == "POST" else [""])


@pytest.mark.parametrize(("form", "fields", "asked", "leads"), ACTIONS)
def test_a_viewer_changes_nothing(
    viewer: Browser, services: Services, form: str, fields: dict[str, Any], asked: Any, leads: str
) -> None:
    """Whoever may only read is refused before any service is asked, and is offered no button."""
    assert viewer.post(form, fields).status_code == 403
    assert services.sent == []
    for page in ("/models/late", "/models/late/versions/9", "/runs/RUN", "/operations", "/datasets/flights"):
        text = viewer.get(page).text
        assert text.count("<form") == text.count('action="/sign-out"') + text.count('method="get"')


def test_every_action_names_what_will_happen(admin: Browser) -> None:
    """Before anything moves, a page says from which version to which, and that it is written down."""
    said = {
        action: admin.get(f"/models/late/versions/9/{action}").text for action in ("promote", "shadow", "reproduce")
    }
    assert "So far version 7 answers; version 7 becomes “previous”" in said["promote"]
    assert "Nobody gets its answers" in said["shadow"]
    assert "No new version comes of it" in said["reproduce"]
    assert all("audit log" in text for text in said.values())
    assert "is the champion of late already: nothing changes" in admin.get("/models/late/versions/7/promote").text
    assert admin.get("/models/late/versions/9/explode").status_code == 404
    assert 'name="seq" value="' + str(RECORDED["/v1/models/late/aliases"]["items"][0]["seq"]) in said["promote"]


def test_a_refused_action_can_be_repeated(admin: Browser, services: Services) -> None:
    """The scheduler's words are on the confirmation, with its status."""
    services.refusal = ServiceError("conflict", "the champion is another one by now")
    refused = admin.post("/models/late/versions/9/promote", {"seq": "4"})
    assert refused.status_code == 409
    assert "the champion is another one by now" in refused.text
    assert "What will happen" in refused.text
    again = admin.post("/models/late/versions/9/shadow", {"percent": "half", "reason": "to see"})
    assert again.status_code == 400
    assert all(f'value="{typed}"' in again.text for typed in ("half", "to see"))


@pytest.mark.parametrize(
    "path", ["/datasets/flights/delete", "/datasets/flights/sources/orders/delete", "/models/late/delete"]
)
def test_what_cannot_be_deleted_says_why(admin: Browser, services: Services, path: str) -> None:
    """The service's words are on the page that asks, which is still there to be confirmed again."""
    services.refusal = ServiceError("in_use", "the model late reads it")
    refused = admin.post(path)
    assert refused.status_code == 409
    assert "the model late reads it" in refused.text
    assert "What will happen" in refused.text


def test_the_policy_form_says_what_the_policy_is_and_changes_only_what_was_changed(
    admin: Browser, services: Services
) -> None:
    """Sending the form as it is gives the same policy; a changed field changes that key."""
    same = {
        "min_new_rows": "", "min_new_labels": "", "max_age": "", "cron": "", "on_drift": "on", "min_interval": "0s",
        "budget_seconds": "4s", "kinds": POLICY["kinds"], "metric": POLICY["metric"], "leakage": POLICY["leakage"],
        "seed": str(POLICY["seed"]), "promotion": POLICY["promotion"], "gate.min_rows": "100",
        "gate.min_improvement": "0", "gate.confidence": "0.975",
    }  # fmt: skip
    for changed in ({}, {"min_new_rows": "2500"}, {"min_new_rows": "many"}, {"max_age": "24h"}):
        assert admin.post("/models/late/policy", same | changed).status_code == 303
    sent = [body["policy"] for _, _, _, body in services.sent]
    assert sent == [
        POLICY, POLICY | {"min_new_rows": 2500}, POLICY | {"min_new_rows": "many"}, POLICY | {"max_age": 86_400.0}
    ]  # fmt: skip


def test_a_refused_policy_is_shown_beside_its_fields(admin: Browser, services: Services) -> None:
    """What was typed stays, and the problem stands at the field that it is about."""
    problem = Problem(None, "policy.min_new_rows", "a whole number from 1, or null", "'many'")
    services.refusal = ServiceError("invalid_model", "the policy is not valid", [problem])
    answer = admin.post("/models/late/policy", {"min_new_rows": "many"})
    assert answer.status_code == 422
    assert 'value="many"' in answer.text
    assert "a whole number from 1, or null" in answer.text


def test_the_policy_as_text(admin: Browser, services: Services) -> None:
    """The text goes to the scheduler as it is; what is no JSON object is told before."""
    assert admin.post("/models/late/policy", {"text": json.dumps({"min_new_rows": 7})}).status_code == 303
    ((_, _, path, body),) = services.sent
    assert (path, body) == (
        "/v1/models/late", {"dataset": "flights", "label": "late", "task": "auto", "policy": {"min_new_rows": 7}}
    )  # fmt: skip
    for text in ("{", "[]"):
        refused = admin.post("/models/late/policy", {"text": text})
        assert (refused.status_code, "is not" in refused.text) == (400, True)


def test_a_new_model(admin: Browser, services: Services) -> None:
    """A name, a dataset, its label and when to train are enough; what the scheduler refuses stays in the form."""
    fields = {"name": "later", "dataset": "flights", "label": "late", "min_new_rows": "500", "budget": "30s"}
    assert admin.post("/models/new", fields).location == "/models/later?said=created"
    policy = {"min_new_rows": 500, "budget_seconds": 30.0}
    assert services.sent == [
        ("PUT", "scheduler", "/v1/models/later", {"dataset": "flights", "label": "late", "policy": policy})
    ]
    services.refusal = ServiceError("unknown_dataset", "there is no dataset of that name")
    refused = admin.post("/models/new", fields)
    assert (refused.status_code, 'value="later"' in refused.text) == (404, True)


def test_a_prediction_is_shown_with_its_reasons(admin: Browser, services: Services) -> None:
    """The form's values go to the predictor by their types; the answer is a picture with every number as text."""
    services.reply["/v1/predict/late"] = RECORDED["/v1/predict/late"]
    fields = {"carrier": "US", "distance": "529", "temperature": "28.04", "recent_delay": ""}
    answer = admin.post("/try/late", fields)
    ((_, service, path, body),) = services.sent
    assert (service, path, body["explain"]) == ("predictor", "/v1/predict/late", True)
    row = body["rows"][0]
    assert (row["carrier"], row["distance"], row["temperature"], row["recent_delay"]) == ("US", 529, 28.04, None)
    assert "late" not in row
    assert "flight_id" not in row
    for words in ("says <strong>false</strong>", "What each column adds", "recent_delay", "In log-odds of true"):
        assert words in answer.text


def test_a_refused_prediction_names_its_columns(admin: Browser, services: Services) -> None:
    """Each problem stands at its field, and what was typed stays."""
    services.refusal = ServiceError("invalid_rows", "1 problem", [Problem(1, "distance", "a whole number", "'far'")])
    answer = admin.post("/try/late", {"distance": "far", "target": "9"})
    assert services.sent[0][2:] == ("/v1/predict/late@9", services.sent[0][3])
    assert answer.status_code == 422
    assert "expected a whole number, got" in answer.text


def test_a_version_that_cannot_explain_still_answers(admin: Browser, services: Services) -> None:
    """It is asked again without reasons."""
    original = services.send

    def refusing(*arguments: Any, **options: Any) -> Any:
        original(*arguments, **options)
        if options["body"].get("explain"):
            raise ServiceError("cannot_explain", "trees without covers")
        return {"version": 3, "rows": [{"prediction": 1.5, "prediction_id": "pr_1"}]}

    services.send = refusing  # type: ignore[method-assign]
    answer = admin.post("/try/late", {"distance": "5"})
    assert (answer.status_code, "<strong>1.5</strong>" in answer.text) == (200, True)


def test_rows_are_uploaded_as_they_are(admin: Browser, services: Services) -> None:
    """The file goes to ingest byte for byte, by the type of its name; the way leads to its batch."""
    services.reply["/v1/datasets/flights/rows"] = {"id": "b-1"}
    answer = admin.post("/datasets/flights/upload", {"file": (io.BytesIO(b"a,b\n1,2\n"), "june.CSV")})
    assert answer.location == "/datasets/flights/batches/b-1?said=uploaded"
    assert services.sent == [("POST", "ingest", "/v1/datasets/flights/rows", ("text/csv", b"a,b\n1,2\n"))]
    services.refusal = ServiceError("invalid_rows", "3 of 4 rows", [Problem(2, "a", "a number", "'x'")])
    refused = admin.post("/datasets/flights/upload", {"file": (io.BytesIO(b"a\nx\n"), "a.csv")})
    assert (refused.status_code, "row 2, <b>a</b>: expected a number" in refused.text) == (422, True)
    assert admin.post("/datasets/flights/upload", {"file": (io.BytesIO(b"a"), "a.exe")}).status_code == 415
    assert admin.post("/datasets/flights/upload").status_code == 400


def test_a_dataset_from_a_file(admin: Browser, services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """The columns of a sample are shown to be corrected, and what is sent back is the schema."""
    monkeypatch.setattr(datasets, "_SAMPLE_BYTES", 10_000)
    columns = [{"name": "id", "type": "int"}, {"name": "bought", "type": "bool"}, {"name": "age", "type": "int"}]
    services.reply["/v1/datasets/shop/infer"] = {"columns": columns}
    line = b"1,true,3\n"
    file = b"id,bought,age\n" + line * 2_000
    shown = admin.post("/datasets/new", {"name": "shop", "file": (io.BytesIO(file), "shop.csv")})
    media, sample = services.sent[0][3]
    assert (media, len(sample) <= 10_000, sample.endswith(line), file.startswith(sample)) == (
        "text/csv",
        True,
        True,
        True,
    )
    assert all(f"Role of {name}" in shown.text for name in ("id", "bought", "age"))
    fields = {"name": "shop", "name0": "id", "type0": "int", "role0": "key", "name1": "bought", "type1": "bool",
              "role1": "label", "name2": "age", "type2": "float", "role2": "feature"}  # fmt: skip
    assert admin.post("/datasets/create", fields).location == "/datasets/shop?said=created"
    assert services.sent[1][2:] == (
        "/v1/datasets/shop",
        {"columns": [
            {"name": "id", "type": "int", "role": "key", "nullable": False},
            {"name": "bought", "type": "bool", "role": "label", "nullable": False},
            {"name": "age", "type": "float", "role": "feature", "nullable": True},
        ]},
    )  # fmt: skip
    services.refusal = ServiceError("invalid_schema", "two labels")
    refused = admin.post("/datasets/create", fields)
    assert (refused.status_code, "two labels" in refused.text, "Role of age" in refused.text) == (422, True, True)


def test_a_key_is_shown_once(admin: Browser, services: Services) -> None:
    """A new key is on the page that made it and in no address."""
    services.reply["/v1/keys"] = {"id": "1", "key": "ty_fresh"}
    answer = admin.post("/operations/keys", {"name": "bot", "scope": ["read", "predict"], "days": "30"})
    assert services.sent[0][3] == {"name": "bot", "scopes": ["read", "predict"], "expires_in_days": 30}
    assert (answer.status_code, "ty_fresh" in answer.text) == (200, True)
    assert "ty_fresh" not in admin.get("/operations/keys").text


#: what is typed -> what ingest is asked to make
SOURCES = [
    (
        {"kind": "sql", "name": "sold", "database": "sqlite:///shop.db", "table": "sold", "cursor": "id"},
        {"kind": "sql", "database": "sqlite:///shop.db", "table": "sold", "cursor": "id"},
    ),
    (
        {"kind": "sql", "name": "sold", "database": "mysql://r@db/shop", "table": "sold", "cursor": "at",
         "every": "15m", "secret": "shop", "tie_breakers": "id, line", "columns": "alter = age\r\nort=city\r\n",
         "zone": "UTC", "page_rows": "500", "lag": "30s", "tls": "require", "schema": "s", "url": "https://other.example/"},
        {"kind": "sql", "database": "mysql://r@db/shop", "table": "sold", "cursor": "at", "schedule": {"every": "15m"},
         "secret": "shop", "tie_breakers": ["id", "line"], "columns": {"alter": "age", "ort": "city"}, "zone": "UTC",
         "page_rows": 500, "lag": "30s", "tls": "require", "schema": "s"},
    ),
    (
        {"kind": "url", "name": "prices", "url": "https://example.com/p.csv", "format": "as the file says"},
        {"kind": "url", "url": "https://example.com/p.csv"},
    ),
    (
        {"kind": "url", "name": "prices", "url": "https://example.com/p", "format": "csv", "every": "1h", "cron": "x",
         "page_rows": "many"},
        {"kind": "url", "url": "https://example.com/p", "format": "csv", "schedule": {"every": "1h", "cron": "x"}},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("typed", "made"), SOURCES)
def test_a_new_source(admin: Browser, services: Services, typed: dict[str, str], made: dict[str, Any]) -> None:
    """The form becomes the description of docs/sources.md; fields of another kind and empty ones are no part of it."""
    services.answers.pop("/v1/datasets/flights/sources/prices", None)
    answer = admin.post("/datasets/flights/sources/new", typed)
    assert (answer.status_code, answer.location) == (303, "/datasets/flights?said=source")
    assert services.sent == [("PUT", "ingest", f"/v1/datasets/flights/sources/{typed['name']}", made)]


@pytest.mark.parametrize(
    ("refusal", "field", "words"),
    [
        (ServiceError("source_refused", "1 problem", [Problem(None, "table", "the name of one", "nothing")]),
         "table", "the name of one; got nothing"),
        (ServiceError("source_refused", "1 problem", [Problem(None, "schedule.every", "from 10 s", "1s")]),
         "every", "from 10 s; got 1s"),
        (ServiceError("source_refused", "1 problem", [Problem(None, "schedule", "one of them", "both")]),
         "cron", "one of them; got both"),
        (ServiceError("url_refused", "not one that data may be pulled from"), "url", "not one that data may be pulled"),
    ],
)  # fmt: skip
def test_a_refused_source_is_shown_beside_its_fields(
    admin: Browser, services: Services, refusal: ServiceError, field: str, words: str
) -> None:
    """What was typed stays, and the problem stands at the field that it is about."""
    services.refusal = refusal
    typed = {"kind": "url" if field == "url" else "sql", "name": "sold", "zone": "UTC", field: "typed here"}
    refused = admin.post("/datasets/flights/sources/new", typed)
    assert refused.status_code == refusal.status
    assert f'name="{field}" value="typed here" aria-describedby="f-{field}-h" aria-invalid="true"' in refused.text
    assert f'<p class="hint refused" id="f-{field}-h">{words}' in refused.text


def test_a_new_source_takes_no_others_place(admin: Browser, services: Services) -> None:
    """A name that is taken, or none, is told before anything is sent; so is an ingest that cannot say."""
    path, typed = "/datasets/flights/sources/new", {"kind": "sql", "table": "t"}
    taken = admin.post(path, {**typed, "name": "orders"})
    assert (taken.status_code, "has a source orders already" in taken.text) == (409, True)
    unfit = admin.post(path, {**typed, "name": "Old Orders"})
    assert (unfit.status_code, "a letter first" in unfit.text, 'value="Old Orders"' in unfit.text) == (422, True, True)
    services.answers["/v1/datasets/flights/sources/new"] = Fetched(missing="does not answer", status=503)
    assert admin.post(path, {**typed, "name": "new"}).status_code == 503
    assert services.sent == []


def test_a_viewer_makes_no_source(viewer: Browser, services: Services) -> None:
    """Neither the form nor the way to it is there, and nothing is sent."""
    assert viewer.get("/datasets/flights/sources/new").status_code == 403
    assert viewer.post("/datasets/flights/sources/new", {"name": "x"}).status_code == 403
    assert "sources/new" not in viewer.get("/datasets/flights").text
    assert services.sent == []
