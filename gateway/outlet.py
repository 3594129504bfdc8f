"""The way out of a body: chunk by chunk, and only as long as its caller takes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from aiohttp import web

WRITE_STALL_SECONDS = 30
"""How long a caller may let one chunk wait; then the connection is cut."""
_WORTH_COPYING_BYTES = 1 << 14


class Outlet:
    """The body of an answer on its way out; a caller who does not take it for too long is let go.

    One timer watches over all of its chunks.
    """

    def __init__(self, response: web.StreamResponse) -> None:
        self._response = response
        self._loop = asyncio.get_running_loop()
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
            chunk, held = held + chunk, b""
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
