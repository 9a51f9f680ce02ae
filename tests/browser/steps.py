"""What the browser's tests have in common: a table to learn from, pressing buttons, waiting for a training."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from playwright.sync_api import expect

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

TRAINED_MS = 120_000


def table(rows: int, first: int, seed: int, *, known: bool) -> str:
    """Return shoppers as CSV; whether they buy depends on their age, which is ``known`` or missing."""
    source = random.Random(seed)
    lines = ["id,age,income,city,bought"]
    for i in range(first, first + rows):
        age = source.randrange(18, 80)
        bought = age + source.gauss(0, 8) > 50
        told = age if known else ""
        city = source.choice(["Bern", "Genf"])
        lines.append(f"{i},{told},{source.gauss(5000, 900):.2f},{city},{str(bought).lower()}")
    return "\n".join(lines) + "\n"


def look(page: Page, path: str) -> None:
    """Go to another page of the console."""
    page.goto(urlsplit(page.url)._replace(path="", query="").geturl() + path)


def submit(page: Page, name: str) -> None:
    """Press a button of the page's own part."""
    page.get_by_role("main").get_by_role("button", name=name, exact=True).click()


def upload(page: Page, file: Path, dataset: str = "shop") -> None:
    """Send a file on the dataset's page."""
    look(page, f"/datasets/{dataset}")
    page.set_input_files("#file", file)
    submit(page, "Upload")
    page.wait_for_url("**/batches/**")
    expect(page.get_by_role("status")).to_contain_text("committed")
