"""Signed requests without a library: what is repeated, what is refused, when it ends. A server speaks word for word."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from trainyard.adapters.slim.clients import SlimClients
from trainyard.adapters.slim.credentials import CredentialSource
from trainyard.adapters.slim.http1 import Address
from trainyard.clock import ManualClock, SystemClock
from trainyard.contracts.blobs import BlobMissingError
from trainyard.errors import ConfigError, TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator

OK = b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 5\r\n\r\nhello'
BUSY = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n"
HALF = b'HTTP/1.1 200 OK\r\nConnection: close\r\nETag: "e"\r\nContent-Length: 9\r\n\r\nhell'
KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"}


class Script:
    """A server that gives the next answer of a list to each request, closing after those that are cut off."""

    def __init__(self) -> None:
        self.answers: list[bytes | None] = []
        self.requests: list[bytes] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                connection.settimeout(10)
                if not self.answers:
                    return
                self.connections += 1
                while self.answers and (request := connection.recv(65536)):
                    self.requests.append(request)
                    answer = self.answers.pop(0)
                    if answer is None:
                        break
                    connection.sendall(answer)
                    if b"close" in answer:
                        break

    def close(self) -> None:
        """End the thread, whatever was not asked for."""
        self.answers.clear()
        with socket.create_connection(self._listener.getsockname()):
            self._thread.join(15)
        self._listener.close()
        assert not self._thread.is_alive()


@pytest.fixture
def script() -> Iterator[Script]:
    """A server without answers yet."""
    server = Script()
    yield server
    server.close()


@pytest.fixture
def clients(script: Script) -> Iterator[SlimClients]:
    """Clients of that server; nobody waits between attempts."""
    made = SlimClients(KEYS, region="eu-west-1", endpoint=script.url, clock=ManualClock())
    yield made
    made.close()


@pytest.mark.parametrize("failure", [BUSY, None, HALF], ids=["busy", "closed", "half"])
def test_what_may_still_succeed_is_asked_again(script: Script, clients: SlimClients, failure: bytes | None) -> None:
    """A busy service, a connection that ends without an answer, an answer that ends in its middle."""
    script.answers = [failure, OK]
    assert clients.blobs("b").get("key").data == b"hello"
    assert len(script.requests) == 2


def test_after_three_attempts_it_is_given_up(script: Script, clients: SlimClients) -> None:
    """The error names what came last."""
    script.answers = [BUSY] * 4
    with pytest.raises(TransientError, match="503"):
        clients.blobs("b").get("key")
    assert len(script.requests) == 3


def test_one_connection_serves_many_requests(script: Script, clients: SlimClients) -> None:
    """And one that the other side has closed is not used again."""
    closing = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    script.answers = [OK, OK, closing, OK]
    blobs = clients.blobs("b")
    assert [blobs.get("key").data for _ in range(4)] == [b"hello"] * 4
    assert script.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        b'HTTP/1.1 200 OK\r\nETag: "e"\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n',
        b'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\netag: "e"\r\ncontent-length:5\r\n\r\nhello',
        b'HTTP/1.0 200 OK\r\nETag: "e"\r\nX: close\r\n\r\nhello',
    ],
    ids=["chunks", "continue", "to the end"],
)
def test_every_way_to_end_a_body(script: Script, clients: SlimClients, answer: bytes) -> None:
    """By length, by chunks, by the end of the connection."""
    script.answers = [answer]
    assert clients.blobs("b").get("key").data == b"hello"


@pytest.mark.parametrize(
    "answer",
    [
        b"hello close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nclose\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 101 + b"close: 1\r\n\r\n",
    ],
    ids=["no http", "no header", "negative", "too long", "no chunk", "headers"],
)
def test_what_is_no_answer_is_refused(script: Script, clients: SlimClients, answer: bytes) -> None:
    """None of it is taken for the object."""
    script.answers = [answer] * 3
    with pytest.raises(TransientError):
        clients.blobs("b").get("key")


def test_a_redirect_is_refused_with_what_to_do(script: Script, clients: SlimClients) -> None:
    """A signed request is sent where the settings say, and nowhere else."""
    head = b"HTTP/1.1 301 Moved\r\nx-amz-bucket-region: eu-central-1\r\nLocation: http://127.0.0.1:1/\r\n"
    script.answers = [head + b"Content-Length: 0\r\n\r\n"]
    with pytest.raises(ConfigError, match="eu-central-1"):
        clients.blobs("b").get("key")
    assert len(script.requests) == 1


def test_refusals_are_told_apart_from_absence(script: Script, clients: SlimClients) -> None:
    """Only S3's NoSuchKey means that there is no object; an object without etag is none either."""
    blobs = clients.blobs("b")  # on one connection: the server listens to one at a time
    for status, code, error in (
        ("404 Not Found", "NoSuchKey", BlobMissingError),
        ("404 Not Found", "NoSuchBucket", TransientError),
        ("403 Forbidden", "AccessDenied", TransientError),
    ):
        body = f"<Error><Code>{code}</Code></Error>"
        script.answers = [f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()]
        with pytest.raises(error, match=code):
            blobs.get("key")
    script.answers = [OK.replace(b'ETag: "e"', b"x: y")]
    with pytest.raises(TransientError, match="etag"):
        blobs.get("key")


def test_silence_ends_an_attempt_and_the_deadline_the_call(script: Script) -> None:
    """A server that takes requests and says nothing holds nobody longer than was asked for."""
    clients = SlimClients(KEYS, region="eu-west-1", endpoint=script.url, clock=SystemClock())
    clients.blobs("b")
    script.answers = [b"", b"", b"", b""]
    (service,) = clients._services
    began = SystemClock().monotonic()
    with pytest.raises(TransientError):
        service.call("GET", "/b/key", seconds=0.5, silence_seconds=0.2)
    assert SystemClock().monotonic() - began < 5
    clients.close()


def test_credentials_of_an_endpoint_are_kept_until_shortly_before_their_end(script: Script) -> None:
    """As in a container of ECS, and in a function that starts from a snapshot."""
    clock = ManualClock()  # 2026-01-01T00:00
    body = b'{"AccessKeyId":"a","SecretAccessKey":"s","Token":"t","Expiration":"2026-01-01T01:00:00Z"}'
    good = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    script.answers = [good, good, b"HTTP/1.1 500 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"]
    environ = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{script.url}/v2/x", "AWS_CONTAINER_AUTHORIZATION_TOKEN": "word"}
    source = CredentialSource(environ, clock)
    assert (source.get().access_key, source.get().token) == ("a", "t")
    assert len(script.requests) == 1
    assert script.requests[0].startswith(b"GET /v2/x HTTP/1.1\r\n")
    assert b"authorization: word\r\n" in script.requests[0]
    clock.advance(56 * 60)
    source.get()
    assert len(script.requests) == 2
    source.forget()
    with pytest.raises(TransientError, match="500"):
        source.get()


def test_credentials_of_an_instance(script: Script) -> None:
    """By version 2 of the metadata service: a session, the role's name, its credentials."""
    answers = [b"word", b"role one", b'{"AccessKeyId":"a","SecretAccessKey":"s","Token":"t"}']
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
    script.answers = [head % (len(body), body) for body in answers]
    source = CredentialSource({"AWS_EC2_METADATA_SERVICE_ENDPOINT": script.url + "/"}, ManualClock())
    assert (source.get().access_key, source.get().token) == ("a", "t")
    session, role, credentials = script.requests
    assert session.startswith(b"PUT /latest/api/token HTTP/1.1\r\n")
    assert b"x-aws-ec2-metadata-token-ttl-seconds: 300\r\n" in session
    assert role.startswith(b"GET /latest/meta-data/iam/security-credentials/ HTTP/1.1\r\n")
    assert credentials.startswith(b"GET /latest/meta-data/iam/security-credentials/role%20one HTTP/1.1\r\n")
    assert all(b"x-aws-ec2-metadata-token: word\r\n" in request for request in (role, credentials))


def test_what_is_no_document_of_credentials_is_refused_without_repeating_it(script: Script) -> None:
    """It may hold a secret."""
    body = b'{"AccessKeyId":"a","SecretAccessKey'
    script.answers = [b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)]
    source = CredentialSource({"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{script.url}/v2"}, ManualClock())
    with pytest.raises(TransientError, match="something else") as raised:
        source.get()
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    ("environ", "kind"),
    [
        ({"AWS_EC2_METADATA_DISABLED": "true"}, ConfigError),
        ({"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1"}, TransientError),
    ],
    ids=["disabled", "no instance"],
)
def test_without_credentials_the_error_says_what_to_set(environ: dict[str, str], kind: type[Exception]) -> None:
    """Profiles in files are not looked for; an instance's metadata may come up yet."""
    with pytest.raises(kind, match="AWS_ACCESS_KEY_ID"):
        CredentialSource(environ, ManualClock()).get()


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://user@x", "http://x/path", "http://x:port", "x"])
def test_endpoints_that_are_none(url: str) -> None:
    """The error repeats what was set."""
    with pytest.raises(ConfigError, match="endpoint"):
        Address.of(url)


def test_endpoints() -> None:
    """Ports that go without saying do not stand in the header, because the signature covers it."""
    assert Address.of("https://s3.eu-west-1.amazonaws.com").header == "s3.eu-west-1.amazonaws.com"
    assert Address.of("http://127.0.0.1:4566").header == "127.0.0.1:4566"
    assert Address.of("http://[::1]:4566") == Address("::1", 4566, tls=False)
    assert Address.of("http://[::1]").header == "[::1]"
