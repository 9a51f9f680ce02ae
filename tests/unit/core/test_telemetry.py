"""The numbers of a service: declared, added up over its processes, bounded, and readable to Prometheus."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from trainyard.clock import ManualClock
from trainyard.errors import TransientError
from trainyard.telemetry.numbers import MOST_SERIES, Metrics
from trainyard.telemetry.readings import SECONDS, Reading, Readings

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from trainyard.telemetry.numbers import Sample

_WORKER = """
import pathlib, sys
from trainyard.telemetry.numbers import Metrics
metrics = Metrics("predictor", pathlib.Path(sys.argv[1]))
metrics.count("trainyard_predictions_total", 3, model="late", version="2")
metrics.observe_request("POST", "/v1/predict/{target}", 200, 0.003)
metrics.save()
"""


def scraped(metrics: Metrics, samples: Iterable[Sample] = ()) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return what Prometheus reads, by name and labels."""
    families = text_string_to_metric_families(metrics.render(samples).decode())
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def labelled(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


def test_the_workers_of_one_master_are_one_service(tmp_path: Path) -> None:
    """Whoever is scraped adds up what its siblings saved, those that ended included."""
    for _ in range(2):
        subprocess.run([sys.executable, "-c", _WORKER, str(tmp_path)], check=True, timeout=60)
    # The two were children of this process, and so is not the one that is asked: it is put in their place.
    (theirs,) = tmp_path.iterdir()
    metrics = Metrics("predictor", tmp_path)
    metrics._file = theirs / "asked.msgpack"
    metrics.count("trainyard_predictions_total", 1, model="late", version="2")
    metrics.observe_request("POST", "/v1/predict/{target}", 200, 7.0)
    found = scraped(metrics)
    assert found[labelled("trainyard_predictions_total", model="late", version="2")] == 7
    times = {"service": "predictor", "route": "/v1/predict/{target}"}
    name = "trainyard_http_request_seconds"
    assert found[labelled(f"{name}_bucket", **times, le="0.0025")] == 0
    assert found[labelled(f"{name}_bucket", **times, le="0.005")] == 2
    assert found[labelled(f"{name}_bucket", **times, le="+Inf")] == found[labelled(f"{name}_count", **times)] == 3
    assert found[labelled(f"{name}_sum", **times)] == pytest.approx(7.006)


def test_the_numbers_of_a_master_that_has_gone_are_forgotten(tmp_path: Path) -> None:
    """Its number may have gone to another process: the moment of the start tells them apart."""
    for name in ("4194999-1", f"{os.getpid()}-0", "notes"):
        (tmp_path / name).mkdir()
    Metrics("ingest", tmp_path)
    assert [child.name for child in tmp_path.iterdir()] == ["notes"]


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("trainyard_invented_total", {}),
        ("trainyard_predictions_total", {"model": "late"}),
        ("trainyard_predictions_total", {"version": "1", "model": "late"}),
        ("trainyard_model_version", {"model": "late", "alias": "champion"}),
        ("trainyard_ingest_rows_total", {"source": "http"}),
    ],
)
def test_what_is_not_declared_cannot_be_counted(name: str, labels: dict[str, str]) -> None:
    """No other name, labels, kind or service than the catalogue's."""
    with pytest.raises(ValueError, match="not in the catalogue"):
        Metrics("predictor").count(name, **labels)


def test_nor_can_it_be_shown() -> None:
    """A number that is given at the scrape is held against the catalogue as well."""
    with pytest.raises(ValueError, match="not in the catalogue"):
        Metrics("scheduler").render([("trainyard_runs_running", {"state": "x"}, 1)])


def test_what_is_read_at_the_scrape_stands_once_or_not_at_all() -> None:
    """A counter whose truth is in the database starts at no zero of ours: a second number, or a false one."""
    metrics, name = Metrics("scheduler"), b"\ntrainyard_lease_losses_total "
    assert metrics.render([("trainyard_lease_losses_total", {}, 3)]).count(name) == 1
    assert metrics.render().count(name) == 0


def test_names_that_callers_choose_are_bounded() -> None:
    """Beyond the limit a model and version are "other"; those that were there before go on under their own names."""
    metrics = Metrics("predictor")
    for number in range(MOST_SERIES + 5):
        metrics.count("trainyard_predictions_total", model="late", version=str(number))
    metrics.count("trainyard_predictions_total", model="late", version="3")
    found = {key: value for key, value in scraped(metrics).items() if key[0] == "trainyard_predictions_total"}
    assert len(found) == MOST_SERIES + 1
    assert found[labelled("trainyard_predictions_total", model="other", version="other")] == 5
    assert found[labelled("trainyard_predictions_total", model="late", version="3")] == 2


def test_names_from_outside_are_escaped() -> None:
    """Quotes, backslashes and line ends in a label come back as they were."""
    metrics, odd = Metrics("predictor"), 'a"b\\c\nd'
    metrics.count("trainyard_predictions_total", model=odd, version="1")
    assert scraped(metrics)[labelled("trainyard_predictions_total", model=odd, version="1")] == 1


def test_a_directory_that_cannot_be_written_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The worker goes on and speaks for itself."""
    (tmp_path / "file").write_text("")
    metrics = Metrics("ingest", tmp_path / "file" / "metrics")
    metrics.observe_request("GET", "/", 200, 0.1)
    for _ in range(3):
        metrics.save()
    assert caplog.messages == ["metrics.not_shared"]
    assert labelled("trainyard_http_request_seconds_count", service="ingest", route="/") in scraped(metrics)


class Source:
    """Answers with how often it was asked, while it is there."""

    def __init__(self) -> None:
        self.asked = 0
        self.away = False

    def read(self) -> list[Sample]:
        self.asked += 1
        if self.away:
            raise TransientError("away")
        return [("trainyard_runs_running", {}, self.asked)]


def test_what_stands_elsewhere_is_asked_at_most_every_five_seconds() -> None:
    """However often somebody scrapes."""
    clock, source = ManualClock(), Source()
    readings = Readings([Reading("database", source.read)], clock)
    seen = []
    for seconds in (0, SECONDS - 1, 1):
        clock.advance(seconds)
        seen.append(readings())
    assert (source.asked, seen[0], seen[1]) == (2, seen[1], seen[0])
    assert ("trainyard_runs_running", {}, 2) in seen[2]


def test_a_source_that_does_not_answer_leaves_the_others(caplog: pytest.LogCaptureFixture) -> None:
    """Its numbers are missing, which no reader takes for zero, and a number of its own says so."""
    there, away = Source(), Source()
    away.away = True
    readings = Readings([Reading("database", there.read), Reading("queues", away.read)], ManualClock())
    found = scraped(Metrics("scheduler"), readings())
    assert found[labelled("trainyard_source_up", source="database")] == 1
    assert found[labelled("trainyard_source_up", source="queues")] == 0
    assert found[labelled("trainyard_runs_running")] == 1
    assert caplog.messages == ["metrics.unknown"]
