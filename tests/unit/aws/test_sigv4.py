"""Our signatures are those of botocore, on random requests."""

from __future__ import annotations

from datetime import UTC, datetime

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials as BotoCredentials
from hypothesis import given
from hypothesis import strategies as st

from trainyard.adapters.slim.sigv4 import Credentials, query_string, quoted, quoted_path, signed

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
SEGMENT = TEXT.filter(lambda name: name not in {"", ".", ".."})
#: What HTTP lets stand in a header's value, spaces in any number included.
VALUE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)
NAME = st.from_regex(r"x-amz-[a-z0-9-]{1,20}", fullmatch=True).filter(
    lambda name: name not in {"x-amz-date", "x-amz-content-sha256", "x-amz-security-token"}
)
WORD = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/+=", min_size=1, max_size=60)
REGION = st.sampled_from(["us-east-1", "eu-central-1", "cn-north-1"])
HOST = st.sampled_from(["bucket.s3.eu-west-1.amazonaws.com", "127.0.0.1:4566", "[::1]:9000"])


@given(
    method=st.sampled_from(["GET", "PUT", "DELETE", "HEAD", "POST"]),
    key=TEXT,
    query=st.dictionaries(TEXT.filter(bool), TEXT, max_size=5),
    headers=st.dictionaries(NAME, VALUE, max_size=5),
    body=st.binary(max_size=200),
    access=WORD,
    secret=WORD,
    token=st.none() | WORD,
    region=REGION,
    host=HOST,
)
def test_requests_to_s3_are_signed_as_botocore_signs_them(
    method, key, query, headers, body, access, secret, token, region, host
):
    """Keys, parameters, headers and bodies of any kind, with and without a session token."""
    path = f"/bucket/{quoted_path(key)}"
    encoded = query_string(query.items())
    theirs = AWSRequest(method, f"http://{host}{path}" + (f"?{encoded}" if encoded else ""), dict(headers), body)
    theirs.context["client_config"] = Config(s3={"payload_signing_enabled": True})
    S3SigV4Auth(BotoCredentials(access, secret, token), "s3", region).add_auth(theirs)
    ours = signed(
        Credentials(access, secret, token),
        method,
        path,
        query=encoded,
        headers={"host": host, **headers},
        body=body,
        region=region,
        service="s3",
        at=_at(theirs),
    )
    assert ours["authorization"] == theirs.headers["Authorization"]
    assert ours["x-amz-content-sha256"] == theirs.headers["X-Amz-Content-SHA256"]
    assert ours.get("x-amz-security-token") == theirs.headers.get("X-Amz-Security-Token")


@given(model=SEGMENT, version=TEXT, body=st.binary(max_size=200), token=st.none() | WORD, secret=WORD, region=REGION)
def test_requests_to_a_functions_url_are_signed_as_botocore_signs_them(model, version, body, token, secret, region):
    """The path of a prediction has an @, and whatever a caller takes for the name of a model."""
    path = f"/v1/predict/{quoted(model)}@{quoted(version)}"
    host = f"abc.lambda-url.{region}.on.aws"
    theirs = AWSRequest("POST", f"https://{host}{path}", {"content-type": "application/json"}, body)
    SigV4Auth(BotoCredentials("AKIA", secret, token), "lambda", region).add_auth(theirs)
    ours = signed(
        Credentials("AKIA", secret, token),
        "POST",
        path,
        headers={"host": host, "content-type": "application/json"},
        body=body,
        region=region,
        service="lambda",
        at=_at(theirs),
    )
    assert ours["authorization"] == theirs.headers["Authorization"]


@given(body=st.binary(max_size=200), token=st.none() | WORD, secret=WORD, region=REGION, host=HOST)
def test_requests_to_sqs_are_signed_as_botocore_signs_them(body, token, secret, region, host):
    """The JSON protocol's headers, any body."""
    headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": "AmazonSQS.SendMessageBatch"}
    theirs = AWSRequest("POST", f"http://{host}/", dict(headers), body)
    SigV4Auth(BotoCredentials("AKIA", secret, token), "sqs", region).add_auth(theirs)
    ours = signed(
        Credentials("AKIA", secret, token),
        "POST",
        "/",
        headers={"host": host, **headers},
        body=body,
        region=region,
        service="sqs",
        at=_at(theirs),
    )
    assert ours["authorization"] == theirs.headers["Authorization"]


def test_the_example_of_the_s3_guide():
    """AWS's own example, so that both cannot be wrong alike: "GET Object" of the Signature V4 page."""
    ours = signed(
        Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        "GET",
        "/test.txt",
        headers={"host": "examplebucket.s3.amazonaws.com", "range": "bytes=0-9"},
        body=b"",
        region="us-east-1",
        service="s3",
        at=datetime(2013, 5, 24, tzinfo=UTC),
    )
    assert ours["authorization"].endswith("Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41")


def _at(request: AWSRequest) -> datetime:
    return datetime.strptime(request.context["timestamp"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
