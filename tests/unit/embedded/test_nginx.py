"""The containers' router has the routes of the table: its maps are read here as nginx reads them."""

from __future__ import annotations

import re
from importlib.resources import files
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainyard_embedded.router.nginx import render
from trainyard_embedded.router.routes import Routes, parse

SHIPPED = parse(files("trainyard_embedded.router").joinpath("routes.toml").read_text(encoding="utf-8"))
PLACEHOLDERS = parse(
    'default = "console"\nservices = ["ingest", "console"]\noperations = ["healthz"]\n'
    '[paths]\ningest = ["/v1/{model}/rows"]\nconsole = ["/v1/fixed/rows", "/v1"]\n'
)
SEGMENTS = sorted(
    {segment for pattern in SHIPPED.patterns for segment in pattern.segments} | {"x", "v1.", "..", ".", ""}
)


def _configuration(routes: Routes) -> str:
    return render(routes, {service: f"{service}:80" for service in routes.services})


def _map(configuration: str, variable: str) -> tuple[str, list[tuple[re.Pattern[str], str]]]:
    """Return the default of a map and its patterns, in order: the first that is found decides."""
    (text,) = re.findall(rf"map \S+ \${variable} {{\n(.*?)\n    }}", configuration, re.DOTALL)
    default, *lines = [line.strip().rstrip(";") for line in text.splitlines()]
    pairs = [re.fullmatch(r'"~(.*)" (\S+)', line) for line in lines]
    return default.removeprefix("default "), [(re.compile(pair[1]), pair[2]) for pair in pairs if pair is not None]


def _service(routes: Routes, path: str) -> str:
    configuration = _configuration(routes)
    default, dotted = _map(configuration, "service")
    assert default == "$by_path"
    for pattern, service in dotted:
        if pattern.search(path):
            return service
    default, patterns = _map(configuration, "by_path")
    return next((service for pattern, service in patterns if pattern.search(unquote(path))), default)


@given(st.lists(st.sampled_from(SEGMENTS), min_size=1, max_size=5))
def test_both_routers_send_a_path_to_the_same_service(segments: list[str]) -> None:
    """Whatever stands before, between and behind the listed segments."""
    path = "/" + "/".join(segments)
    assert _service(SHIPPED, path) == SHIPPED.target(path).service


@pytest.mark.parametrize("path", ["/v1/a/rows", "/v1/fixed/rows/7", "/v1/a", "/v1/a/b/rows", "/v1/%2e%2e/rows", "/"])
def test_a_placeholder_is_any_one_segment(path: str) -> None:
    """As in the embedded router, and the longer and the more literal pattern first."""
    assert _service(PLACEHOLDERS, path) == PLACEHOLDERS.target(path).service


def test_each_service_has_its_address_and_operations() -> None:
    """The services' own pages are behind their names, with regular expressions that match nothing more."""
    configuration = _configuration(SHIPPED)
    (operated,) = re.findall(r"location ~ (\^/-/\S+) {", configuration)
    pattern = re.compile(operated.replace("?<", "?P<"))
    for service in SHIPPED.services:
        assert f"{service} {service}:80;" in configuration
        for operation in SHIPPED.operations:
            assert pattern.match(f"/-/{service}/{operation}")
    assert not pattern.match("/-/postgres/healthz")
    assert not pattern.match("/-/ingest/openapixjson")
