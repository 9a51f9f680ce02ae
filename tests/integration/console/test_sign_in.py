"""Signing in and out: who gets in, with what rights, and what nobody can do from another site."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from trainyard import auth, private_records
from trainyard.errors import ServiceError
from trainyard_console.domain import Fetched
from trainyard_console.use_cases import SESSION_SECONDS

from .conftest import PAGES

if TYPE_CHECKING:
    from pathlib import Path

    from trainyard.clock import ManualClock

    from .conftest import Browser, Services


@pytest.mark.parametrize(("path", "scope"), PAGES)
def test_nothing_is_shown_to_strangers(stranger: Browser, services: Services, path: str, scope: str) -> None:
    """Every page sends whoever is not signed in to sign in, and back to it afterwards; no service is asked."""
    answer = stranger.get(path)
    assert answer.status_code == 303
    assert answer.location.startswith("/sign-in")
    entered = stranger.client.post("/sign-in", data={"key": services.key("admin"), "next": path})
    assert entered.location == path


@pytest.mark.parametrize(("path", "scope"), PAGES)
def test_pages_show_by_rights(viewer: Browser, path: str, scope: str) -> None:
    """A reader sees what a reader may; the rest is refused with the scope that it needs."""
    answer = viewer.get(path)
    assert answer.status_code == (200 if scope == "read" else 403)
    if scope != "read":
        assert f"&#39;{scope}&#39;" in answer.text


def test_roles_are_named_by_scopes(stranger: Browser, services: Services) -> None:
    """The frame says who is signed in as what."""
    for scopes, role in ((["read"], "viewer"), (["operate"], "operator"), (["admin"], "admin")):
        stranger.sign_in(services.key(*scopes))
        assert f"ann · {role}" in stranger.get("/models").text


def test_a_key_that_is_none_does_not_get_in(stranger: Browser, services: Services) -> None:
    """Unknown, malformed or unreadable keys, and a scheduler that is away: a sentence each, and no session."""
    assert (stranger.sign_in("ty_x").status_code, stranger.sign_in(auth.make_key()).status_code) == (401, 401)
    services.get = lambda *_: Fetched(missing="does not show this to your API key", status=403)  # type: ignore[method-assign]
    assert "scope read" in stranger.sign_in(auth.make_key()).text
    services.get = lambda *_: Fetched(missing="does not answer", status=503)  # type: ignore[method-assign]
    assert "does not answer" in stranger.sign_in(auth.make_key()).text
    assert stranger.get("/").status_code == 303


def test_a_link_signs_in_once(stranger: Browser, services: Services, console_dir: Path, clock: ManualClock) -> None:
    """What `trainyard up` prints opens the console, once, and not after its hour."""
    links = private_records.links(console_dir, clock)
    once = links.put({"key": services.key("admin")}, seconds=private_records.LINK_SECONDS)
    assert stranger.get(f"/sign-in/link?once={once}").location == "/"
    assert stranger.get("/models").status_code == 200
    again = stranger.get(f"/sign-in/link?once={once}")
    assert (again.status_code, "used before" in again.text) == (401, True)
    late = links.put({"key": services.key("admin")}, seconds=private_records.LINK_SECONDS)
    clock.advance(private_records.LINK_SECONDS)
    assert stranger.get(f"/sign-in/link?once={late}").status_code == 401


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(stranger: Browser, services: Services) -> None:
    """HttpOnly, SameSite, by port, Secure behind TLS; the API key is not in it."""
    key = services.key("read")
    plain = stranger.sign_in(key).headers["Set-Cookie"]
    assert all(part in plain for part in ("HttpOnly", "SameSite=Lax", "Path=/"))
    assert "Secure" not in plain
    assert key not in plain
    data = {"key": key}
    secure = stranger.client.post("/sign-in", data=data, headers={"X-Forwarded-Proto": "https", "Host": "localhost:81"})
    assert "Secure" in secure.headers["Set-Cookie"]
    assert secure.headers["Set-Cookie"].startswith("trainyard_81=")


def test_sessions_end(admin: Browser, clock: ManualClock) -> None:
    """Signing out ends the session for whoever has its cookie; so does the end of a working day."""
    cookie = admin.client.get_cookie("trainyard")
    assert cookie is not None
    assert admin.post("/sign-out").location == "/sign-in?said=ended"
    admin.client.set_cookie("trainyard", cookie.value)
    assert admin.get("/models").status_code == 303


def test_a_session_is_over_after_its_time(admin: Browser, clock: ManualClock) -> None:
    """Half a day."""
    clock.advance(SESSION_SECONDS - 1)
    assert admin.get("/models").status_code == 200
    clock.advance(1)
    assert admin.get("/models").status_code == 303


def test_a_revoked_key_ends_its_session(admin: Browser, services: Services) -> None:
    """The next page asks to sign in again; of a live part the whole page goes there."""
    services.keys.clear()
    assert admin.get("/models").location.startswith("/sign-in")
    live = admin.get("/", headers={"HX-Request": "true"})
    assert (live.status_code, live.headers["HX-Redirect"]) == (401, "/sign-in")


@pytest.mark.parametrize("following", ["//evil.example", "https://evil.example", "/\\evil.example", "", "/a\r\nb: c"])
def test_signing_in_leads_nowhere_else(stranger: Browser, services: Services, following: str) -> None:
    """Whatever the address asks for, the way goes on inside the console."""
    answer = stranger.client.post("/sign-in", data={"key": services.key("read"), "next": following})
    assert answer.location == "/"


def test_changes_need_the_forms_token_and_the_same_site(admin: Browser, services: Services) -> None:
    """Without the session's token, with another one, or asked for by another site: nothing is changed."""
    for data in ({}, {"csrf": "other"}, {"csrf": "é"}):
        assert admin.client.post("/models/late/train", data=data).status_code == 403
    elsewhere = {"Sec-Fetch-Site": "cross-site"}
    assert admin.post("/models/late/train", headers=elsewhere).status_code == 403
    assert admin.client.post("/sign-in", data={"key": services.key("read")}, headers=elsewhere).status_code == 403
    assert services.sent == []
    assert admin.post("/models/late/train").status_code == 303


def test_only_known_hosts_are_answered(stranger: Browser) -> None:
    """Another Host is refused with a page; health needs nobody signed in."""
    assert stranger.get("/", headers={"Host": "evil.example"}).status_code == 400
    assert [stranger.get(path).status_code for path in ("/healthz", "/readyz", "/metrics")] == [200, 200, 200]
    assert stranger.get("/openapi.json").get_json()["openapi"] == "3.1.0"
    assert stranger.client.post("/models").status_code == 405
    assert stranger.get("/nothing").status_code == 404


def test_browsers_are_told_to_run_nothing_else(admin: Browser) -> None:
    """Every page, file and error carries the policy; no page has a script or style of its own in it."""
    for path in ["/", "/nothing", "/sign-in"]:
        answer = admin.get(path)
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["Cache-Control"] == "no-store"
        assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=|javascript:", answer.text)


def test_faults_are_shown_without_their_insides(admin: Browser, services: Services) -> None:
    """An exception of ours is a page with the request's id; a service's refusal is a page with its words."""
    services.answers["/v1/models"] = Fetched(missing="does not answer", status=503)
    assert "The scheduler does not answer" in admin.get("/models").text
    services.refusal = ServiceError("conflict", "somebody was faster")
    refused = admin.post("/models/late/train")
    assert (refused.status_code, "somebody was faster" in refused.text) == (409, True)


@pytest.mark.parametrize(
    ("path", "ways"),
    [("/nothing", []), ("/models/gone", ["/models"]), ("/datasets/gone/x", ["/datasets"]), ("/runs/gone", ["/runs"]),
     ("/models/late/versions/99", ["/models"]), ("/models/late/compare?a=7&b=99", ["/models"])],
)  # fmt: skip
def test_what_is_not_there_is_told_in_the_frame(admin: Browser, path: str, ways: list[str]) -> None:
    """A page that does not exist, or is about what has gone: whoever is signed in stays so, and sees where to go on."""
    answer = admin.get(path)
    assert answer.status_code == 404
    assert "<h1>Not found</h1>" in answer.text
    assert "ann · admin" in answer.text
    main = answer.text[answer.text.index("<main") :]
    assert re.findall('<a href="([^"]*)"', main) == [*ways, "/"]


def test_a_stranger_who_is_lost_is_led_to_the_door(stranger: Browser) -> None:
    """The page of what does not exist shows a stranger the way in, and nothing else."""
    answer = stranger.get("/nothing")
    assert (answer.status_code, "Sign in</a>" in answer.text, "<nav" in answer.text) == (404, True, False)


def test_a_conflict_says_to_look_again(admin: Browser, services: Services) -> None:
    """Whatever changed meanwhile: what the service says, and the way to how it is now."""
    services.refusal = ServiceError("conflict", "the run has ended")
    answer = admin.post("/runs/RUN/cancel", {"request": "REQ"})
    assert answer.status_code == 409
    for words in ("Something has changed meanwhile", "the run has ended", '<a href="/runs">Runs</a>'):
        assert words in answer.text
