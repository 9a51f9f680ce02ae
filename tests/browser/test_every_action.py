"""Every action that pages offer, pressed in a real browser; what it did is then seen on a page."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from .conftest import refused, shoot, violations
from .steps import TRAINED_MS, look, submit, table, upload

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

COLUMNS = [
    {"name": "id", "type": "int", "role": "key", "nullable": False},
    {"name": "age", "type": "int", "role": "feature", "nullable": True},
    {"name": "income", "type": "float", "role": "feature", "nullable": True},
    {"name": "city", "type": "category", "role": "feature", "nullable": True},
    {"name": "bought", "type": "bool", "role": "label", "nullable": False},
]
QUICK = {"min_new_rows": 1_000, "budget_seconds": 60, "budget_trials": 2, "kinds": ["linear"], "gate": {"min_rows": 50}}
WAITS = {**QUICK, "promotion": "approve"}


@pytest.fixture(scope="session")
def orders(stack: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with rows, and a file that has more for it."""
    stack.call("PUT", "/v1/datasets/orders", json={"columns": COLUMNS})
    headers = {"Content-Type": "text/csv"}
    stack.call("POST", "/v1/datasets/orders/rows", data=table(1_200, 0, 5, known=True), headers=headers)
    more: Path = tmp_path_factory.mktemp("more") / "more.csv"
    more.write_text(table(1_200, 2_000, 6, known=True), encoding="utf-8")
    return more


def make_model(stack: Any, name: str, policy: dict[str, Any]) -> None:
    """Have a model that learns from the orders."""
    stack.call("PUT", f"/v1/models/{name}", json={"dataset": "orders", "label": "bought", "policy": policy})


def wait_for_version(page: Page, model: str, number: int) -> None:
    """Stay on the model's page until it shows the version."""
    look(page, f"/models/{model}")
    expect(page.locator(f"#version-{number}")).to_be_visible(timeout=TRAINED_MS)


def check(page: Page, name: str) -> None:
    """A page that only a test's own steps lead to is for everybody, too."""
    assert violations(page) == []
    shoot(page, name)


def test_out_and_in_again_with_a_key(page: Page, stack: Any) -> None:
    """Signing out ends the session; a key, typed in, begins another one where one was going."""
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("status")).to_contain_text("You are signed out")
    look(page, "/operations/keys")
    page.get_by_label("API key").fill(stack.session.headers["Authorization"].removeprefix("Bearer "))
    check(page, "sign-in")
    submit(page, "Sign in")
    expect(page.get_by_role("heading", name="API keys")).to_be_visible()


def test_a_file_is_dropped_on_the_page(page: Page, orders: Path) -> None:
    """It is sent at once; its batch names each value that was refused, with what was expected."""
    look(page, "/datasets/orders")
    content = table(20, 9_000, 7, known=True).replace("9003,", "9003,old", 1)
    page.evaluate(
        """content => {
            const data = new DataTransfer();
            data.items.add(new File([content], "dropped.csv", {type: "text/csv"}));
            document.querySelector("#upload").dispatchEvent(
                new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true}));
        }""",
        content,
    )
    page.wait_for_url("**/batches/**")
    row = page.get_by_role("table", name="Rejected rows").get_by_role("row").nth(1)
    expect(row).to_contain_text("age")
    expect(row).to_contain_text("old")
    check(page, "batch with rejects")


def test_what_a_dataset_looks_like(page: Page, orders: Path) -> None:
    """Once its batches are looked through: histograms of columns, rejected rows and missing values over the batches."""
    upload(page, orders, "orders")
    look(page, "/datasets/orders")
    expect(page.get_by_role("img", name="Quality of batches")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("rejected of the newest batch")).to_be_visible()
    page.reload()
    expect(page.get_by_role("img", name="Histogram of income")).to_be_visible()
    expect(page.get_by_role("img", name="Most frequent levels of city")).to_be_visible()


def test_a_source_is_added_pulled_and_removed(page: Page, stack: Any, orders: Path) -> None:
    """A table elsewhere: what is wrong is told at its field; its rows come when asked for; removing asks twice."""
    with closing(sqlite3.connect(stack.data_dir.parent / "sources" / "shop.db")) as shop, shop:
        shop.execute("CREATE TABLE sold (id integer PRIMARY KEY, age integer, income real, city text, bought boolean)")
        shop.executemany("INSERT INTO sold VALUES (?, 40, 5000, 'Bern', 1)", [(20_000 + i,) for i in range(30)])
    look(page, "/datasets/orders")
    page.get_by_role("link", name="Add a source").click()
    page.get_by_role("link", name="A file behind a URL").click()
    expect(page.get_by_label("Address")).to_be_visible()
    check(page, "a new source, a file")
    page.get_by_role("link", name="A table of a database").click()
    page.get_by_label("Name", exact=True).fill("elsewhere")
    page.get_by_label("Database").fill("sqlite:///shop.db")
    page.get_by_label("Table or view").fill("sold")
    page.get_by_label("Column that only grows").fill("id")
    page.get_by_label("Stay behind now by").fill("two days")
    with refused(page, 422):
        submit(page, "Add the source")
        expect(page.get_by_label("Stay behind now by")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("Database")).to_have_value("sqlite:///shop.db")
    check(page, "a new source, refused")
    page.get_by_label("Stay behind now by").fill("")
    submit(page, "Add the source")
    expect(page.get_by_role("status").first).to_contain_text("The source is added")
    row = page.get_by_role("table", name="Sources").get_by_role("row").filter(has_text="elsewhere")
    row.get_by_role("button", name="Pull now").click()
    expect(page.get_by_role("status").first).to_contain_text("The source is being pulled")
    expect(row.get_by_role("cell", name="30", exact=True)).to_be_visible(timeout=60_000)
    check(page, "dataset with a source")
    row.get_by_role("link", name="Delete").click()
    expect(page.get_by_text("The rows that came from it stay in orders.")).to_be_visible()
    check(page, "source delete")
    submit(page, "Delete the source elsewhere")
    expect(page.get_by_role("status").first).to_contain_text("It is gone")
    expect(page.get_by_text("Nothing is pulled into this dataset.")).to_be_visible()
    look(page, "/operations/audit")
    for action in ("source.create", "source.delete"):
        expect(page.get_by_role("row").filter(has_text=action).filter(has_text="elsewhere")).to_have_count(1)


def test_a_policy_is_changed_by_form_and_as_text(page: Page, stack: Any, orders: Path) -> None:
    """Both are views of the same policy: what one saves the other shows."""
    make_model(stack, "ruled", {**QUICK, "min_new_rows": 1_000_000})
    look(page, "/models/ruled")
    page.get_by_role("link", name="Change the policy").click()
    page.get_by_label("After new rows").fill("777777")
    submit(page, "Save the policy")
    expect(page.get_by_role("status")).to_contain_text("The policy is saved")
    page.get_by_text("The whole policy as text").click()
    text = page.get_by_label("JSON, as")
    assert '"min_new_rows": 777777' in text.input_value()
    text.fill(text.input_value().replace("777777", "888888"))
    submit(page, "Save this text")
    expect(page.get_by_role("status")).to_contain_text("The policy is saved")
    expect(page.get_by_label("After new rows")).to_have_value("888888")


@pytest.mark.timeout(600)
def test_a_training_is_asked_for_watched_and_stopped(page: Page, stack: Any, orders: Path) -> None:
    """Asked for on the model's page; the run says what it does, and ends when it is told to."""
    make_model(stack, "slow", {"min_new_rows": 1_000_000, "budget_seconds": 600, "gate": {"min_rows": 50}})
    look(page, "/models/slow")
    submit(page, "Train now")
    expect(page.get_by_role("status")).to_contain_text("Training was asked for")
    page.get_by_role("link", name="Runs of this model").click()
    page.get_by_role("table", name="Runs").get_by_role("link").first.click(timeout=60_000)
    expect(page.get_by_role("table", name="Trials, the best first")).to_be_visible(timeout=TRAINED_MS)
    expect(page.get_by_role("list", name="Lines")).to_contain_text("run.started")
    check(page, "run under way")
    submit(page, "Cancel")
    expect(page.get_by_role("status").first).to_contain_text("The run was asked to stop")
    expect(page.locator("#live .head .pill").first).to_have_text("cancelled", timeout=60_000)
    look(page, f"{page.url[page.url.index('/runs/') :].partition('?')[0]}/logs")
    expect(page.get_by_role("list", name="Lines")).to_contain_text("run.started")
    check(page, "run logs")


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("model", "button"), [("weighed", "Approve it"), ("unwanted", "Reject it")])
def test_a_version_waits_for_a_person(page: Page, stack: Any, orders: Path, model: str, button: str) -> None:
    """Home says that somebody has to decide, and leads there; the decision is on record, and holds."""
    make_model(stack, model, WAITS)
    wait_for_version(page, model, 1)
    look(page, "/")
    page.get_by_role("link", name=f"version 1 of {model} waits for a decision").click()
    page.get_by_role("link", name=button).click()
    page.get_by_label("Reason").fill("looked at it")
    check(page, button)
    submit(page, button)
    expect(page.get_by_role("status")).to_contain_text("Your decision is on record")
    look(page, f"/models/{model}")
    champion = page.get_by_role("table", name="Aliases").get_by_text("champion")
    expect(champion).to_have_count(1 if button == "Approve it" else 0)


@pytest.mark.timeout(600)
def test_a_version_is_tried_on_a_share_and_made_again(page: Page, stack: Any, orders: Path) -> None:
    """Challenger and shadow take the share that was typed; the same rows give the same bytes."""
    make_model(stack, "wants", QUICK)
    wait_for_version(page, "wants", 1)
    look(page, "/models/wants")
    submit(page, "Train now")
    wait_for_version(page, "wants", 2)
    served = stack.call("GET", "/v1/models/wants/aliases/champion")["version"]
    other = 3 - served
    for button, alias, said in (
        ("Let it answer a share", "challenger", "answers 20 % of the requests"),
        ("Let it score in the shadow", "shadow", "scores 20 % of what the champion answers"),
    ):
        look(page, f"/models/wants/versions/{other}")
        page.get_by_role("link", name=button).click()
        page.get_by_label("Share of the requests").fill("20")
        check(page, alias)
        submit(page, button)
        expect(page.get_by_role("status")).to_contain_text("The alias moved")
        expect(page.get_by_role("row").filter(has_text=said)).to_contain_text(alias)
    look(page, f"/models/wants/versions/{served}")
    page.get_by_role("link", name="Make it again").click()
    submit(page, "Make it again")
    expect(page.get_by_role("status")).to_contain_text("Training was asked for")
    look(page, "/runs?model=wants")
    expect(page.get_by_text(f"version {served} again: identical")).to_be_visible(timeout=TRAINED_MS)
    look(page, f"/models/wants/versions/{served}")
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("heading", name=f"Versions {served} and")).to_be_visible()


def test_traffic_and_what_was_true(page: Page, stack: Any, orders: Path) -> None:
    """Predictions are counted with their latency; labels that come back stand beside them, right or wrong."""
    rows = [{"age": 20 + i, "income": 5_000.0, "city": "Bern"} for i in range(50)]
    answered = stack.call("POST", "/v1/predict/weighed", json={"rows": rows})["rows"]
    labels = [{"prediction_id": one["prediction_id"], "label": not one["prediction"]} for one in answered[:1]]
    labels += [{"prediction_id": one["prediction_id"], "label": one["prediction"]} for one in answered[1:20]]
    stack.call("POST", "/v1/feedback", json={"items": labels})
    look(page, "/quality")
    page.get_by_role("link", name="weighed").click()
    expect(page.get_by_role("img", name="Predictions by the hour")).to_be_visible(timeout=30_000)
    expect(page.get_by_text("50 predictions; half within")).to_be_visible()
    expect(page.get_by_role("table", name="Open windows")).to_contain_text("20")
    check(page, "quality with traffic")
    page.get_by_role("link", name="7 days").click()
    expect(page.get_by_role("img", name="Predictions by the day")).to_be_visible()
    page.get_by_role("link", name="Prediction log").click()
    page.get_by_role("link", name="Next page").click()
    expect(page.get_by_text("wrong", exact=True)).to_have_count(1)
    check(page, "prediction log")
    page.get_by_role("row").filter(has_text="wrong").get_by_role("link").click()
    expect(page.get_by_role("row", name="city Bern")).to_be_visible()
    check(page, "prediction")


def test_who_served_when_and_who_changed_it(page: Page, orders: Path) -> None:
    """Deployments of all models, and the audit log with whoever decided."""
    look(page, "/operations")
    page.get_by_role("link", name="Deployments").click()
    expect(page.get_by_role("row").filter(has_text="weighed").filter(has_text="champion")).to_have_count(1)
    look(page, "/operations")
    page.get_by_role("link", name="Audit log").click()
    expect(page.get_by_role("row").filter(has_text="weighed").first).to_be_visible()


def test_keys_are_made_shown_once_and_revoked(page: Page, stack: Any) -> None:
    """A viewer with the new key sees everything and is offered nothing; revoked, it opens nothing."""
    look(page, "/operations/keys")
    page.get_by_label("Name").fill("guest")
    page.get_by_label("read", exact=True).check()
    submit(page, "Make the key")
    key = page.locator("pre code").inner_text()
    check(page, "a new key")
    browser = page.context.browser
    assert browser is not None
    context = browser.new_context()
    guest = context.new_page()
    guest.goto(page.url)
    guest.get_by_label("API key").fill(key)
    submit(guest, "Sign in")
    expect(guest.get_by_text("guest · viewer")).to_be_visible()
    look(guest, "/models")
    expect(guest.get_by_role("link", name="New model")).to_have_count(0)
    look(guest, "/operations/keys")
    expect(guest.get_by_role("heading", name="Not allowed")).to_be_visible()
    expect(guest.get_by_role("alert")).to_contain_text("does not carry the scope 'admin'")
    check(guest, "not allowed")
    guest.get_by_role("main").get_by_role("link", name="Home").click()
    # which renews itself, and then leads to the door

    look(page, "/operations/keys")
    page.get_by_role("row").filter(has_text="guest").get_by_role("button", name="Revoke").click()
    expect(page.get_by_role("status")).to_contain_text("The key is revoked")
    expect(guest.get_by_label("API key")).to_be_visible(timeout=30_000)
    context.close()


def test_dead_letters_are_looked_at_and_sent_back(page: Page, stack: Any) -> None:
    """What nobody could read is shown with the reason, and goes back to its queue."""
    sqs = stack.outside("sqs")
    (url,) = [one for one in sqs.list_queues()["QueueUrls"] if one.endswith("arrived-dlq")]
    sqs.send_message(QueueUrl=url, MessageBody="no message of ours")
    look(page, "/operations")
    page.get_by_role("link", name="1 in arrived").click(timeout=30_000)
    expect(page.get_by_role("table", name="Dead letters")).to_contain_text("no message of ours")
    check(page, "dead letters")
    submit(page, "Send all back to the queue")
    expect(page.get_by_role("status").first).to_contain_text("on their way back")


def test_the_doctor_answers_by_itself(page: Page, orders: Path) -> None:
    """The page is there before its answer, which comes without a click."""
    look(page, "/operations/doctor")
    expect(page.get_by_role("list").filter(has_text="I1")).to_be_visible(timeout=60_000)
    check(page, "doctor with its answer")


def test_what_is_deleted_is_asked_for_twice(page: Page, stack: Any, orders: Path) -> None:
    """A model with its aliases, then the dataset that nobody reads any more."""
    for model in ("ruled", "slow", "weighed", "unwanted", "wants"):
        look(page, f"/models/{model}")
        page.get_by_role("link", name="Delete", exact=True).click()
        expect(page.get_by_text("stay on record")).to_be_visible()
        submit(page, f"Delete the model {model}")
        expect(page.get_by_role("status")).to_contain_text("It is gone")
        expect(page.get_by_role("link", name=model, exact=True)).to_have_count(0)
    look(page, "/datasets/orders")
    page.get_by_role("link", name="Delete", exact=True).click()
    submit(page, "Delete the dataset orders")
    expect(page.get_by_role("status")).to_contain_text("It is gone")
    expect(page.get_by_role("link", name="orders", exact=True)).to_have_count(0)
