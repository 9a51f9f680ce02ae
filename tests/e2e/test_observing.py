"""What the running services tell about themselves: metrics as the table has them, and a trace from end to end."""

import json
import os
import subprocess
import sys

import requests
from conftest import COLUMNS, as_csv
from prometheus_client.parser import text_string_to_metric_families
from stack import wait_until

from trainyard.telemetry.catalogue import COUNTER, HISTOGRAM, METRICS, SERVICES, of_service
from trainyard_client.cli.exits import Exit

POLICY = {"min_new_rows": 600, "budget_seconds": 5, "seed": 1, "gate": {"min_rows": 100}}


def _scraped(stack, service):
    """Return what Prometheus reads of a service: families by name."""
    answer = requests.get(f"{stack.ready['url']}/-/{service}/metrics", timeout=30)
    assert answer.ok
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


def _family(metric):
    return metric.name.removesuffix("_total") if metric.kind == COUNTER else metric.name


def _trace(stack, *arguments):
    """Run `trainyard trace` as a user would."""
    command = [sys.executable, "-m", "trainyard_client.main", "trace", *arguments]
    return subprocess.run(
        command, env={**os.environ, **stack.environment}, capture_output=True, text=True, check=False, timeout=60
    )


def test_one_id_from_the_upload_to_the_label_and_every_metric_on_the_way(stack, shoppers):
    """The caller's id is found in each record, and each service shows what the table declares, with these labels."""
    stack.call("PUT", "/v1/datasets/seen", json={"columns": COLUMNS}, expect=201)
    stack.call("PUT", "/v1/models/seen", json={"dataset": "seen", "label": "bought", "policy": POLICY}, expect=201)
    rows = as_csv(shoppers.rows(700)).replace(b"\n7,", b"\n7x,", 1)
    upload = {"Content-Type": "text/csv", "X-Request-Id": "e2e-upload"}
    batch = stack.call("POST", "/v1/datasets/seen/rows", data=rows, headers=upload, expect=201)
    wait_until(lambda: stack.items("/v1/models/seen/versions"), seconds=90, what="a version")

    asked = [{name: row[name] for name in ("age", "income", "city")} for row in shoppers.rows(3)]

    def predicted():
        headers = {"X-Request-Id": "e2e-ask"}
        answer = stack.session.post(
            f"{stack.ready['url']}/v1/predict/seen", json={"rows": asked}, headers=headers, timeout=30
        )
        return answer.json() if answer.ok else None

    answer = wait_until(predicted, seconds=15, what="an answer by the first version")
    ident = answer["rows"][0]["prediction_id"]
    label = {"items": [{"prediction_id": ident, "label": True}]}
    wait_until(lambda: stack.session.get(f"{stack.ready['url']}/v1/predictions/{ident}", timeout=30).ok, seconds=20,
               what="the prediction in the log")  # fmt: skip
    stack.call("POST", "/v1/feedback", json=label, headers={"X-Request-Id": "e2e-label"})

    kinds = ["http", "batch", "message", "request", "message", "run", "version"]
    done = _trace(stack, ident, "--json")
    assert done.returncode == Exit.OK, done.stderr
    nodes = json.loads(done.stdout)["nodes"]
    assert [node["kind"] for node in nodes][:7] == kinds
    assert {node["id"] for node in nodes if node["kind"] == "http"} == {"e2e-upload", "e2e-ask", "e2e-label"}
    by_kind = {node["kind"]: node for node in nodes}
    assert by_kind["batch"]["id"] == batch["id"]
    assert by_kind["request"]["trace_id"] == by_kind["run"]["trace_id"] == "e2e-upload"
    tree = _trace(stack, "e2e-upload")
    assert [line.strip("│├└─ ").split()[0] for line in tree.stdout.splitlines()][:7] == kinds
    unknown = _trace(stack, "nobody-s")
    assert (unknown.returncode, "next: " in unknown.stderr) == (Exit.NOT_FOUND, True)

    run_id = by_kind["run"]["id"]
    lines = [json.loads(line) for line in _log_lines(stack, "trainer") if run_id in line]
    assert lines
    assert {line["trace"] for line in lines} == {"e2e-upload"}

    for service in SERVICES:
        requests.get(f"{stack.ready['url']}/-/{service}/healthz", timeout=30)
    assert set(METRICS) == {metric for service in SERVICES for metric in of_service(service).values()}
    for service in SERVICES:
        _holds(stack, service)
    rejected = {
        s.labels["source"]: s.value for s in _scraped(stack, "ingest")["trainyard_ingest_rejected_rows"].samples
    }
    assert rejected["http"] >= 1


def _holds(stack, service):
    """Hold a scrape against the table: names both ways, types, labels, a number for each."""
    declared = {_family(metric): metric for metric in of_service(service).values()}
    found = _scraped(stack, service)
    assert found.keys() == declared.keys()
    for name, metric in declared.items():
        family = found[name]
        assert (family.type, family.documentation) == (metric.kind, metric.meaning)
        assert family.samples, f"{service} says nothing of {name}"
        for sample in family.samples:
            own = sample.labels.keys() - ({"le"} if metric.kind == HISTOGRAM else set())
            assert own == set(metric.labels), sample


def _log_lines(stack, name):
    return [line for file in (stack.data_dir / "logs").glob(f"{name}*") for line in file.read_text().splitlines()]
