"""A version: its card, its gate, another one beside it, and everything that may be done with it, asked twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import request

from trainyard.errors import ServiceError
from trainyard.metric_names import HIGHER_IS_BETTER
from trainyard_console.frame import form_text, go, show, url
from trainyard_console.views import models as model_views
from trainyard_console.views import versions as views
from trainyard_console.views.words import items, part, text

if TYPE_CHECKING:
    from flask import Response

    from trainyard.adapters.web import Route
    from trainyard_console.frame import Frame
    from trainyard_console.use_cases import Visit

#: Of the newest versions, that are offered to compare with; any other's number can be typed.
_MOST_OTHERS = 20


def routes(frame: Frame) -> list[Route]:
    """Return the routes."""
    version = "/models/<name>/versions/<number>"
    return [
        frame.page(version, one, "A version: card, metrics, curves, gate, lineage"),
        frame.page(f"{version}/<action>", confirm, "Says what an action on a version will do", scope="operate"),
        frame.page(f"{version}/<action>", act, "Does it", scope="operate", method="POST"),
        frame.page("/models/<name>/compare", compare, "Two versions side by side"),
    ]


def one(visit: Visit, name: str, number: str) -> Response:
    """Show a version."""
    found = _report(visit, name, number)
    others = visit.ask({"all": ("scheduler", f"{url('v1', 'models', name, 'versions')}?limit={_MOST_OTHERS}")})["all"]
    item = part(found, "version")
    operator = visit.visitor.may("operate")
    return show(
        "versions/version.html",
        area="models",
        name=name,
        version=views.version(found, visit.now),
        others=[shown for other in items(others.value) if (shown := text(other.get("version"))) != number],
        actions=[(a, title) for a, title in views.ACTIONS.items() if views.may(a, item, operator=operator)],
    )


def compare(visit: Visit, name: str) -> Response:
    """Show two versions side by side."""
    a, b = request.args.get("a", ""), request.args.get("b", "")
    if not (a.isdigit() and b.isdigit()):
        raise ServiceError("unknown_version", "choose two versions to compare on the page of one of them")
    left, right = _report(visit, name, a), _report(visit, name, b)
    shown = views.compare(left, right, frozenset(HIGHER_IS_BETTER), visit.now)
    return show("versions/compare.html", area="models", name=name, a=a, b=b, comparison=shown)


def confirm(visit: Visit, name: str, number: str, action: str) -> Response:
    """Say what an action will do."""
    return _confirmation(visit, name, number, action, None)


def act(visit: Visit, name: str, number: str, action: str) -> Response:
    """Do what was confirmed; a refusal is shown on the confirmation, which may be repeated."""
    try:
        following = _done(visit, name, number, action)
    except ServiceError as e:
        if e.status >= 500 or e.code in {"bad_key", "wrong_scope"}:
            raise
        return _confirmation(visit, name, number, action, e)
    return go(following)


def _done(visit: Visit, name: str, number: str, action: str) -> str:
    model, repeat = url("v1", "models", name), form_text("repeat")
    reason = {"reason": said} if (said := form_text("reason")) else {}
    seq = form_text("seq")
    expected = {"expected_seq": int(seq)} if seq.isdigit() else {}
    if action in {"promote", "challenger", "shadow"}:
        alias = "champion" if action == "promote" else action
        body: dict[str, Any] = {"version": int(number), **reason, **expected}
        if action != "promote":
            body["weight"] = _weight(form_text("percent"))
        visit.act("PUT", "scheduler", f"{model}/aliases/{alias}", body=body)
        return url("models", name, said="moved")
    if action == "rollback":
        visit.act("POST", "scheduler", f"{model}/rollback", body={**reason, **expected}, repeat=repeat)
        return url("models", name, said="rolled_back")
    if action in {"approve", "reject"}:
        body = {"approve": action == "approve", **reason}
        visit.act("POST", "scheduler", f"{model}/versions/{number}/approve", body=body, repeat=repeat)
        return url("models", name, "versions", number, said="decided")
    run = str(part(_report(visit, name, number), "version").get("run_id"))
    visit.act("POST", "scheduler", f"{url('v1', 'runs', run)}/reproduce", body={}, repeat=repeat)
    return url("models", name, "versions", number, said="asked")


def _weight(percent: str) -> float:
    try:
        return float(percent) / 100
    except ValueError as e:
        raise ServiceError("bad_request", "the share is a number of percent, 0 to 100") from e


def _confirmation(visit: Visit, name: str, number: str, action: str, error: ServiceError | None) -> Response:
    item = part(_report(visit, name, number), "version")
    if action not in views.ACTIONS:
        raise ServiceError("not_found", "there is no such action")
    answers = visit.ask({"aliases": ("scheduler", f"{url('v1', 'models', name, 'aliases')}?limit=100")})
    aliases = items(answers["aliases"].value)
    moved = "champion" if action in {"promote", "rollback"} else action
    return show(
        "versions/confirm.html",
        status=error.status if error else 200,
        area="models",
        name=name,
        number=number,
        action=action,
        title=views.ACTIONS[action],
        consequences=views.consequences(action, item, aliases),
        # what is moved must still be what was looked at
        seq=next((alias.get("seq") for alias in aliases if alias.get("name") == moved), 0),
        version=model_views.version(item, visit.now),
        percent=form_text("percent") or "10",
        reason=form_text("reason"),
        error=error,
    )


def _report(visit: Visit, name: str, number: str) -> dict[str, Any]:
    if not number.isdigit():
        raise ServiceError("unknown_version", f"{name[:60]} has no version {number[:20]}")
    path = url("v1", "models", name, "versions", number, "report")
    return visit.need("scheduler", path, "unknown_version", f"{name[:60]} has no version {number[:20]}")
