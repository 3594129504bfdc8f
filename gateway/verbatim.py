"""Requests that come again byte by byte, but for their ids, answered as they are read.

This reaches below aiohttp's request machinery, by what is private to it: a connection of which
nothing but whole requests was ever seen, one at a time, is looked after here while it is idle.
Everything else is aiohttp's. What is answered here was answered twice before, once by the handler
and once by `answered_before`, which decides each time whether it still may.
"""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from aiohttp import web

from gateway import answered_before
from gateway.answered_before import ANSWERED_BEFORE, AnsweredBefore, Ready
from gateway.rules import request_bytes

MOST = 4096
"""Requests whose bytes are known; after that, all are forgotten."""
MAX_BYTES = 8192
"""Of a request that is looked for by its bytes."""
_OF_CONNECTIONS = ("_loop", "_messages", "_next_keepalive_close_time", "_waiter")
_OF_SERVERS = ("_kwargs", "_loop")
_log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)


def runner(*, is_wanted: bool) -> type[web.AppRunner]:
    """What runs an application: so where that is wanted and possible, else as aiohttp does."""
    absent = [name for name in _OF_CONNECTIONS if name not in dir(web.RequestHandler)]
    made = web.Server(_nothing, loop=asyncio.get_running_loop())
    absent += [name for name in _OF_SERVERS if not hasattr(made, name)]
    if is_wanted and absent:
        _log.warning("repeats are not answered as they are read", cause=", ".join(absent))
    return Runner if is_wanted and not absent else web.AppRunner


async def _nothing(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(status=404)


class Connection(web.RequestHandler):
    """A connection to a caller."""

    __slots__ = ("_address", "_before", "_is_new", "_is_odd", "_known", "segment")

    def __init__(
        self,
        answers: AnsweredBefore,
        known: dict[bytes, Ready],
        server: web.Server,
        **settings: Any,
    ) -> None:
        super().__init__(server, **settings)
        self._before = answers
        self._known = known
        self._address: str | None = None
        self._is_new, self._is_odd = True, False
        self.segment: bytes | None = None
        """The bytes of the request that is answered now, where they were all that was read."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The address is that of the connection, as long as it lasts."""
        super().connection_made(transport)
        peer = self.peername
        self._address = str(peer[0]) if isinstance(peer, tuple) else None

    def data_received(self, data: bytes) -> None:
        """Answers what is known; all else is read in the ordinary way."""
        if self._is_odd:
            super().data_received(data)
            return
        is_idle = self._is_idle()
        if is_idle and len(data) <= MAX_BYTES and self._has_answered(data):
            return
        self.segment = data if (is_idle or self._is_new) and request_bytes.is_whole(data) else None
        super().data_received(data)
        self._is_new, self._is_odd = False, self.segment is None or len(self._messages) != 1

    def _is_idle(self) -> bool:
        """Whether the next request is waited for, and nothing on its way out is waiting."""
        waiter = self._waiter
        return (
            waiter is not None
            and not waiter.done()
            and not self._messages
            and not self.writing_paused
        )

    def _has_answered(self, data: bytes) -> bool:
        key, given = data, None
        ready = self._known.get(data)
        if ready is None:
            key, given = request_bytes.apart(data)
            ready = self._known.get(key)
        transport = self.transport
        if ready is None or transport is None or transport.is_closing():
            return False
        answer = self._before.again(ready, given, self._address)
        if answer is None:
            del self._known[key]
            return False
        for piece in answered_before.pieces(*answer):
            transport.write(piece)
        self._next_keepalive_close_time = self._loop.time() + self.keepalive_timeout
        return True


class Runner(web.AppRunner):
    """Runs an application whose connections are `Connection`s."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(made, self.app[ANSWERED_BEFORE])


class _Server(web.Server):
    def __init__(self, made: web.Server, answers: AnsweredBefore) -> None:
        super().__init__(
            made.request_handler,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            **made._kwargs,
        )
        self._before = answers
        self._known: dict[bytes, Ready] = {}
        answers.given = self._learn

    def __call__(self) -> web.RequestHandler:
        return Connection(self._before, self._known, self, loop=self._loop, **self._kwargs)

    def _learn(self, request: web.BaseRequest, ready: Ready) -> None:
        """The bytes of a request whose answer was at hand."""
        segment = request.protocol.segment if isinstance(request.protocol, Connection) else None
        if segment is None:
            return
        key, _ = request_bytes.apart(segment)
        if not request_bytes.has_id(key):
            if len(self._known) >= MOST:
                self._known.clear()
            self._known[key] = ready
