"""How connections to other hosts are opened: the only maker of client sessions.

No redirects, cookies, proxies of the environment or inflation; no address at which cloud machines
find their own credentials, whatever name leads to it.
"""

from __future__ import annotations

import ipaddress
import socket
from functools import lru_cache

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver
from yarl import URL

Session = aiohttp.ClientSession
_READ_BYTES = 1 << 16
"""Once so much is waiting nothing more is read: what one read of the socket brings goes on as it
is, instead of being joined with what the next ones bring."""
_METADATA = frozenset(
    ipaddress.ip_address(text) for text in ("100.100.100.200", "fd00:ec2::254", "192.0.0.192")
)


def session(*, connect_seconds: float, read_seconds: float) -> Session:
    """A session of its own, to be closed by its owner. Seconds: for connecting, and per read."""
    return Session(
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        connector=aiohttp.TCPConnector(limit=0, resolver=CheckedResolver()),
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
    mapped = getattr(found, "ipv4_mapped", None)
    one = mapped or found
    return not (one.is_link_local or one.is_multicast or one.is_unspecified or one in _METADATA)


def check(url: URL) -> None:
    """OSError when the URL names an address that may not be connected to.

    Names are checked when they are resolved; addresses that are written out never are.
    """
    try:
        is_good = is_allowed(url.host or "")
    except ValueError:
        return
    if not is_good:
        raise OSError("this address may not be connected to")


class CheckedResolver(AbstractResolver):
    """Names to addresses, without those that may not be connected to; what is used is checked."""

    def __init__(self) -> None:
        self._resolver = DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The allowed addresses of `host`; OSError when there is none."""
        found = await self._resolver.resolve(host, port, family)
        allowed = [one for one in found if is_allowed(one["host"])]
        if not allowed:
            raise OSError("this name leads to no address that may be connected to")
        return allowed

    async def close(self) -> None:
        """Lets go of the resolver."""
        await self._resolver.close()
