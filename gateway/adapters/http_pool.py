"""Connections to the servers of one archive, kept open between requests.

An address is looked at when its socket is made, whatever led to it. A connection serves only the
origin, and only with the certificates, that it was opened for.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import Any

import aiohappyeyeballs

from gateway.adapters.http_connection import Connection
from gateway.adapters.http_requests import Origin
from gateway.adapters.http_sessions import checked_socket, verifying

_Way = tuple[Origin, ssl.SSLContext | None]
"""A server, and the certificates that connections to it were opened with."""
_KEPT_SECONDS = 15.0
"""How long a connection may wait for its next request; most servers close theirs sooner."""
_NAMES_SECONDS = 10.0
"""How long the addresses of a name are believed, for servers that close every connection."""
_NEXT_ADDRESS_SECONDS = 0.25
"""After so long the next address of a name is tried beside the first (RFC 8305 §5)."""


class Pool:
    """The connections of one client."""

    def __init__(self, *, connect_seconds: float) -> None:
        self._connect_seconds = connect_seconds
        self._idle: dict[_Way, list[Connection]] = {}
        self._open: dict[Connection, _Way] = {}
        self._all_ended = asyncio.Event()
        self._addresses: dict[Origin, tuple[float, list[Any]]] = {}
        self._is_closed = False

    def kept(self, to: Origin, context: ssl.SSLContext | None = None) -> Connection | None:
        """A connection that waits for its next request; None: none does.

        `context`: the certificates for TLS, None: those of the system.
        """
        idle = self._idle.get(_way(to, context))
        while idle:
            found = idle.pop()
            if found.is_open:
                return found
        return None

    async def new(self, to: Origin, context: ssl.SSLContext | None = None) -> Connection:
        """A new one; OSError, TimeoutError: it cannot be had."""
        async with asyncio.timeout(self._connect_seconds):
            return await self._opened(_way(to, context), await self._connected(to))

    async def close(self) -> None:
        """Closes all connections."""
        self._is_closed = True
        self._idle.clear()
        for each in tuple(self._open):
            each.abort()
        if self._open:
            await self._all_ended.wait()

    async def _opened(self, way: _Way, connected: socket.socket) -> Connection:
        to, context = way
        made = Connection(self._ended, self._free)
        self._open[made] = way
        self._all_ended.clear()
        try:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().create_connection(
                lambda: made,
                sock=connected,
                ssl=context,
                server_hostname=None if context is None else to.host,
            )
        except BaseException:
            self._ended(made)
            with contextlib.suppress(OSError):
                connected.close()
            raise
        return made

    async def _connected(self, to: Origin) -> socket.socket:
        if self._is_closed:
            raise OSError("the pool is closed")
        try:
            return await aiohappyeyeballs.start_connection(
                await self._found(to),
                happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS,
                socket_factory=checked_socket,
            )
        except RuntimeError as error:  # as which uvloop tells some of them
            raise OSError("no connection") from error

    async def _found(self, to: Origin) -> list[Any]:
        """The addresses of a server."""
        loop = asyncio.get_running_loop()
        until, found = self._addresses.get(to, (0.0, []))
        if loop.time() >= until:
            found = await loop.getaddrinfo(to.host, to.port, type=socket.SOCK_STREAM)
            self._addresses[to] = (loop.time() + _NAMES_SECONDS, found)
        return found

    def _free(self, connection: Connection) -> None:
        way = self._open.get(connection)
        if way is None or self._is_closed:
            connection.abort()
            return
        connection.watch(_KEPT_SECONDS)
        self._idle.setdefault(way, []).append(connection)

    def _ended(self, connection: Connection) -> None:
        way = self._open.pop(connection, None)
        if way is not None and connection in (idle := self._idle.get(way, [])):
            idle.remove(connection)
        if not self._open:
            self._all_ended.set()


def _way(to: Origin, context: ssl.SSLContext | None) -> _Way:
    return to, (context or verifying()) if to.is_tls else None
