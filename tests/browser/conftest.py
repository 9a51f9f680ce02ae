"""A running stack, Chromium without a screen, and a page that must neither complain nor ask anybody else."""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect, sync_playwright

from trainyard.config import load
from trainyard_embedded import commands

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from stack import Stack  # noqa: E402 - the folder of whole stacks is no package

SCREENSHOTS = ROOT / ".state" / "screenshots"
AXE = ROOT / ".state" / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
_CHROMIUM = "/usr/bin/chromium"
#: Whatever a page shall show is waited for as long: the stack and the browser share the machine with others.
_PATIENCE_MS = 20_000
expect.set_options(timeout=_PATIENCE_MS)
#: page -> what it has complained of so far
_COMPLAINTS: dict[Page, list[str]] = {}


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running stack."""
    folder = tmp_path_factory.mktemp("stack")
    (folder / "sources").mkdir()
    running = Stack(folder / "data", {"TRAINYARD_PULL_DIR": str(folder / "sources")})
    running.start()
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The browser."""
    with sync_playwright() as playwright:
        # In a container without user namespaces Chromium has no sandbox of its own; it only sees our pages.
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def link(stack: Stack) -> str:
    """An address that signs in once."""
    found = commands.status(load({"TRAINYARD_DATA_DIR": str(stack.data_dir)}))
    assert found.ready is not None
    return commands.console_link(found.ready)


@pytest.fixture
def page(chromium: Browser, stack: Stack, link: str) -> Iterator[Page]:
    """A signed-in page; at its end it must have logged no error and asked no other address."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(3 * _PATIENCE_MS)
    opened = context.new_page()
    complaints = _COMPLAINTS.setdefault(opened, [])
    elsewhere: list[str] = []
    home = urlsplit(link).netloc

    def heard(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            complaints.append(message.text)

    def asked(request: Request) -> None:
        if urlsplit(request.url).netloc != home:
            elsewhere.append(request.url)

    opened.on("console", heard)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("request", asked)
    opened.goto(link)
    yield opened
    context.close()
    del _COMPLAINTS[opened]
    assert complaints == []
    assert elsewhere == []


@contextmanager
def refused(page: Page, status: int) -> Iterator[None]:
    """The page that is gone to here is answered with ``status``: Chromium says so once, which is no fault of a page."""

    def is_page(response: Response) -> bool:
        return response.request.is_navigation_request() and response.request.frame == page.main_frame

    said = f"Failed to load resource: the server responded with a status of {status} "
    with page.expect_console_message(lambda message: message.text.startswith(said)) as message, \
            page.expect_response(is_page) as answer:  # fmt: skip
        yield
    assert answer.value.status == status
    _COMPLAINTS[page].remove(message.value.text)


def shoot(page: Page, name: str) -> None:
    """Keep a picture of the page."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(
        path=SCREENSHOTS / f"{re.sub('[^a-z0-9]+', '-', name.lower()).strip('-') or 'home'}.png", full_page=True
    )


def violations(page: Page) -> list[str]:
    """Return what axe finds wrong with the page, by the rules of WCAG 2.2 A and AA and its best practices."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    found = page.evaluate("tags => axe.run(document, {runOnly: tags})", tags)
    return [f"{one['id']}: {node['html'][:200]}" for one in found["violations"] for node in one["nodes"]]
