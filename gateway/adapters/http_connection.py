"""One HTTP/1.1 connection to an archive: a request out, its answer in as it comes (RFC 9112).

An answer is pulled: its head, then its body piece by piece, and nothing more is read from the
socket while pieces wait. What is not told by the parser is told here: how long a head may be, how
long each byte may take, and whether another answer may come on the same connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from gateway.adapters.http_answer import FIELDS, READ_BYTES, Answer, BrokenOff, Lost, NotHttp
from gateway.adapters.http_reading import MOST_AT_ONCE, LargeReads

_MOST_WITHOUT_BODY = 1 << 16
"""Bytes of heads, of chunk sizes or of trailers that may come without any of the body."""
_QUICK = 32
"""After so many reads, 8 MB, a reader who always waited is no slow caller: sockets hold less."""
_EARLY_SECONDS = 0.002
"""Timers of some loops ring so much too early."""


class Connection(asyncio.Protocol):
    """A connection that carries one request at a time; opened by a loop, which calls it back."""

    def __init__(
        self, ended: Callable[[Connection], None], free: Callable[[Connection], None]
    ) -> None:
        """`ended` is told when it is closed, `free` when another request may use it."""
        self._loop = asyncio.get_running_loop()
        self._ended = ended
        self._free = free
        self._parser = _parser(self)
        self._transport: asyncio.Transport | None = None
        self._answer: Answer | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._came: Callable[[], None] | None = None
        self._due: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._without_body = 0
        self._is_new = True
        """Whether nothing came of the present answer."""
        self._left = 0  # how much of a large body is still to come, 0 where that is not counted
        self._is_paused = False
        self._quick = 0  # how often the reader was waiting already when as much came as may
        self._reads_much = False
        self._is_spoilt = False

    @property
    def is_open(self) -> bool:
        """Whether a request can be sent."""
        transport = self._transport
        return transport is not None and not transport.is_closing() and not self._is_spoilt

    @property
    def room(self) -> int:
        """How many bytes may come now: many for a reader who has long been waiting for each."""
        if self._waiter is None:
            return READ_BYTES
        return MOST_AT_ONCE if self._quick >= _QUICK else 4 * READ_BYTES

    async def ask(self, request: bytes, seconds: float, head_seconds: float) -> Answer:
        """The answer to a request as soon as its head is there, which may take `head_seconds`.

        No byte may take longer than `seconds`. Lost, NotHttp, TimeoutError: the connection is
        closed then.
        """
        return await self.head(self.send(request), seconds, self._loop.time() + head_seconds)

    def send(self, request: bytes, came: Callable[[], None] | None = None) -> Answer:
        """The answer to a request, on its way. Lost: the connection is closed.

        `came` is called each time that something of it came, or its end, until it is awaited.
        """
        self._answer = answer = Answer(self)
        self._without_body = 0
        self._is_new = True
        transport = self._transport
        if transport is None or self._is_spoilt or transport.is_closing():
            self.abort()
            raise Lost("closed")
        self._came = came
        transport.write(request)
        return answer

    async def head(self, answer: Answer, seconds: float, until: float) -> Answer:
        """What was sent, as soon as its head is there, which may take `until` then; as of `ask`."""
        self._came = self._due = None
        try:
            while not answer.status:
                if answer.error is not None:
                    raise answer.error
                await self.next(min(seconds, max(until - self._loop.time(), 0.0)))
        except BaseException:
            self.abort()
            raise
        return answer

    async def next(self, seconds: float) -> None:
        """Returns when something of the answer came, or its end; TimeoutError: nothing did."""
        self.resume()
        self.watch(seconds)
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
            self._due = None

    def watch(self, seconds: float) -> None:
        """After so long the connection is closed, unless something happens until then.

        One timer that is moved when it rings does for all that the connection waits for.
        """
        self._due = due = self._loop.time() + seconds
        timer = self._timer
        if timer is not None:
            if timer.when() <= due:
                return
            timer.cancel()
        self._timer = self._loop.call_at(due, self._look)

    def done(self, answer: Answer) -> None:
        """Nobody wants more of an answer."""
        if answer is not self._answer:
            return
        self._answer = self._came = None
        if answer.is_whole and self.is_open and self._waiter is None:
            if self._is_paused:
                self.resume()
            self._free(self)
        else:
            self.abort()

    def resume(self) -> None:
        """Reads on where reading had paused."""
        if self._is_paused and self._transport is not None and not self._transport.is_closing():
            self._is_paused = False
            self._transport.resume_reading()

    def abort(self) -> None:
        """Closes the connection at once."""
        self._is_spoilt = True
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The loop has opened it."""
        self._transport = cast(asyncio.Transport, transport)
        if self._is_spoilt:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Bytes came; those that no request asked for end the connection."""
        answer = self._answer
        if answer is None or answer.is_whole:
            self.abort()
            return
        if self._is_new:
            if answer.take_plain(data):
                self._wake()
                return
            self._is_new, self._left, self._quick = False, 0, 0
        if self._left:
            self._count(data)
        else:
            self._parse(answer, data)

    def much_received(self, data: memoryview) -> None:
        """The same of bytes that will not stay where they are; of bodies the parser copies them."""
        answer = self._answer
        if answer is None or answer.is_whole or self._left or not answer.status:
            self.data_received(bytes(data))
        else:
            self._parse(answer, data)

    def _parse(self, answer: Answer, data: bytes | memoryview) -> None:
        self._without_body += len(data)
        try:
            self._parser.feed_data(data)
            if self._without_body > _MOST_WITHOUT_BODY and not answer.is_whole:
                raise NotHttp("a head without end")
        except (HttpParserError, HttpParserUpgrade, NotHttp) as error:
            answer.fail(NotHttp(type(error).__name__))
            self.abort()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over, and with that the answer that was under way."""
        if self._timer is not None:
            self._timer.cancel()
        if (answer := self._answer) is not None and not answer.is_whole:
            if answer.status and exc is None and not (answer.has_end or self._is_spoilt):
                answer.is_whole = True
            else:
                error = BrokenOff("closed") if answer.status else Lost("closed")
                error.__cause__ = exc
                answer.fail(error)
        self._is_spoilt = True
        del self._parser  # which refers to this connection in turn
        self._wake()
        self._ended(self)

    def on_message_begin(self) -> None:
        """The parser: an answer begins, where there ought to be one."""
        if self._answer is None or self._answer.is_whole:
            self._is_spoilt = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """The parser: a field."""
        known = FIELDS.get(name.lower())
        if known is not None and self._answer is not None and not self._answer.is_whole:
            self._answer.field(known, value)

    def on_headers_complete(self) -> None:
        """The parser: the head came."""
        if self._answer is not None and not self._answer.is_whole:
            self._answer.begin(self._parser.get_status_code())
            length = self._answer.length
            self._left = length if length is not None and length > READ_BYTES else 0

    def on_body(self, chunk: bytes) -> None:
        """The parser: a piece of the body."""
        if self._answer is None or self._answer.is_whole:
            return
        self._without_body = 0
        if self._left:
            self._left -= len(chunk)
        if self._answer.add(chunk) and not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()
            self._quick = 0 if self._waiter is None else self._quick + 1
            if not self._reads_much:
                self._reads_much = True
                self._transport.set_protocol(LargeReads(self))  # as is possible while it pauses

    def on_message_complete(self) -> None:
        """The parser: the answer is whole, unless it was one that tells of a later one."""
        if self._answer is None or not self._answer.status:
            return
        self._answer.is_whole = True
        self._is_spoilt = self._is_spoilt or not self._parser.should_keep_alive()

    def _count(self, data: bytes) -> None:
        """More came of a large body whose length is known: of no use to the parser, who copies it.

        The next answer gets another one.
        """
        self._is_spoilt = self._is_spoilt or len(data) > self._left
        self.on_body(data[: self._left])
        if not self._left:
            self.on_message_complete()
            self._parser = _parser(self)
        self._wake()

    def _wake(self) -> None:
        if self._came is not None:
            self._came()
        elif self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _look(self) -> None:
        """Whether what is waited for is late."""
        self._timer = None
        if self._due is None:
            return
        if self._due > self._loop.time() + _EARLY_SECONDS:
            self._timer = self._loop.call_at(self._due, self._look)
            return
        if self._waiter is not None and self._waiter.done():
            return  # something came just now, and whoever waited for it will look on
        if self._waiter is not None:
            self._waiter.set_exception(TimeoutError())
        elif self._came is not None and self._answer is not None:
            self._answer.fail(TimeoutError())
        self.abort()


def _parser(connection: Connection) -> HttpResponseParser:
    """A parser that forgives what old servers do, as far as no two readings of it differ."""
    parser = HttpResponseParser(connection)
    parser.set_dangerous_leniencies(
        lenient_headers=True,
        lenient_optional_cr_before_lf=True,
        lenient_spaces_after_chunk_size=True,
    )
    return parser
