"""Chaos runs its scenarios side by side: all that were collected are started at once, and the tests wait for theirs."""

from __future__ import annotations

import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from ground import Ground, end_on_signals, interrupted
from report import Report

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Cells in flight on two cores: mostly they wait for a lease to run out.
_CELLS = 6
_REPORT = pytest.StashKey[Report]()


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marks."""
    end_on_signals()
    config.addinivalue_line("markers", "scenario(run, pool): started with the session; `run(ground, **parameters)`")

    config.stash[_REPORT] = Report()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the figures and keep them."""
    terminalreporter.section("chaos")
    for line in config.stash[_REPORT].write():
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def report(request: pytest.FixtureRequest) -> Report:
    """The figures of this session."""
    return request.config.stash[_REPORT]


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """The session's Postgres, emulator and nursery."""
    with Ground(tmp_path_factory.mktemp("chaos")) as made:
        yield made


@pytest.fixture(scope="session")
def scenarios(request: pytest.FixtureRequest, ground: Ground, report: Report) -> Iterator[dict[str, Future[Any]]]:
    """Every collected scenario, under way: those of the pool "cells" a few at a time, the others each in a thread."""
    cells, others = ThreadPoolExecutor(_CELLS), ThreadPoolExecutor(64)
    futures: dict[str, Future[Any]] = {}
    for item in request.session.items:
        mark = item.get_closest_marker("scenario")
        if mark is not None:
            pool = cells if mark.kwargs.get("pool") == "cells" else others
            parameters = item.callspec.params if hasattr(item, "callspec") else {}
            futures[item.nodeid] = pool.submit(mark.kwargs["run"], ground, **parameters)
    yield futures
    report.take(futures)
    interrupted.set()  # a test that was awaited is over: whoever waits still, waits for nobody
    for pool in (cells, others):
        pool.shutdown(cancel_futures=True)


@pytest.fixture
def outcome(request: pytest.FixtureRequest, scenarios: dict[str, Future[Any]]) -> Any:
    """A call that waits for this test's scenario and returns, or raises, what it did."""
    return scenarios[request.node.nodeid].result
