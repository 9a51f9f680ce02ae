"""The address rule: which resolved addresses a pull may connect to."""

import pytest

from trainyard_ingest.pulling.addresses import AddressRefusedError, AddressRule, is_public

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.215.14",
    "172.15.255.255",
    "172.32.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "11.0.0.1",
    "9.255.255.255",
    "169.253.255.255",
    "169.255.0.0",
    "192.167.255.255",
    "192.169.0.0",
    "223.255.255.254",
    "2606:4700:4700::1111",
    "2a00:1450:4001:81c::200e",
    "2001:4860:4860::8888",
    "::ffff:8.8.8.8",
    "2002:808:808::1",
    "64:ff9b::808:808",
]
REFUSED = [
    "127.0.0.1",
    "127.255.255.255",
    "0.0.0.0",  # noqa: S104 - nobody binds to it here
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "192.168.255.255",
    "169.254.169.254",
    "169.254.170.2",
    "100.64.0.1",
    "100.127.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:10.0.0.1",
    "::ffff:100.64.0.1",
    "2002:a9fe:a9fe::",
    "2002:7f00:1::1",
    "2002:a00:1::1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::7f00:1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::a9fe:a9fe",
    "64:ff9b:1::808:808",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:0:808:808:0:0:5601:5601",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    "2001:db8::1",
    "100::1",
    "3fff::1",
    "5f00::1",
    "2130706433",
    "0177.0.0.1",
    "0x7f.1",
    "127.1",
    "localhost",
    "",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public(address):
    """Addresses of public hosts pass, also wrapped into IPv6."""
    assert is_public(address)


@pytest.mark.parametrize("address", REFUSED)
def test_refused(address):
    """Everything else is refused: private, shared, local, special, multicast, wrapped ones of these, and mere text."""
    assert not is_public(address)


def test_every_address_must_pass():
    """One private address among public ones refuses the name: a second look-up could give it first."""
    rule = AddressRule(resolve=lambda host, port: ["8.8.8.8", "10.0.0.1"])
    with pytest.raises(AddressRefusedError):
        rule.address("example.com", 443)


def test_resolved_once_and_used():
    """A name is looked up once, and what was judged is what is connected to, whatever it says a moment later."""
    answers = iter([["8.8.8.8", "1.1.1.1"], ["127.0.0.1"]])
    rule = AddressRule(resolve=lambda host, port: next(answers))
    assert rule.address("rebinding.example.com", 443) == "8.8.8.8"
    assert next(answers) == ["127.0.0.1"]


def test_names_without_an_address():
    """A name that does not resolve, to nothing or by a fault, is refused."""

    def fails(host, port):
        raise OSError("no such name")

    for resolve in (fails, lambda host, port: []):
        with pytest.raises(AddressRefusedError):
            AddressRule(resolve=resolve).address("example.com", 443)


def test_hosts_that_the_operator_names():
    """A host on the list may be private; with a port, on that port only."""
    rule = AddressRule(["db.internal:5432", "Files.Internal"], resolve=lambda host, port: ["10.0.0.1"])
    assert rule.address("DB.internal", 5432) == "10.0.0.1"
    assert rule.address("files.internal", 443) == "10.0.0.1"
    assert (rule.names_port("db.internal", 5432), rule.names_port("files.internal", 8443)) == (True, False)
    for host, port in (("db.internal", 443), ("other.internal", 5432)):
        with pytest.raises(AddressRefusedError):
            rule.address(host, port)


def test_the_table_is_long_enough():
    """At least sixty addresses stand in the table."""
    assert len(PUBLIC) + len(REFUSED) >= 60
