"""Redis asked for something, or left alone: it is away for a while after it failed a few times."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from redis.exceptions import (
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
)

from gateway.adapters.redis_client import Complaints, Limits

T = TypeVar("T")


class Asking:
    """Whether Redis is asked, and how long it may take. The only place where values are read."""

    def __init__(self, limits: Limits, clock: Callable[[], float], complaints: Complaints) -> None:
        """`clock` reads seconds that never go back."""
        self._limits = limits
        self._clock = clock
        self._complaints = complaints
        self._turns = asyncio.Semaphore(limits.max_connections - 1)  # one is for notices
        self._failures = 0
        self._away_until = float("-inf")
        self._full_until = float("-inf")

    @property
    def takes_writes(self) -> bool:
        """Whether it makes sense to write now: Redis is neither left alone nor full."""
        return self._clock() >= max(self._away_until, self._full_until)

    async def asked(self, ask: Callable[[], Awaitable[T]]) -> T | None:
        """What Redis answers; None while it is away."""
        async with self._turns:
            if self._clock() < self._away_until:
                return None
            if self._failures >= self._limits.max_failures:
                self._pause()  # until this one, the only one let through, has succeeded
            try:
                async with asyncio.timeout(self._limits.total_seconds):
                    answer = await ask()
            except (OutOfMemoryError, ReadOnlyError) as error:
                self._full_until = self._clock() + self._limits.full_pause_seconds
                self._complaints.say(error)
                return None
            except (RedisError, RedisClusterException, OSError, TimeoutError) as error:
                self._failed(error)
                return None
            self._failures = 0
            self._away_until = float("-inf")
            return answer

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        if self._failures >= self._limits.max_failures:
            self._pause()
        self._complaints.say(error)

    def _pause(self) -> None:
        self._away_until = self._clock() + self._limits.pause_seconds
