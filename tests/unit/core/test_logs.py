"""Log lines are JSON, carry the bound fields and cannot be forged."""

import io
import json
import logging

import pytest

from trainyard import logs


@pytest.fixture
def lines():
    """Everything logged in the test, as parsed lines."""
    stream = io.StringIO()
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    logs.configure("test", stream=stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:], root.level = before, level


def test_a_line_carries_action_fields_and_what_is_bound(lines):
    """Ids bound around a unit of work are on each of its lines, and gone afterwards."""
    log = logs.get("x")
    with logs.bound(request="r1"):
        log.info("run.started", rows=3)
    log.info("run.idle")
    first, second = lines()
    assert (first["action"], first["request"], first["rows"], first["service"]) == ("run.started", "r1", 3, "test")
    assert "request" not in second


def test_values_cannot_break_the_line_or_flood_the_log(lines):
    """Control characters become spaces, long values are cut."""
    logs.get("x").info("data.seen", value="a\nb\x1b[31m" + "z" * 1000)
    (line,) = lines()
    assert "\n" not in line["value"]
    assert "\x1b" not in line["value"]
    assert len(line["value"]) == 257


def test_a_failure_brings_its_traceback(lines):
    """error= puts the traceback into the line."""
    try:
        raise ValueError("why")
    except ValueError as e:
        logs.get("x").error("job.failed", error=e)
    assert "ValueError: why" in lines()[0]["traceback"]
