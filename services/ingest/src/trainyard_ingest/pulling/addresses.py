"""Which addresses may be connected to: names are resolved once, every address must pass, and one of them is used.

The rule of docs/sources.md: public unicast only, judged after unwrapping whatever carries an IPv4 address inside. The
text that somebody wrote (``0177.0.0.1``, ``2130706433``) is never looked at, only what the resolver made of it.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING

from trainyard import logs
from trainyard.errors import TrainyardError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Address = ipaddress.IPv4Address | ipaddress.IPv6Address
    #: host, port -> addresses as text; OSError when there are none
    Resolve = Callable[[str, int], Sequence[str]]

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
#: Refused whatever is inside: local NAT64 (where the prefix ends is known to its operator only), IPv4-compatible and
#: site-local addresses, the 6to4 relay, and what the standard library of some Python releases calls global.
_NEVER = tuple(
    map(
        ipaddress.ip_network,
        (
            "64:ff9b:1::/48",
            "::/96",
            "fec0::/10",
            "100::/64",
            "5f00::/16",
            "3fff::/20",
            "192.88.99.0/24",
            "100.64.0.0/10",
        ),
    )
)
_log = logs.get(__name__)


class AddressRefusedError(TrainyardError):
    """The host is not one to connect to; the message has the reason, which is for the log only."""


class AddressRule:
    """Turns a host into an address that may be connected to.

    Args:
        allowed: hosts, or ``host:port``, that may have any address: private networks and tests.
        resolve: tests pass one of their own.
    """

    def __init__(self, allowed: Sequence[str] = (), resolve: Resolve | None = None) -> None:
        self._allowed = {entry.lower() for entry in allowed}
        self._resolve = resolve or _resolve

    def names(self, host: str, port: int) -> bool:
        """Tell whether the operator has named this host, or this port of it, as one to trust."""
        host = host.lower()
        return host in self._allowed or f"{host}:{port}" in self._allowed

    def names_port(self, host: str, port: int) -> bool:
        """Tell whether the operator has named this very port of the host."""
        return f"{host.lower()}:{port}" in self._allowed

    def address(self, host: str, port: int) -> str:
        """Return the address to connect to.

        Raises:
            AddressRefusedError: the name has no address, or one that may not be connected to.
        """
        try:
            found = list(self._resolve(host, port))
        except (OSError, UnicodeError) as e:
            raise AddressRefusedError(f"{host!r} has no address") from e
        if not found:
            raise AddressRefusedError(f"{host!r} has no address")
        if not self.names(host, port):
            bad = next((text for text in found if not is_public(text)), None)
            if bad is not None:
                raise AddressRefusedError(f"{host!r} has the address {bad}")
        return found[0]


def is_public(text: str) -> bool:
    """Tell whether an address, as a resolver writes it, is one of a public host."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return _passes(address)


def _passes(address: Address) -> bool:
    inner = _unwrapped(address)
    if inner is not None:
        return all(map(_passes, inner))
    if any(address in network for network in _NEVER if network.version == address.version):
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        return False
    return address.is_global and not address.is_multicast


def _unwrapped(address: Address) -> tuple[ipaddress.IPv4Address, ...] | None:
    """Return the IPv4 addresses that an IPv6 address carries, None when it carries none."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address.sixtofour is not None:
        return (address.sixtofour,)
    if address.teredo is not None:
        return address.teredo
    if address in _NAT64:
        return (ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF),)
    return None


def _resolve(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
