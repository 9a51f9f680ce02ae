"""The console in a real browser against a running stack: a newcomer's road, and every page's fitness for everybody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from .conftest import refused, shoot, violations
from .steps import TRAINED_MS, look, submit, table, upload

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page, Route

PAGES = [
    "/",
    "/datasets",
    "/datasets/new",
    "/datasets/shop",
    "/datasets/shop/delete",
    "/datasets/shop/sources/new",
    "/datasets/shop/sources/new?kind=url",
    "/models",
    "/models/new",
    "/models/buys",
    "/models/buys/delete",
    "/models/buys/policy",
    "/models/buys/decisions",
    "/models/buys/history",
    "/models/buys/versions/1",
    "/models/buys/versions/2/promote",
    "/models/buys/compare?a=1&b=2",
    "/runs",
    "/try",
    "/try/buys",
    "/quality",
    "/quality/buys",
    "/quality/buys?hours=720",
    "/quality/buys/predictions",
    "/operations",
    "/operations/fleet",
    "/operations/deployments",
    "/operations/queues/training",
    "/operations/queues/training?look=1",
    "/operations/keys",
    "/operations/audit",
    "/operations/doctor",
    "/operations/doctor?look=1",
]
#: What is not there, and the links that lead on from there.
GONE = [
    ("/nothing", ["Home"]),
    ("/datasets/gone", ["Datasets", "Home"]),
    ("/datasets/shop/batches/gone", ["Datasets", "Home"]),
    ("/models/gone", ["Models", "Home"]),
    ("/models/buys/versions/77", ["Models", "Home"]),
    ("/models/buys/versions/77/promote", ["Models", "Home"]),
    ("/models/buys/compare?a=1&b=77", ["Models", "Home"]),
    ("/runs/gone", ["Runs", "Home"]),
    ("/try/gone", ["Try it", "Home"]),
    ("/quality/gone", ["Quality", "Home"]),
]


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A table that can be learnt from, and one that lacks what it would be learnt from."""
    folder = tmp_path_factory.mktemp("tables")
    good, worse = folder / "shop.csv", folder / "worse.csv"
    good.write_text(table(1200, 0, 1, known=True), encoding="utf-8")
    worse.write_text(table(1200, 1200, 2, known=False), encoding="utf-8")
    return good, worse


@pytest.mark.timeout(600)  # two trainings, on a machine that may be busy
def test_a_newcomers_road(page: Page, files: tuple[Path, Path]) -> None:
    """From a file never seen before to a served model, a refused challenger and back: all by links and buttons."""
    good, worse = files
    page.get_by_role("link", name="Make a dataset").click()
    page.fill("#name", "shop")
    page.set_input_files("#file", good)
    submit(page, "Read the columns")
    page.get_by_label("Role of id").select_option("key")
    page.get_by_label("Role of bought").select_option("label")
    submit(page, "Make the dataset shop")
    expect(page.get_by_text("No rows yet.")).to_be_visible()

    upload(page, good)
    page.get_by_role("link", name="shop").click()
    page.get_by_role("link", name="New model on it").click()
    page.fill("#name", "buys")
    expect(page.locator("#label")).to_have_value("bought")
    page.fill("#rows", "1000")
    page.fill("#budget", "3s")
    submit(page, "Make the model")

    # It trains by itself: the page shows version 1 without being loaded again.
    expect(page.get_by_role("link", name="1", exact=True).first).to_be_visible(timeout=TRAINED_MS)
    page.get_by_role("link", name="1", exact=True).first.click()
    expect(page.get_by_role("heading", name="Gate: passed")).to_be_visible()
    expect(page.get_by_text("promoted").first).to_be_visible()
    page.get_by_role("link", name="this run").click()
    expect(page.get_by_role("list", name="Lines")).to_contain_text("version.published version=1 promoted=True")

    page.get_by_role("navigation", name="Main").get_by_role("link", name="Try it").click()
    page.get_by_role("link", name="buys").click()
    page.get_by_label("age").fill("75")
    submit(page, "Predict")
    expect(page.get_by_role("heading", name="Version 1 says true")).to_be_visible(timeout=20_000)
    expect(page.get_by_role("img", name="What each column adds to the score")).to_be_visible()

    # A moment later it is in the log; the page that it is on waits for it by itself.
    page.get_by_role("link", name="the log", exact=True).click()
    expect(page.get_by_role("row", name="age 75", exact=True)).to_be_visible(timeout=20_000)
    expect(page.get_by_role("definition").filter(has_text="version 1")).to_be_visible()
    page.get_by_role("link", name="Predictions", exact=True).click()
    expect(page.get_by_role("row").filter(has_text="age 75")).to_contain_text("true")

    upload(page, worse)
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Models").click()
    page.get_by_role("link", name="buys").click()
    version = page.get_by_role("row").filter(has=page.get_by_role("link", name="2", exact=True))
    expect(version).to_contain_text("refused", timeout=TRAINED_MS)

    page.get_by_role("link", name="2", exact=True).click()
    page.get_by_role("link", name="Make it the champion").click()
    expect(page.get_by_text("So far version 1 answers")).to_be_visible()
    page.get_by_label("Reason").fill("to see what happens")
    submit(page, "Make it the champion")
    expect(page.get_by_role("status")).to_contain_text("The alias moved")
    page.get_by_role("link", name="2", exact=True).first.click()
    page.get_by_role("link", name="Roll back").click()
    submit(page, "Roll back")
    expect(page.get_by_role("status")).to_contain_text("The champion moved back")
    look(page, "/models/buys/history")
    expect(page.get_by_role("cell", name="to see what happens", exact=True)).to_be_visible()


@pytest.mark.parametrize("path", PAGES)
def test_pages_are_for_everybody(page: Page, path: str) -> None:
    """Nothing that axe objects to, light and dark; no sideways scrolling at 360 px. Needs what the road has made."""
    origin = urlsplit(page.url)._replace(path="", query="").geturl()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        answer = page.goto(origin + path)
        assert answer is not None
        assert answer.status == 200
        assert violations(page) == []
        shoot(page, f"{path} {scheme}")
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    shoot(page, f"{path} narrow")


@pytest.mark.parametrize(("path", "ways"), GONE)
def test_what_is_not_there_says_where_to_go_on(page: Page, path: str, ways: list[str]) -> None:
    """A page in the frame like every other one, with the links that lead on."""
    with refused(page, 404):
        look(page, path)
    expect(page.get_by_role("heading", level=1, name="Not found")).to_be_visible()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        assert violations(page) == []
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    shoot(page, f"not found {path}")
    assert page.get_by_role("main").get_by_role("link").all_inner_texts() == ways
    page.get_by_role("main").get_by_role("link").first.click()
    expect(page.get_by_role("heading", level=1)).not_to_have_text("Not found")


def test_whoever_was_slower_is_told_and_asked_again(page: Page, stack: Any) -> None:
    """The champion moves while somebody reads what would happen: nothing is done, and the page says how it is now."""
    aliases = "/v1/models/buys/aliases/champion"
    look(page, "/models/buys/versions/2/promote")
    page.get_by_label("Reason").fill("looked at it before")
    stack.call("PUT", aliases, json={"version": 2, "reason": "somebody was faster"})
    with refused(page, 409):
        submit(page, "Make it the champion")
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.get_by_text("is the champion of buys already")).to_be_visible()
    expect(page.get_by_label("Reason")).to_have_value("looked at it before")
    assert violations(page) == []
    shoot(page, "conflict")
    page.get_by_role("link", name="Leave it").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("2")
    stack.call("PUT", aliases, json={"version": 1, "reason": "as it was"})


def test_home_follows_an_event_without_a_script_of_the_reader(page: Page, files: tuple[Path, Path]) -> None:
    """A batch that arrives changes the number of rows on an open page, and the page says when that was."""
    rows = page.locator("#station-1 .big")
    expect(rows).to_contain_text("2,400")
    other = page.context.new_page()
    other.goto(page.url)
    extra = files[0].with_name("extra.csv")
    extra.write_text(table(10, 2400, 3, known=True), encoding="utf-8")
    upload(other, extra)
    expect(rows).to_contain_text("2,410", timeout=10_000)


def test_streams_that_end_are_no_error(page: Page) -> None:
    """More pages one after another than the console has places, and a stream that ends: no page complains."""
    for _ in range(25):
        with page.expect_request("**/live"):
            page.reload()
    streams = 0

    def ends(route: Route) -> None:
        nonlocal streams
        streams += 1
        route.fulfill(content_type="text/event-stream", body="retry: 50\n\n")

    page.route("**/live", ends)
    page.reload()
    page.wait_for_timeout(500)
    assert streams > 1


def test_pages_can_be_read_without_scripts(page: Page) -> None:
    """The same session in a browser without JavaScript: every page has its content."""
    browser = page.context.browser
    assert browser is not None
    context = browser.new_context(java_script_enabled=False, storage_state=page.context.storage_state())
    plain = context.new_page()
    origin = urlsplit(page.url)._replace(path="", query="").geturl()
    for path in PAGES:
        plain.goto(origin + path)
        expect(plain.get_by_role("heading", level=1)).to_be_visible()
    context.close()


def test_the_keyboard_reaches_everything(page: Page) -> None:
    """The first stop leads over the navigation to the content; the stations of the loop are links in their order."""
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")
