"""Signing in and out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Response, request

from trainyard.adapters.web import Route
from trainyard.errors import ServiceError
from trainyard_console.frame import check_same_site, cookie_name, form_text, go, safe_next, show, url
from trainyard_console.use_cases import SESSION_SECONDS

if TYPE_CHECKING:
    from trainyard_console.frame import Frame
    from trainyard_console.use_cases import Door, Visit


def routes(frame: Frame, door: Door) -> list[Route]:
    """Return the routes; the first three are open to everybody."""

    def ask() -> Response:
        return show("sign_in.html", next=safe_next(request.args.get("next", "/")), problem=None)

    def enter() -> Response:
        check_same_site()
        following = safe_next(form_text("next"))
        try:
            return _signed_in(door.enter(form_text("key")), following)
        except ServiceError as e:
            return show("sign_in.html", status=e.status, next=following, problem=e.message)

    def enter_by_link() -> Response:
        try:
            return _signed_in(door.enter_by_link(request.args.get("once", "")), "/")
        except ServiceError as e:
            return show("sign_in.html", status=e.status, next="/", problem=e.message)

    def leave(visit: Visit) -> Response:
        door.leave(visit.visitor.token)
        response = go(url("sign-in", said="ended"))
        response.delete_cookie(cookie_name())
        return response

    return [
        Route("GET", "/sign-in", ask, None, "Asks for an API key"),
        Route("POST", "/sign-in", enter, None, "Signs in with an API key"),
        Route("GET", "/sign-in/link", enter_by_link, None, "Signs in with a one-time link"),
        frame.page("/sign-out", leave, "Signs out", method="POST"),
    ]


def _signed_in(token: str, following: str) -> Response:
    response = go(following)
    secure = request.is_secure or request.headers.get("X-Forwarded-Proto") == "https"
    response.set_cookie(
        cookie_name(), token, max_age=int(SESSION_SECONDS), httponly=True, samesite="Lax", secure=secure
    )
    return response
