"""What Prometheus is told to read and to alarm on is there: the rules name metrics and labels of the catalogue."""

from __future__ import annotations

import re
from pathlib import Path

from trainyard.telemetry.catalogue import HISTOGRAM, METRICS, SERVICES

ROOT = Path(__file__).parents[3]
RULES = (ROOT / "deploy/prometheus/rules.yml").read_text(encoding="utf-8")
PAGE = (ROOT / "docs/observing.md").read_text(encoding="utf-8")


def test_rules_read_only_what_services_show() -> None:
    """Each name in an expression is a metric, each label in braces one that it has."""
    labels = {m.name + ("_bucket" if m.kind == HISTOGRAM else ""): {*m.labels, "le"} for m in METRICS}
    found = re.findall(r"\b(trainyard_\w+)(?:\{([^}]*)\})?", re.sub(r"summary: .*", "", RULES))
    assert len(found) >= 12
    for name, selected in found:
        assert set(re.findall(r"(\w+)=", selected)) <= labels[name], name


def test_every_service_is_scraped() -> None:
    """One job for each, at its own path behind the one address."""
    config = (ROOT / "deploy/prometheus/prometheus.yml").read_text(encoding="utf-8")
    assert re.findall(r"job_name: (\w+)\n    metrics_path: (\S+)", config) == [
        (service, f"/-/{service}/metrics") for service in SERVICES
    ]


def test_every_alert_is_explained_and_tested() -> None:
    """The page's table and promtool's tests have the alerts of the rules, no more and no fewer."""
    alerts = re.findall(r"- alert: (\w+)", RULES)
    assert re.findall(r"^\| ([A-Z]\w+) \|", PAGE, re.MULTILINE) == alerts
    tested = re.findall(r"alertname: (\w+)", (ROOT / "deploy/prometheus/rules_test.yml").read_text(encoding="utf-8"))
    assert set(tested) == set(alerts)
