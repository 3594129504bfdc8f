"""The right to load a value, held by one process at a time for as long as it lives.

A lock ends soon after its holder did, and its holder renews it as long as it loads. So a load may
take as long as archives take, and a holder that died costs the others no more than `LOCK_SECONDS`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster

from gateway.adapters.ended import ended
from gateway.adapters.redis_asking import Asking

LOCK_SECONDS = 2.0
"""So long after its lock was last renewed a load is abandoned; another process may start it."""
_LIFE_MS = round(LOCK_SECONDS * 1000)
RENEW_SECONDS = 0.5
LOCK_MARGIN_SECONDS = 0.5
"""A lock this close to its end is neither renewed nor given back: it may be another's by now."""


class NoLock(Enum):
    """Why there is no lock. Only that of another process is worth waiting for."""

    HELD = "another process has it"
    UNASKED = "it could not be asked for"


@dataclass(slots=True, kw_only=True)
class Lock:
    """The right to load a value, taken or last renewed `at`."""

    name: str
    at: float


class Locks:
    """The locks in one Redis. While it is away there are none, and nobody gets one."""

    def __init__(
        self, client: Redis | RedisCluster, asking: Asking, clock: Callable[[], float]
    ) -> None:
        self._client = client
        self._asking = asking
        self._clock = clock

    async def taken(self, name: str) -> Lock | NoLock:
        """The lock of that name, or why there is none."""
        if not self._asking.takes_writes:
            return NoLock.UNASKED
        at = self._clock()
        is_mine = await self._asking.asked(lambda: self._take(name), is_write=True)
        if is_mine is None:
            return NoLock.UNASKED
        return Lock(name=name, at=at) if is_mine else NoLock.HELD

    @asynccontextmanager
    async def held(self, lock: Lock) -> AsyncIterator[None]:
        """While something is loaded: `lock` is renewed, and given back afterwards."""
        # Not a TaskGroup: what the load raises is to be raised as it is.
        renewing = asyncio.get_running_loop().create_task(self._renew(lock), name="lock")
        try:
            yield
        finally:
            await ended([renewing])
            await self.release(lock)

    async def release(self, lock: Lock) -> None:
        """Give `lock` back, unless so much time went by that it may be another's by now."""
        if self._is_mine(lock):
            await self._asking.asked(lambda: self._client.delete(lock.name), is_write=True)

    async def _take(self, name: str) -> bool:
        return bool(await self._client.set(name, b"1", nx=True, px=_LIFE_MS))

    async def _renew(self, lock: Lock) -> None:
        while self._is_mine(lock):
            await asyncio.sleep(RENEW_SECONDS)
            at = self._clock()
            if not self._is_mine(lock):
                return
            was_there = await self._asking.asked(
                lambda: self._client.pexpire(lock.name, _LIFE_MS), is_write=True
            )
            if was_there:
                lock.at = at
            elif was_there is not None:
                lock.at = float("-inf")  # Redis lost it, and another may have it
                return

    def _is_mine(self, lock: Lock) -> bool:
        return self._clock() - lock.at < LOCK_SECONDS - LOCK_MARGIN_SECONDS
