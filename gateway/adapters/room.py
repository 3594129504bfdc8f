"""Bytes that may be held in memory at a time; who waits for some in the queue holds none."""

from __future__ import annotations

import asyncio
from collections import deque


class Room:
    """`most` bytes, in the order of asking; what is held may grow past those who wait."""

    def __init__(self, most: int) -> None:
        self.free = most
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def share(self, size: int, seconds: float) -> Share:
        """Room for `size` bytes, to be given back. TimeoutError when there is none in `seconds`."""
        if self._waiting or not self.take(size):
            await self._wait(size, seconds)
        return Share(self, size)

    def take(self, size: int) -> bool:
        """Whether there are `size` bytes at this moment, which then are taken."""
        if size > self.free:
            return False
        self.free -= size
        return True

    def give_back(self, size: int) -> None:
        """What was taken, to those who waited longest."""
        self.free += size
        self._let_in()

    async def _wait(self, size: int, seconds: float) -> None:
        mine = size, asyncio.get_running_loop().create_future()
        self._waiting.append(mine)
        try:
            async with asyncio.timeout(seconds):
                await mine[1]
        except BaseException:
            if mine in self._waiting:
                self._waiting.remove(mine)
                self._let_in()  # it may have stood before somebody who needs less
            else:
                self.give_back(size)  # it had come just then
            raise

    def _let_in(self) -> None:
        while self._waiting and self.take(self._waiting[0][0]):
            self._waiting.popleft()[1].set_result(None)


class Share:
    """What one has of a room."""

    def __init__(self, room: Room, size: int) -> None:
        self._room = room
        self.size = size

    def grown(self, size: int) -> bool:
        """Whether it has `size` bytes now, which it may have had before."""
        missing = size - self.size
        if missing > 0:
            if not self._room.take(missing):
                return False
            self.size = size
        return True

    def give_back(self) -> None:
        """Give back all of it."""
        size, self.size = self.size, 0
        self._room.give_back(size)
