"""The stack as containers: the loop, each container killed, and what none of them may do."""

from __future__ import annotations

import json

import boto3
import pytest
import requests
from roads import emulator_dies, one_dies, whole_loop

pytestmark = pytest.mark.timeout(900)

OURS = (
    "ingest",
    "ingest-worker",
    "scheduler",
    "scheduler-worker",
    "ec2-host",
    "predictor",
    "predictor-poll",
    "predictor-lambda",
    "console",
)
ONCE = ("secrets", "setup")


def test_the_emulator_dies_with_open_requests(stack, shoppers):
    """LocalStack forgets everything: queues and bucket are made again, the requests sent again, each ends once."""
    emulator_dies(stack, shoppers, "localstack")


def test_the_whole_loop(stack, shoppers):
    """The threshold trains by itself, a useful model is promoted, a useless one is not, and labels come back."""
    whole_loop(stack, shoppers)


def test_the_same_image_answers_as_a_function(stack):
    """Under the runtime interface emulator the champion of the loop answers a direct event of boto3's `invoke`."""
    event = {"path": "/v1/predict/buys", "body": {"rows": [{"age": 70, "income": 5000.0, "city": "Bern"}]}}
    address = f"http://127.0.0.1:{stack.ports['LAMBDA']}"
    anybody = boto3.Session("nobody", "checks", region_name="eu-central-1")
    invoked = anybody.client("lambda", endpoint_url=address).invoke(FunctionName="function", Payload=json.dumps(event))
    assert (invoked["StatusCode"], invoked.get("FunctionError")) == (200, None)
    answer = json.load(invoked["Payload"])
    assert answer["statusCode"] == 200, answer
    assert json.loads(answer["body"])["version"] == 1


def test_a_question_on_the_queue_is_answered_into_the_log(stack):
    """The poller calls the function as Lambda would: the prediction is in the log."""
    sqs, row = stack.outside("sqs"), {"age": 20, "income": 5000.0, "city": "Genf"}
    event = {"path": "/v1/predict/buys", "body": {"rows": [row]}}
    sqs.send_message(QueueUrl=sqs.get_queue_url(QueueName="trainyard-ask")["QueueUrl"], MessageBody=json.dumps(event))
    stack.wait_until(
        lambda: [p for p in stack.items("/v1/predictions?model=buys") if p["inputs"] == row],
        seconds=30,
        what="the prediction in the log",
    )


@pytest.mark.parametrize(
    "name",
    ["postgres", "router", *(service for service in OURS if service != "predictor-lambda")],
)
def test_any_container_dies_while_rows_come_in_and_a_model_is_trained(stack, shoppers, name):
    """Rows sent with patience arrive once each, and the request that was open ends with one version."""
    one_dies(stack, shoppers, name)


@pytest.mark.parametrize("name", OURS)
def test_a_service_can_write_to_its_own_places_only(stack, name):
    """An ordinary user, a read-only file system but for /tmp and its volume, and nothing of the engine."""
    container = stack.containers()[name]
    assert container.exec_run(["id", "-u"]).output.strip() == b"65532"
    for folder in ("/", "/etc", "/opt", "/usr/local", "/var"):
        assert container.exec_run(["touch", f"{folder}/x"]).exit_code != 0, folder
    assert container.exec_run(["sh", "-c", "touch $HOME/x"]).exit_code == 0


@pytest.mark.parametrize("name", [*OURS, *ONCE, "router", "postgres", "localstack"])
def test_a_container_has_no_more_than_it_needs(stack, name):
    """No capability, no new privileges, limits of memory and processes, no engine's socket, loopback ports only."""
    about = stack.containers()[name].attrs
    host = about["HostConfig"]
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert host["Memory"] > 0
    assert host["PidsLimit"] > 0
    assert host["ReadonlyRootfs"] or name == "localstack"
    assert not host["Privileged"]
    assert not [mount for mount in about["Mounts"] if mount["Source"].endswith("docker.sock")]
    published = [entry["HostIp"] for entries in host["PortBindings"].values() for entry in entries]
    assert set(published) <= {"127.0.0.1"}


def test_secrets_are_made_once(stack):
    """A second start leaves the keys and the password as they are, and the console sees no secret."""
    before = stack.compose.exec_in_container(["cat", "/secrets/admin/key", "/secrets/database/pgpass"], "scheduler")[0]
    stack.compose.start()
    after = stack.compose.exec_in_container(["cat", "/secrets/admin/key", "/secrets/database/pgpass"], "scheduler")[0]
    assert after == before
    assert stack.containers()["console"].exec_run(["ls", "/secrets"]).exit_code


def test_one_address_for_everything(stack):
    """The router answers for itself, for each service's operations, and sends what nobody lists to the console."""
    url = stack.ready["url"]
    assert requests.get(f"{url}/readyz", timeout=10).json() == {"status": "ok"}
    for service in ("ingest", "scheduler", "predictor", "console"):
        assert requests.get(f"{url}/-/{service}/readyz", timeout=10).status_code == 200
        assert requests.get(f"{url}/-/{service}/metrics", timeout=10).text.startswith("# HELP")
    assert requests.get(url, timeout=10).headers["content-type"].startswith("text/html")
    for length in (5_000, 20_000):
        too_long = requests.get(f"{url}/?{'x' * length}", timeout=10)
        assert (too_long.status_code, too_long.json()["error"]["code"]) == (414, "uri_too_long")
    assert requests.get(f"{url}/?{'x' * 4_000}", timeout=10).status_code == 200


def test_a_service_that_is_away_is_said_so(stack):
    """While a container is stopped its paths answer 503 with a time to come back; then they answer again."""
    stack.run("stop", "console")
    answer = requests.get(stack.ready["url"], timeout=10)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
    assert answer.headers["retry-after"] == "1"
    stack.compose.start()
    stack.wait_until(
        lambda: requests.get(stack.ready["url"], timeout=10).ok, seconds=20, what="the console answers again"
    )
