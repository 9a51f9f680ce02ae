"""Pulling files from URLs: what is fetched, what is refused, and what a server may do on the way."""

import threading

import certifi
import pytest
import sqlalchemy as sa
from certificates import make_certificate
from pull_scene import PullScene
from web_server import WebServer

from trainyard.clock import SystemClock
from trainyard.errors import ServiceError
from trainyard.testing.crashpoints import armed
from trainyard_ingest.domain.pull_spec import UrlSpec
from trainyard_ingest.domain.pulls import SourceAwayError
from trainyard_ingest.pulling.addresses import AddressRule
from trainyard_ingest.pulling.fetching import Limits, UrlFetcher

CSV = b"id,city\n1,a\n2,b\n"


@pytest.fixture
def server():
    """A plain server."""
    server = WebServer()
    yield server
    server.close()


@pytest.fixture
def scene(database_url, tmp_path, server):
    """A dataset, and a puller that may reach this server."""
    scene = PullScene(database_url, tmp_path, hosts=[f"localhost:{server.port}"])
    yield scene
    scene.close()


def _put(scene, server, path="/a.csv", **others):
    return scene.put(kind="url", url=server.url(path), **others)


def test_a_file_becomes_a_batch_once(scene, server):
    """The file is a batch; unchanged it is not fetched again; changed it is another batch."""
    server.on("/a.csv", CSV, ETag='"1"')
    _put(scene, server)
    assert scene.pull().last.rows == 2
    assert scene.pull().last.rows == 0
    assert server.asked[-1][1]["If-None-Match"] == '"1"'
    server.on("/a.csv", b"id,city\n3,c\n", ETag='"2"')
    assert scene.pull().last.rows == 1
    assert scene.rows() == [1, 2, 3]
    assert [(batch.source, batch.source_name) for batch in scene.batches()] == [("pull", "s")] * 2


def test_the_request(scene, server):
    """The request asks for the bytes as they are, of the host by its name, and carries no cookie or proxy header."""
    server.on("/a.csv", CSV)
    _put(scene, server)
    scene.pull()
    headers = server.asked[0][1]
    assert headers["Host"] == f"localhost:{server.port}"
    assert headers["Accept-Encoding"] == "identity"
    assert set(headers) == {"Host", "Accept-Encoding", "User-Agent", "Accept", "Connection"}


def test_no_proxy_of_the_environment(scene, server, monkeypatch):
    """Proxy variables are not for pulls: a proxy would connect to what it likes."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    server.on("/a.csv", CSV)
    _put(scene, server)
    assert scene.pull().last.rows == 2


def test_same_bytes_under_another_etag(scene, server):
    """A server that calls the same bytes new does not double the rows."""
    server.on("/a.csv", CSV, ETag='"1"')
    _put(scene, server)
    scene.pull()
    server.on("/a.csv", CSV, ETag='"2"')
    assert scene.pull().last.rows == 0
    assert scene.source().cursor["validators"]["etag"] == '"2"'
    assert scene.rows() == [1, 2]


def test_a_file_that_is_again_what_it_was(scene, server):
    """A file that goes back to earlier bytes, under their earlier ETag, is a batch again: its rows are the latest."""
    other = CSV.replace(b"a", b"x")
    _put(scene, server)
    for body, etag in [(CSV, '"1"'), (other, '"2"'), (CSV, '"1"'), (other, '"2"')]:
        server.on("/a.csv", body, ETag=etag)
        assert scene.pull().last.rows == 2
        assert scene.pull().last.rows == 0
    assert len(scene.batches()) == 4
    assert scene.rows("city")[-2:] == ["x", "b"]


def test_without_validators(scene, server):
    """A server without ETag and Last-Modified is read every time; only other bytes are a batch."""
    server.on("/a.csv", CSV)
    _put(scene, server)
    scene.pull()
    scene.pull()
    assert scene.rows() == [1, 2]


@pytest.mark.parametrize(
    ("path", "headers", "others"),
    [
        ("/a.csv", {}, {}),
        ("/export?format=table", {"Content_Type": "text/csv; charset=utf-8"}, {}),
        ("/export", {"Content_Type": "application/octet-stream"}, {"format": "csv"}),
    ],
)
def test_formats(scene, server, path, headers, others):
    """The description says the format, else Content-Type, else the ending of the path."""
    server.on(path, CSV, **headers)
    _put(scene, server, path, **others)
    assert scene.pull().last.rows == 2


def test_unknown_format(scene, server):
    """Where nothing says the format, the answer is to say it."""
    server.on("/export", CSV, Content_Type="application/octet-stream")
    _put(scene, server, "/export")
    assert "give 'format'" in scene.error()


def test_a_bad_file_is_refused_and_tried_again(scene, server):
    """A file that cannot be a batch is refused in the ledger, once; it is fetched again until it is mended."""
    server.on("/a.csv", b"id,city\nx,a\n", ETag='"1"')
    _put(scene, server)
    assert "invalid_rows" in scene.error()
    assert "invalid_rows" in scene.error()
    assert [batch.state for batch in scene.batches()] == ["refused"]
    server.on("/a.csv", CSV, ETag='"2"')
    assert scene.pull().last.rows == 2


@pytest.mark.parametrize("status", [401, 403, 404, 500, 503, 206, 204])
def test_answers_that_are_no_file(scene, server, status):
    """Anything but 200 is not a file."""
    server.on("/a.csv", b"" if status == 204 else CSV, status=status)
    _put(scene, server)
    assert f"answers {status}" in scene.error()
    assert scene.rows() == []


def test_compressed_though_it_was_not_asked_for(scene, server):
    """A body in another encoding than asked for is refused, not unpacked."""
    server.on("/a.csv", b"\x1f\x8b", Content_Encoding="gzip")
    _put(scene, server)
    assert "Content-Encoding" in scene.error()


@pytest.mark.parametrize(("redirects", "fits"), [(2, True), (3, True), (4, False)])
def test_redirects(scene, server, redirects, fits):
    """At most three redirects are followed."""
    for number in range(redirects):
        server.on(f"/{number}", status=302, Location=f"/{number + 1}")
    server.on(f"/{redirects}", CSV)
    _put(scene, server, "/0", format="csv")
    if fits:
        assert scene.pull().last.rows == 2
    else:
        assert "url_refused" in scene.error()


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://127.0.0.1/a.csv",
        "http://[::1]/a.csv",
        "file:///etc/passwd",
        "http://user@localhost/",
        "//10.0.0.1/a.csv",
        "http://localhost:1/a.csv",
    ],
)
def test_redirects_are_judged_alike(scene, server, target):
    """Each redirect is judged as the first URL is; a private address, another port or scheme ends it."""
    server.on("/a.csv", status=302, Location=target)
    _put(scene, server)
    assert scene.error().startswith("url_refused: this URL is not one that data may be pulled from")


@pytest.mark.parametrize(("size", "fits"), [(-1, True), (0, True), (1, False)])
def test_cap_of_bytes(database_url, tmp_path, server, size, fits):
    """The cap holds for a body of announced length and for one without, at the byte."""
    limits = Limits(len(CSV) - size)
    scene = PullScene(database_url, tmp_path, hosts=[f"localhost:{server.port}"], limits=limits)
    server.on("/a.csv", CSV)
    _put(scene, server)
    if fits:
        assert scene.pull().last.rows == 2
    else:
        assert "is larger than" in scene.error()
    scene.close()


def test_a_file_that_changes_while_it_is_read(scene, server):
    """The server changes the file under the reader: what came is thrown away, and the new one is read whole."""

    def changing(handler):
        server.on("/a.csv", b"id,city\n9,z\n", ETag='"2"')
        handler.send_response(200)
        handler.send_header("ETag", '"1"')
        handler.send_header("Content-Length", str(len(CSV)))
        handler.end_headers()
        handler.wfile.write(CSV[:8] + b"9,z\n2,b\n")

    server.answers["/a.csv"] = changing
    _put(scene, server)
    assert scene.pull().last.rows == 1
    assert scene.rows() == [9]


def test_a_body_that_breaks_off(scene, server):
    """Half a file is thrown away; three halves in a row end the pull."""

    def half(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(CSV) + 1))
        handler.end_headers()
        handler.wfile.write(CSV)
        handler.close_connection = True

    server.answers["/a.csv"] = half
    _put(scene, server)
    assert "3 times in a row" in scene.error()
    assert len(server.asked) == 3
    assert scene.rows() == []


def test_a_head_that_never_ends(tmp_path, server):
    """A server that keeps sending its head, never idle, is given up after the total time."""

    def trickle(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        try:
            while True:
                handler.wfile.write(b"x")
                handler.wfile.flush()
        except OSError:
            handler.close_connection = True

    server.answers["/a.csv"] = trickle
    fetcher = _fetcher(server, Limits(10, total_seconds=0.5))
    with (tmp_path / "f").open("w+b") as into, pytest.raises(SourceAwayError):
        fetcher.fetch(UrlSpec(server.url("/a.csv"), None), None, into)


def test_a_silent_server(tmp_path, server):
    """A server that accepts and says nothing is given up after the idle time."""
    release = threading.Event()
    server.answers["/a.csv"] = lambda handler: release.wait(20)
    fetcher = _fetcher(server, Limits(10, idle_seconds=0.2))
    with (tmp_path / "f").open("w+b") as into, pytest.raises(SourceAwayError, match="silent"):
        fetcher.fetch(UrlSpec(server.url("/a.csv"), None), None, into)
    release.set()


@pytest.mark.parametrize("action", ["error", "lost"])
@pytest.mark.parametrize("point", ["K1", "K2", "K3", "K4", "K5", "K6", "K7", "K8", "K9"])
def test_failing_at_each_step(scene, server, point, action):
    """Failed at any point and taken up again, under another ETag for the same bytes: every row once."""
    server.on("/a.csv", CSV, ETag='"1"')
    _put(scene, server)
    scene.sources.ask(scene.dataset, "s", actor="k", once=None)
    with armed(point, action):
        try:
            scene.puller.step()
        except Exception as e:  # noqa: BLE001 - whatever it is, the worker would be started again
            assert "crash point" in str(e)  # noqa: PT017
    server.on("/a.csv", CSV, ETag='"2"')
    scene.again() if scene.source().answered == 0 else scene.pull()
    scene.pull()
    assert scene.rows() == [1, 2]
    assert len(scene.batches()) == 1


def test_nothing_is_shown_of_a_signed_url(scene, server):
    """A signature in the query is in no answer, event or fingerprint."""
    server.on("/a.csv?sig=s3cret", CSV)
    source = _put(scene, server, "/a.csv?sig=s3cret")
    done = scene.pull()
    assert done.last.rows == 2
    with scene.engine.connect() as connection:
        seen = [
            *connection.execute(sa.text("SELECT payload::text FROM core.event")).scalars(),
            *connection.execute(sa.text("SELECT details::text FROM core.audit")).scalars(),
            *connection.execute(sa.text("SELECT fingerprint || source_name FROM core.batch")).scalars(),
            str(source.as_dict()),
            str(done.as_dict()),
        ]
    assert not [text for text in seen if "s3cret" in text]


def _fetcher(server, limits, **others):
    rule = AddressRule([f"localhost:{server.port}"])
    return UrlFetcher(rule, SystemClock(), limits, http=True, ca_file=certifi.where(), **others)


@pytest.mark.parametrize(
    ("name", "trusted", "works"), [("localhost", True, True), ("other", True, False), ("localhost", False, False)]
)
def test_the_certificate_is_the_hosts(tmp_path, name, trusted, works):
    """The connection goes to the address, the certificate must be the host's, by an authority that is trusted."""
    paths = make_certificate(tmp_path, name)
    server = WebServer(paths)
    server.on("/a.csv", CSV)
    rule = AddressRule([f"localhost:{server.port}"], resolve=lambda host, port: ["127.0.0.1"])
    authority = str(paths[0]) if trusted else certifi.where()
    fetcher = UrlFetcher(rule, SystemClock(), Limits(1000), http=False, ca_file=authority)
    with (tmp_path / "f").open("w+b") as into:
        if works:
            assert fetcher.fetch(UrlSpec(server.url("/a.csv"), None), None, into).final_url == server.url("/a.csv")
        else:
            with pytest.raises(SourceAwayError, match="certificate"):
                fetcher.fetch(UrlSpec(server.url("/a.csv"), None), None, into)
    server.close()


def test_refused_urls_are_refused_when_they_are_pulled(database_url, tmp_path, server):
    """A host that has become private since it was described is refused then, with the same text."""
    scene = PullScene(database_url, tmp_path, hosts=[])
    scene.put(kind="url", url=server.url("/a.csv"))
    with pytest.raises(ServiceError):
        scene.fetcher.check(server.url("/a.csv"))
    assert scene.error().startswith("url_refused: this URL is not one")
    assert server.asked == []
    scene.close()
