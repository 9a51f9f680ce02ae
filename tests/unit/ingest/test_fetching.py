"""The bounds of a download, and the URLs that are refused before anything is connected to."""

import pytest

from trainyard.clock import ManualClock
from trainyard.errors import ServiceError
from trainyard_ingest.domain.pulls import SourceAwayError
from trainyard_ingest.pulling.addresses import AddressRule
from trainyard_ingest.pulling.fetching import Limits, UrlFetcher, bounded

REFUSED = [
    "http://example.com/a.csv",
    "file:///etc/passwd",
    "ftp://example.com/a.csv",
    "gopher://example.com/",
    "//example.com/a.csv",
    "https:///a.csv",
    "https://",
    "",
    "https://user@example.com/a.csv",
    "https://user:pass@example.com/a.csv",
    "https://example.com@10.0.0.1/a.csv",
    "https://example.com:8443/a.csv",
    "https://example.com:22/a.csv",
    "https://example.com:99999/a.csv",
    "https://example.com:x/a.csv",
    "https://exa mple.com/a.csv",
    "https://example.com/a\r\nX: y",
    "https://example.com\\@10.0.0.1/",
    "https://[::1/a.csv",
    "https://büro.example/a.csv",
    "https://private.example/a.csv",
    "https://nowhere.example/a.csv",
]


def _resolve(host, port):
    if host == "nowhere.example":
        raise OSError("no such name")
    return ["10.0.0.1"] if host == "private.example" else ["8.8.8.8"]


def _fetcher(**others):
    return UrlFetcher(AddressRule(resolve=_resolve), ManualClock(), Limits(10), ca_file="", **{"http": False, **others})


@pytest.mark.parametrize("url", REFUSED)
def test_refused_with_one_text(url):
    """Whatever the reason, the answer is the same: it tells nobody what there is inside."""
    with pytest.raises(ServiceError) as refused:
        _fetcher().check(url)
    assert (refused.value.code, refused.value.status, refused.value.details) == ("url_refused", 400, [])
    with pytest.raises(ServiceError) as other:
        _fetcher().check("https://private.example/")
    assert refused.value.message == other.value.message


@pytest.mark.parametrize("url", ["https://example.com", "https://example.com:443/a.csv?x=1", "https://example.com:80/"])
def test_allowed(url):
    """HTTPS to a public host, on the ports of the web."""
    _fetcher().check(url)


def test_plain_http_by_a_setting():
    """http:// is for those who have allowed it."""
    _fetcher(http=True).check("http://example.com/a.csv")


@pytest.mark.parametrize(("length", "fits"), [(4_095, True), (4_096, True), (4_097, False)])
def test_length_of_a_url(length, fits):
    """A URL has at most 4 KiB."""
    url = "https://example.com/".ljust(length, "a")
    if fits:
        _fetcher().check(url)
    else:
        with pytest.raises(ServiceError):
            _fetcher().check(url)


@pytest.mark.parametrize(("size", "fits"), [(99, True), (100, True), (101, False)])
@pytest.mark.parametrize("block", [1, 7, 1000])
def test_cap_of_bytes(size, fits, block):
    """The cap holds while the body streams: a byte more, and nothing behind it is read."""
    blocks = iter([b"x" * min(block, size - start) for start in range(0, size, block)] + [b""])
    read = bounded(lambda: next(blocks), 100, 1e9, ManualClock())
    if fits:
        assert sum(map(len, read)) == size
    else:
        with pytest.raises(ServiceError, match="larger than 100 bytes"):
            list(read)


@pytest.mark.parametrize(("seconds", "fits"), [(899, True), (900, True), (901, False)])
def test_cap_of_time(seconds, fits):
    """A body that is never idle and never ends is given up after the total time."""
    clock = ManualClock()

    def read():
        clock.advance(1)
        return b"x" if clock.monotonic() <= seconds else b""

    body = bounded(read, 10_000, clock.monotonic() + 900, clock)
    if fits:
        assert len(list(body)) == seconds
    else:
        with pytest.raises(SourceAwayError):
            list(body)
