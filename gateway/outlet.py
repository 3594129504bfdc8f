"""The way out of a body: chunk by chunk, and only as long as its caller takes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from aiohttp import ClientConnectionResetError, web
from aiohttp.http import StreamWriter

WRITE_STALL_SECONDS = 30
"""How long a caller may let one chunk wait; then the connection is cut."""
_WORTH_COPYING_BYTES = 1 << 14


class Outlet:
    """The body of an answer on its way out; a caller who does not take it for too long is let go.

    One timer watches over all of its chunks.
    """

    def __init__(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        """`response` is prepared for `request`."""
        writer = request.writer
        self._response = response
        self._loop = asyncio.get_running_loop()
        self._chunks: StreamWriter | None = None
        """Where chunks are written in pieces; asyncio's own transports would join them again."""
        if isinstance(writer, StreamWriter) and not isinstance(self._loop, asyncio.BaseEventLoop):
            self._chunks = writer if writer.chunked else None
        self._waiting_since: float | None = None
        self._held = b""

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[Self]:
        """Itself, to be written to inside: TimeoutError there once the caller does not read."""
        async with asyncio.timeout(None) as limit:
            self._look(limit)
            try:
                yield self
            finally:
                self._timer.cancel()

    def hold(self, text: bytes) -> None:
        """Framing, which goes out together with what comes next."""
        self._held += text

    async def write(self, chunk: bytes) -> None:
        """A chunk of data, taken when this returns or soon after it; nothing for none."""
        if not chunk:  # of nothing, HTTP/1.1 makes the end of a body
            return
        held, self._held = self._held, b""
        self._waiting_since = self._loop.time()
        if len(chunk) < _WORTH_COPYING_BYTES:
            await self._response.write(held + chunk)
        elif self._chunks is not None:
            await _write_chunk(self._chunks, held, chunk)
        else:
            if held:
                await self._response.write(held)
            await self._response.write(chunk)
        self._waiting_since = None

    async def end(self) -> None:
        """The body is whole: what is held, and the end of the answer."""
        self._waiting_since = self._loop.time()
        await self._response.write_eof(self._held)
        self._waiting_since = None

    def _look(self, limit: asyncio.Timeout) -> None:
        now = self._loop.time()
        due = (now if self._waiting_since is None else self._waiting_since) + WRITE_STALL_SECONDS
        if due <= now:
            limit.reschedule(now)
        self._timer = self._loop.call_at(max(due, now), self._look, limit)


async def _write_chunk(writer: StreamWriter, held: bytes, data: bytes) -> None:
    """One chunk (RFC 9112 §7.1) in one call, `data` not copied as by aiohttp."""
    writer.send_headers()
    transport = writer.transport
    if transport is None or transport.is_closing():
        raise ClientConnectionResetError("Cannot write to closing transport")
    head = b"%x\r\n%b" % (len(held) + len(data), held)
    transport.writelines((head, data, b"\r\n"))
    writer.output_size += len(head) + len(data) + 2
    await writer.drain()
