"""The budget of one archive: how many requests may be under way, and who waits for a turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
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
        self._waiting = 0
        self._all = asyncio.Semaphore(most)
        self._streams = asyncio.Semaphore(most - most // _SHARE_OF_SHORT)

    @asynccontextmanager
    async def taken(self, *, is_stream: bool) -> AsyncIterator[None]:
        """One turn. ArchiveBusy when too many wait already, or the wait is too long."""
        needed = (self._streams, self._all) if is_stream else (self._all,)
        held: list[asyncio.Semaphore] = []
        try:
            if any(each.locked() for each in needed):
                await self._wait(held, needed)
            else:
                await _take(held, needed)
            yield
        finally:
            for each in held:
                each.release()

    async def _wait(
        self, held: list[asyncio.Semaphore], needed: Sequence[asyncio.Semaphore]
    ) -> None:
        if self._waiting >= self._max_waiting:
            raise ArchiveBusy("too many requests wait for it", archive=self._archive)
        self._waiting += 1
        try:
            async with asyncio.timeout(self._queue_seconds):
                await _take(held, needed)
        except TimeoutError as error:
            raise ArchiveBusy("too many requests under way", archive=self._archive) from error
        finally:
            self._waiting -= 1


async def _take(held: list[asyncio.Semaphore], needed: Sequence[asyncio.Semaphore]) -> None:
    """Adds each of `needed` to `held` once it is free."""
    for each in needed:
        await each.acquire()
        held.append(each)
