"""How connections to other hosts are opened: the only maker of client sessions.

No redirects, cookies, proxies of the environment or inflation; no address at which cloud machines
find their own credentials, whatever leads to it: each is looked at when its socket is made.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
from functools import cache, lru_cache
from typing import Any

import aiohttp

Session = aiohttp.ClientSession
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_READ_BYTES = 1 << 16
"""Once so much is waiting nothing more is read: what one read of the socket brings goes on as it
is, instead of being joined with what the next ones bring."""
_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254")
)
"""Of Alibaba, Azure, Oracle, AWS and Google; others are link-local."""
_TRANSLATED = tuple(ipaddress.IPv6Network(text) for text in ("64:ff9b::/96", "::/96"))
"""IPv6 addresses that end with an IPv4 address (RFC 6052 §2.1, RFC 4291 §2.5.5.1)."""


def session(*, connect_seconds: float, read_seconds: float) -> Session:
    """A session of its own, to be closed by its owner. Seconds: for connecting, and per read."""
    return Session(
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        connector=aiohttp.TCPConnector(limit=0, socket_factory=checked_socket),
        read_bufsize=_READ_BYTES,
        timeout=aiohttp.ClientTimeout(
            total=None, sock_connect=connect_seconds, sock_read=read_seconds
        ),
        trust_env=False,
    )


@lru_cache(maxsize=256)
def is_allowed(address: str) -> bool:
    """Whether an IP address may be connected to; an IPv4 address in IPv6 clothes is unwrapped."""
    found = ipaddress.ip_address(address.partition("%")[0])
    return all(
        not (one.is_link_local or one.is_multicast or one.is_unspecified or one in _METADATA)
        for one in (found, _unwrapped(found))
    )


def _unwrapped(found: _Address) -> _Address:
    """The IPv4 address that an IPv6 address stands for; any other as it is."""
    if isinstance(found, ipaddress.IPv4Address):
        return found
    is_translated = found not in _LOOPBACK and any(found in one for one in _TRANSLATED)
    last = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF) if is_translated else None
    return found.ipv4_mapped or found.sixtofour or last or found


_LOOPBACK = (ipaddress.IPv6Address("::1"), ipaddress.IPv6Address("::"))


def checked_socket(address: tuple[Any, ...]) -> socket.socket:
    """A socket for what `getaddrinfo` gives; OSError when it may not be connected to.

    Names, numbers written in any way and names that change all end here.
    """
    family, kind, protocol, _, (host, *_) = address
    if not is_allowed(host):
        raise OSError("this address may not be connected to")
    return socket.socket(family=family, type=kind, proto=protocol)


@cache
def verifying() -> ssl.SSLContext:
    """TLS that trusts whom the system trusts, for those to whom no other context is given."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
