"""The budget of one archive: how many requests may be under way, and who waits for a turn."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.errors import ArchiveBusy

_SHARE_OF_SHORT = 4


class Turns:
    """At most `most` requests at a time; a quarter of them only for those that are soon over.

    A body streams as slowly as its caller reads. Without that share, a few callers that do not read
    would keep everyone from searching.
    """

    def __init__(self, archive: str, most: int, *, queue_seconds: float, max_waiting: int) -> None:
        self._archive = archive
        self._queue_seconds = queue_seconds
        self._max_waiting = max_waiting
        self._free = most
        self._free_for_streams = most - most // _SHARE_OF_SHORT
        self._waiting: deque[tuple[asyncio.Future[None], bool]] = deque()

    @asynccontextmanager
    async def taken(self, *, is_stream: bool) -> AsyncIterator[None]:
        """One turn. ArchiveBusy when too many wait already, or the wait is too long."""
        await self.take(is_stream=is_stream)
        try:
            yield
        finally:
            self.give_back(is_stream=is_stream)

    async def take(self, *, is_stream: bool) -> None:
        """One turn, to be given back. ArchiveBusy as for `taken`."""
        if not self.take_now(is_stream=is_stream):
            await self._wait(is_stream=is_stream)

    def take_now(self, *, is_stream: bool) -> bool:
        """Whether there is a turn at once, which is taken."""
        if self._free <= 0 or (is_stream and self._free_for_streams <= 0):
            return False
        self._free -= 1  # nobody waits who could have it
        if is_stream:
            self._free_for_streams -= 1
        return True

    def give_back(self, *, is_stream: bool) -> None:
        """What `take` took, to whoever waited longest of those who can have it."""
        self._free += 1
        if is_stream:
            self._free_for_streams += 1
        if self._waiting:
            self._let_in()

    async def _wait(self, *, is_stream: bool) -> None:
        if len(self._waiting) >= self._max_waiting:
            raise ArchiveBusy("too many requests wait for it", archive=self._archive)
        mine = (asyncio.get_running_loop().create_future(), is_stream)
        self._waiting.append(mine)
        try:
            async with asyncio.timeout(self._queue_seconds):
                await mine[0]
        except BaseException as error:
            if mine in self._waiting:
                self._waiting.remove(mine)
            else:  # let in and gone at the same time
                self.give_back(is_stream=is_stream)
            if isinstance(error, TimeoutError):
                busy = ArchiveBusy("too many requests under way", archive=self._archive)
                raise busy from error
            raise

    def _let_in(self) -> None:
        """Gives turns to those who wait; one who waits for a stream's holds up no others."""
        for turn, is_stream in tuple(self._waiting):
            if not self._free:
                return
            if self.take_now(is_stream=is_stream):
                self._waiting.remove((turn, is_stream))
                if not turn.done():
                    turn.set_result(None)
