"""What every page has in common: who looks, which role it takes, the form token, the headers, the frame around it.

A page is a function of a :class:`~trainyard_console.use_cases.Visit` and the path's values. It is reached only by
somebody who is signed in and whose key carries the page's scope; a change only with the session's form token and not
from another site. What may be done is decided by the services all the same: they get the visitor's own key.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from flask import Response, g, redirect, render_template, request

from trainyard.adapters.web import CONTROL_BODY_BYTES, Route
from trainyard.errors import ServiceError
from trainyard_console.charts import bars
from trainyard_console.views import words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flask import Flask

    from trainyard_console.use_cases import Door, Visit

_HERE = Path(__file__).parent
TEMPLATES = _HERE / "templates"
STATIC = _HERE / "static"
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
#: first part of the address -> what its pages are called; "" is home.
AREAS = {
    "": "Home",
    "datasets": "Datasets",
    "models": "Models",
    "runs": "Runs",
    "try": "Try it",
    "quality": "Quality",
    "operations": "Operations",
}
#: What a page says after a change, by the word in its address: an address from outside can choose among these only.
SAID = {
    "asked": "Training was asked for.",
    "cancelled": "The run was asked to stop.",
    "created": "It is made.",
    "decided": "Your decision is on record.",
    "deleted": "It is gone.",
    "ended": "You are signed out.",
    "moved": "The alias moved. Predictors follow within seconds.",
    "policy": "The policy is saved and holds from now on.",
    "pulling": "The source is being pulled; its batches appear below.",
    "redriven": "The dead letters are on their way back to their queue.",
    "revoked": "The key is revoked.",
    "rolled_back": "The champion moved back.",
    "source": "The source is added; it is pulled by its schedule, or now if you press the button.",
    "uploaded": "The rows are committed.",
}
_STATIC_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class Frame:
    """Makes routes of pages."""

    def __init__(self, door: Door, release: str) -> None:
        self._door = door
        self._files = {file.relative_to(STATIC).as_posix(): file.read_bytes() for file in sorted(STATIC.rglob("*.*"))}
        self._marks = {name: hashlib.sha256(data).hexdigest()[:12] for name, data in self._files.items()}
        self._release = release

    def prepare(self, app: Flask) -> None:
        """Give the templates what all of them use."""
        app.jinja_options = {"trim_blocks": True, "lstrip_blocks": True}
        app.template_folder = str(TEMPLATES)
        app.jinja_env.globals.update(
            areas=AREAS,
            asset=lambda name: f"/static/{name}?v={self._marks[name]}",
            release=self._release,
            url=url,
            words=words,
            spark=bars.spark,
        )

    def static(self) -> Route:
        """Return the route of styles and scripts; their addresses change with their content."""

        def serve(name: str) -> Response:
            data = self._files.get(name)
            if data is None:
                raise ServiceError("not_found", "no such file")
            response = Response(data, mimetype=_STATIC_TYPES.get(Path(name).suffix, "text/plain"))
            known = request.args.get("v") == self._marks[name]
            return _sealed(response, "public, max-age=31536000, immutable" if known else "no-cache")

        return Route("GET", "/static/<path:name>", serve, None, "Styles and scripts of the pages")

    def page(
        self,
        rule: str,
        view: Callable[..., Response],
        summary: str,
        *,
        scope: str = "read",
        method: str = "GET",
        max_body_bytes: int = CONTROL_BODY_BYTES,
    ) -> Route:
        """Return the route of a page, or with POST of a change, for those who are signed in and have the scope."""

        def call(**values: str) -> Response:
            visit = self._door.visit(request.cookies.get(cookie_name()))
            if visit is None:
                return to_sign_in()
            g.visit = visit
            if method == "POST":
                check_same_site()
                _check_token(visit.visitor.csrf)
            if not visit.visitor.may(scope):
                raise ServiceError(
                    "wrong_scope",
                    f"your API key does not carry the scope '{scope}' that this needs;"
                    " an admin can make one that does: Operations, Keys",
                )
            return view(visit, **values)

        return Route(method, rule, call, None, summary, max_body_bytes=max_body_bytes)

    def show_error(self, error: ServiceError) -> Response:
        """Show a refusal as a page with a next step; a key that is not in force any more ends the session."""
        if error.code in {"bad_key", "no_key"} and g.get("visit") is not None:
            g.pop("visit")
            response = to_sign_in()
            response.delete_cookie(cookie_name())
            return response
        if request.url_rule is None and error.status in {404, 405}:  # no page of ours: in the frame all the same
            g.visit = self._door.visit(request.cookies.get(cookie_name()))
            if error.status == 404:
                error = ServiceError("not_found", "there is no page at this address")
        area = request.path.strip("/").partition("/")[0]
        details = [problem.as_dict() for problem in error.details]
        response = show("error.html", status=error.status, error=error, details=details, area=area)
        if error.retry_after_seconds is not None:
            response.headers["Retry-After"] = str(error.retry_after_seconds)
        return response


def url(*parts: object, **query: object) -> str:
    """Return an address of the console: ``url("models", name, said="moved")``."""
    path = "/" + "/".join(quote(str(part), safe="") for part in parts)
    given = {key: value for key, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(given)}" if given else path


def show(template: str, *, status: int = 200, **values: Any) -> Response:
    """Return a page in the frame."""
    visit: Visit | None = g.get("visit")
    text = render_template(
        template,
        visitor=visit.visitor if visit else None,
        said=SAID.get(request.args.get("said", "")),
        paused=request.args.get("pause") == "1",
        here=request.full_path.rstrip("?"),
        same_page=_same_page,
        repeat=secrets.token_hex(16),
        **values,
    )
    return _sealed(Response(text, status=status, mimetype="text/html"), "no-store")


def hasty(*questions: str) -> tuple[str, ...]:
    """Return those of ``questions`` that the page does not wait for: none where it is asked to look at everything."""
    return () if request.args.get("look") == "1" else questions


def _same_page(**changed: object) -> str:
    """Return the address of the page that is asked for, standing still or going on; what it asks for stays."""
    kept = {name: value for name, value in request.args.items() if name not in {"pause", "said"}}
    return url(*request.path.strip("/").split("/"), **{**kept, **changed})


def confirm(
    area: str, title: str, back: tuple[str, ...], consequences: list[str], error: ServiceError | None
) -> Response:
    """Ask before something is deleted: what will happen, and what a service had against it."""
    said = [*consequences, "The change is written into the audit log with your key."]
    status = error.status if error else 200
    return show("confirm.html", status=status, area=area, title=title, back=back, consequences=said, error=error)


def go(address: str) -> Response:
    """Send the browser to another page after a change."""
    response = redirect(address, 303)
    return _sealed(response, "no-store")  # type: ignore[arg-type]  # werkzeug's, of which Flask's is a kind


def stream(chunks: Any) -> Response:
    """Return server-sent events."""
    response = _sealed(Response(chunks, mimetype="text/event-stream"), "no-store")
    response.headers["X-Accel-Buffering"] = "no"
    return response


def to_sign_in() -> Response:
    """Send the browser to sign in and back; a live part cannot be sent, so the page that it is in is."""
    back = request.full_path.rstrip("?") if request.method == "GET" else ""
    address = url("sign-in", next=back)
    if request.headers.get("HX-Request"):
        response = _sealed(Response(status=401), "no-store")
        response.headers["HX-Redirect"] = "/sign-in"
        return response
    return go(address)


def cookie_name() -> str:
    """Return the session cookie's name: browsers tell hosts apart and not ports, and stacks may stand side by side."""
    port = request.host.rpartition(":")[2]
    return f"trainyard_{port}" if port.isdigit() else "trainyard"


def safe_next(address: str) -> str:
    """Return an address of our own to go on to, whatever was given."""
    inside = address.startswith("/") and not address.startswith(("//", "/\\")) and address.isprintable()
    return address if inside else "/"


def check_same_site() -> None:
    """Refuse a change that a page of another site has asked for.

    Raises:
        ServiceError: ``wrong_scope``.
    """
    if request.headers.get("Sec-Fetch-Site", "none") not in {"same-origin", "none"}:
        raise ServiceError("wrong_scope", "this was asked for by a page of another site")


def _check_token(expected: str) -> None:
    given = request.headers.get("X-CSRF-Token") or request.form.get("csrf", "")
    if not hmac.compare_digest(given.encode(), expected.encode()):
        raise ServiceError("wrong_scope", "the form is of another session; go back, load the page again and repeat")


def _sealed(response: Response, cache: str) -> Response:
    response.headers.update(_HEADERS)
    response.headers["Cache-Control"] = cache
    return response


def form_text(name: str, most: int = 500) -> str:
    """Return a field of the form that was sent, without space around it."""
    return request.form.get(name, "").strip()[:most]


def page_of(path: str, most: int = 25, **query: object) -> str:
    """Return the path of a list's page in an API, as the browser's address asks for it."""
    asked: Mapping[str, object] = {"limit": most, **query, "cursor": request.args.get("cursor")}
    return f"{path}?{urlencode({key: value for key, value in asked.items() if value not in (None, '')})}"
