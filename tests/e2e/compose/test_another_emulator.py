"""The profile `ministack`: the same services on another emulator of AWS, which keeps objects and forgets queues."""

from __future__ import annotations

import pytest
from containers import containers
from roads import emulator_dies, whole_loop

pytestmark = pytest.mark.timeout(900)

ROWS = [{"age": 70, "income": 5000.0, "city": "Bern"}]


@pytest.fixture(scope="module")
def stack(engine, tmp_path_factory):
    """A stack on ministack, in the place of the one that the other modules share."""
    with containers(engine, tmp_path_factory.mktemp("ministack"), emulator="ministack") as running:
        yield running


def test_the_whole_loop(stack, shoppers):
    """From rows to feedback, as on LocalStack."""
    whole_loop(stack, shoppers)


def test_the_emulator_dies_with_open_requests(stack, shoppers):
    """Its queues and instances are gone: made again, the requests sent again, each ends once."""
    emulator_dies(stack, shoppers, "ministack")


def test_the_stack_goes_down_in_order_and_comes_up_again(stack):
    """`docker compose down` leaves the volumes: the champion answers from the emulator's own objects."""
    before = stack.answers("buys", ROWS)
    assert before is not None
    stack.run("down")
    stack.start()
    after = stack.wait_until(lambda: stack.answers("buys", ROWS), seconds=30, what="an answer after the restart")
    assert after == before
    stack.recovered(seconds=240)
