"""From a path to a service: the shipped table, and the rules it is read by."""

from __future__ import annotations

from importlib.resources import files

import pytest

from trainyard_embedded.router.routes import RoutesError, Target, parse

SHIPPED = parse(files("trainyard_embedded.router").joinpath("routes.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("path", "service"),
    [
        ("/v1/datasets", "ingest"),
        ("/v1/datasets/flights/rows", "ingest"),
        ("/v1/datasets/flights/batches/7/rejects", "ingest"),
        ("/v1/batches/7", "ingest"),
        ("/v1/predictions/9f", "ingest"),
        ("/v1/feedback", "ingest"),
        ("/v1/models", "scheduler"),
        ("/v1/models/late/versions/3/report", "scheduler"),
        ("/v1/requests/5/cancel", "scheduler"),
        ("/v1/queues/dlq/redrive", "scheduler"),
        ("/v1/events", "scheduler"),
        ("/v1/predict/late", "predictor"),
        ("/v1/predict/late@champion", "predictor"),
        ("/v1/predict/late%403", "predictor"),
        ("/v1/batch-jobs/8", "predictor"),
        ("/v2", "predictor"),
        ("/v2/models/late/infer", "predictor"),
        ("/invocations", "predictor"),
        ("/v2/models/late/versions/champion/infer", "predictor"),
        ("/ping", "predictor"),
        ("/health", "predictor"),
        ("/version", "predictor"),
        ("/execution-parameters", "predictor"),
        ("/", "console"),
        ("/datasets/flights", "console"),
        ("/v1", "console"),
        ("/v1/modelsx", "console"),
        ("/pinger", "console"),
        ("/v1/datasets/../models", "console"),
        ("/v1/datasets/%2e%2e/models", "console"),
    ],
)
def test_each_path_goes_to_its_service_unchanged(path: str, service: str) -> None:
    """Listed paths go to the service of the table, unlisted ones to the console, all with the path as it came."""
    assert SHIPPED.target(path) == Target(service, path)


@pytest.mark.parametrize("service", ["ingest", "scheduler", "predictor", "console"])
@pytest.mark.parametrize("operation", ["healthz", "readyz", "metrics", "openapi.json"])
def test_operations_of_each_service_are_under_its_name(service: str, operation: str) -> None:
    """`/-/{service}/{operation}` asks the service for `/{operation}`."""
    assert SHIPPED.target(f"/-/{service}/{operation}") == Target(service, f"/{operation}")


@pytest.mark.parametrize("path", ["/-/trainer/healthz", "/-/ingest/v1/datasets", "/-/ingest", "/-/ingest/healthz/x"])
def test_nothing_else_is_reached_through_the_operations_prefix(path: str) -> None:
    """Unknown services, other paths and longer ones stay with the console."""
    assert SHIPPED.target(path) == Target("console", path)


def test_longer_patterns_win_and_literals_beat_placeholders() -> None:
    """`/a/{x}/b` beats `/a`, and `/a/fixed` beats `/a/{x}`, wherever they stand in the file."""
    routes = parse(
        'default = "c"\nservices = ["c", "one", "two", "three"]\noperations = []\n'
        '[paths]\none = ["/a"]\ntwo = ["/a/{x}", "/a/{x}/b"]\nthree = ["/a/fixed"]\n'
    )
    assert [routes.target(p).service for p in ("/a", "/a/1", "/a/1/b/c", "/a/fixed", "/a/fixed/b")] == [
        "one",
        "two",
        "two",
        "three",
        "two",
    ]


@pytest.mark.parametrize(
    ("paths", "complaint"),
    [
        ('two = ["/a"]', "not listed"),
        ('one = ["a"]', "must start with a slash"),
        ('one = ["/a/"]', "must start with a slash"),
        ('one = ["/a/{x}", "/a/{y}"]', "belongs to one already"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(paths: str, complaint: str) -> None:
    """Unknown services, malformed paths and two patterns of one shape each get a sentence."""
    with pytest.raises(RoutesError, match=complaint):
        parse(f'default = "c"\nservices = ["c", "one"]\noperations = []\n[paths]\n{paths}\n')
