"""Requests in words that came before, but for their ids, answered as they are read.

This reaches below aiohttp's request machinery, by what is private to it: a connection of which
nothing but whole requests was ever seen, one at a time, is looked after here while it is idle.
Everything else is aiohttp's. What is answered here was answered before: byte by byte the same,
twice, by the handler and by `answered_before`; or in the same words but for which frame is meant
(`quick_frames`). These decide each time whether it still may.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from aiohttp import web

from gateway import answered_before, frame_words
from gateway.adapters.asked_ahead import AHEAD
from gateway.adapters.budgets import HELD
from gateway.answered_before import ANSWERED_BEFORE, AnsweredBefore, Ready
from gateway.quick_frames import QUICK_FRAMES, Fetching, HandedOver, QuickFrames
from gateway.rules import request_bytes

MOST = 4096
"""Requests whose bytes are known; after that, all are forgotten."""
MAX_BYTES = 8192
"""Of a request that is looked for by its bytes."""
_OF_CONNECTIONS = (
    "_loop", "_messages", "_next_keepalive_close_time", "_process_keepalive",
    "_request_in_progress", "_waiter",
)  # fmt: skip
_OF_SERVERS = ("_kwargs", "_loop")
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
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

    __slots__ = ("_address", "_before", "_early", "_fetching", "_frames", "_handed_over",
                 "_is_new", "_is_odd", "_known", "_waiting", "segment")  # fmt: skip

    def __init__(
        self,
        answers: AnsweredBefore,
        frames: QuickFrames,
        known: dict[bytes, Ready],
        server: web.Server,
        **settings: Any,
    ) -> None:
        super().__init__(server, **settings)
        self._before = answers
        self._frames = frames
        self._known = known
        self._address: bytes | None = None
        self._fetching: Fetching | None = None
        self._waiting = self._early = b""
        self._handed_over: HandedOver | None = None
        self._is_new, self._is_odd = True, False
        self.segment: bytes | None = None
        """The bytes of the request that is answered now, where they were all that was read."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The address is that of the connection, as long as it lasts."""
        super().connection_made(transport)
        peer = self.peername
        self._address = str(peer[0]).encode() if isinstance(peer, tuple) else None

    def connection_lost(self, exc: BaseException | None) -> None:
        """What is fetched is wanted no more."""
        fetching, self._fetching, self._early = self._fetching, None, b""
        if fetching is not None:
            fetching.leave()
        self._drop()
        super().connection_lost(exc)

    def close(self) -> None:
        """No more requests; what came goes the ordinary way, which is waited for."""
        self._go_on()
        super().close()

    def data_received(self, data: bytes) -> None:
        """Answers what is known; all else is read in the ordinary way."""
        if self._fetching is not None or self._early:
            self._go_on()
        if self._is_odd:
            super().data_received(data)
        elif not self._is_idle():
            self._come_between(data)
        elif len(data) > MAX_BYTES or not (self._fetches(data) or self._has_answered(data)):
            self._read(data, is_alone=True)

    def _come_between(self, data: bytes) -> None:
        """What comes while nothing is waited for: as the first one does, or very soon."""
        if self._is_ending() and request_bytes.is_whole(data):
            self._early = data
            self._loop.call_soon(self._come_again)
        else:
            self._read(data, is_alone=self._is_new)

    def _come_again(self) -> None:
        """What came early, once the end of what was before it had its turn."""
        early, self._early = self._early, b""
        if not early:
            return
        is_idle = self._is_idle()
        is_quick = is_idle and len(early) <= MAX_BYTES
        if not (is_quick and (self._fetches(early) or self._has_answered(early))):
            self._read(early, is_alone=is_idle or self._is_new)

    def handed_over(self) -> HandedOver | None:
        """What the request that is answered now has already; given once."""
        handed_over, self._handed_over = self._handed_over, None
        return handed_over

    def _process_keepalive(self) -> None:
        """The time of an idle connection is over; one for which something is fetched is none."""
        self._go_on()
        super()._process_keepalive()

    def _read(self, data: bytes, *, is_alone: bool) -> None:
        """The ordinary way; `is_alone`: nothing that came before waits for its answer."""
        is_whole, before = request_bytes.is_whole(data), len(self._messages)
        self.segment = data if is_whole and is_alone else None
        super().data_received(data)
        self._is_new = False
        self._is_odd = not is_whole or len(self._messages) != before + 1

    def _fetches(self, data: bytes) -> bool:
        """Whether a request is for a frame that is fetched now."""
        if frame_words.MARK not in data or self._address is None:
            return False
        fetching = self._frames.begun(data, self._address, self._fetched)
        if fetching is None:
            return False
        self._fetching, self._waiting = fetching, data
        return True

    def _fetched(self, fetching: Fetching, answer: bytes | None) -> None:
        """A frame came, whole, or what has to be looked at in the ordinary way."""
        if fetching is not self._fetching:
            return
        if answer is None:
            self._hand_over()
            return
        self._fetching = None
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(answer)
        self._next_keepalive_close_time = self._loop.time() + self.keepalive_timeout

    def _go_on(self) -> None:
        """What was not answered yet goes the ordinary way."""
        early, self._early = self._early, b""
        if early:
            self._read(early, is_alone=False)
        self._hand_over()

    def _hand_over(self) -> None:
        """What is fetched goes on in the ordinary way."""
        fetching, self._fetching = self._fetching, None
        if fetching is not None:
            self._handed_over = fetching.handed_over()
            self._read(self._waiting, is_alone=True)
            if self._is_odd:  # nothing is read any more
                self._drop()

    def _drop(self) -> None:
        """What was handed over is wanted no more."""
        if (handed_over := self.handed_over()) is not None:
            handed_over.end()

    def _is_idle(self) -> bool:
        """Whether the next request is waited for, and nothing on its way out is waiting."""
        waiter = self._waiter
        return (
            waiter is not None
            and not waiter.done()
            and not self._messages
            and not self.writing_paused
        )

    def _is_ending(self) -> bool:
        """Whether what came last was answered, and aiohttp has yet to note that.

        Callers that are near ask for the next in the meantime.
        """
        is_waited_for = self._waiter is not None
        return not (is_waited_for or self._messages or self._request_in_progress or self._is_new)

    def _has_answered(self, data: bytes) -> bool:
        key, given = data, None
        ready = self._known.get(data)
        if ready is None and request_bytes.is_whole(data):
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
        return _Server(made, self.app[ANSWERED_BEFORE], self.app[QUICK_FRAMES])


class _Server(web.Server):
    def __init__(self, made: web.Server, answers: AnsweredBefore, frames: QuickFrames) -> None:
        super().__init__(
            _going_on(made.request_handler),
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            **made._kwargs,
        )
        self._before = answers
        self._known: dict[bytes, Ready] = {}
        self._frames = frames
        answers.given = self._learn
        frames.segment_of = _segment

    def __call__(self) -> web.RequestHandler:
        return Connection(
            self._before, self._frames, self._known, self, loop=self._loop, **self._kwargs
        )

    def _learn(self, request: web.BaseRequest, ready: Ready) -> None:
        """The bytes of a request whose answer was at hand."""
        segment = _segment(request)
        if segment is None:
            return
        key, _ = request_bytes.apart(segment)
        if not request_bytes.has_id(key):
            if len(self._known) >= MOST:
                self._known.clear()
            self._known[key] = ready


def _segment(request: web.BaseRequest) -> bytes | None:
    """The bytes of a request, where they were all that was read."""
    return request.protocol.segment if isinstance(request.protocol, Connection) else None


def _going_on(ordinary: Handler) -> Handler:
    """The ordinary way, which takes over what was asked of archives already.

    At once, or not at all: while a request waits for anything else its question must not keep a
    turn, for which that may wait.
    """

    async def handled(request: web.BaseRequest) -> web.StreamResponse:
        protocol = request.protocol
        taken = protocol.handed_over() if isinstance(protocol, Connection) else None
        if taken is None:
            return await ordinary(request)
        ahead, held = AHEAD.set(taken.ahead), HELD.set(taken.place)
        asyncio.get_running_loop().call_soon(taken.ahead.end)
        try:
            return await ordinary(request)
        finally:
            taken.end()
            AHEAD.reset(ahead)  # what comes next on the connection has neither
            HELD.reset(held)

    return handled
