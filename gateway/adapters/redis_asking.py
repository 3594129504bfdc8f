"""Redis asked for something, or left alone: it is away for a while after it failed a few times.

Reads give up quickly, since archives can be asked instead. What keeps processes from building the
same thing at the same time is worth waiting for: a build takes seconds.
One that refuses to be written is still read, and not written for a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from redis.exceptions import (
    AskError,
    ClusterError,
    ResponseError,
    TryAgainError,
)

from gateway.adapters.ended import ended
from gateway.adapters.redis_client import Limits
from gateway.adapters.redis_complaints import Complaints

T = TypeVar("T")
_TURNS = 5
"""So many turns of the loop it takes until an answer that is there has been read."""
OF_A_PART = (AskError, ClusterError, TryAgainError)
"""What one node of a cluster refuses, others may take."""


class Asking:
    """Whether Redis is asked, and how long it may take. The only place where values are read."""

    def __init__(self, limits: Limits, clock: Callable[[], float], complaints: Complaints) -> None:
        """`clock` reads seconds that never go back."""
        self._limits = limits
        self._clock = clock
        self._complaints = complaints
        self._turns = asyncio.Semaphore(limits.max_connections - 1)  # one is for notices
        self._failures = 0
        self._failed_writes = 0
        self._away_until = float("-inf")
        self._unwritten_until = float("-inf")

    @property
    def takes_writes(self) -> bool:
        """Whether it makes sense to write now: Redis is not left alone, and took the last one."""
        return self._clock() >= max(self._away_until, self._unwritten_until)

    async def asked(self, ask: Callable[[], Awaitable[T]], *, is_write: bool = False) -> T | None:
        """What Redis answers; None while it is away.

        Whatever it says when it refuses a write, it is not written for a while: full, read-only,
        without replicas, unable to save, or by its ACL. That says nothing of reads, nor do they.
        """
        async with self._turns:
            if self._clock() < self._away_until:
                return None
            if self._failures >= self._limits.max_failures:
                self._pause()  # until this one, the only one let through, has succeeded
            try:
                answer = await self._in_time(ask)
            except Exception as error:  # whatever redis-py raises: it must not reach a request
                self._complaints.say(error)
                if is_write and isinstance(error, ResponseError):
                    self._unwritable(error)
                else:
                    self._failed(is_write=is_write)
                return None
            self._failures = 0
            if is_write:
                self._failed_writes = 0
            self._away_until = float("-inf")
            return answer

    async def close(self) -> None:
        """Ends what is being asked still."""

    async def _in_time(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What Redis answers; TimeoutError when it takes too long."""
        async with asyncio.timeout(self._limits.total_seconds):
            return await ask()

    def _unwritable(self, error: ResponseError) -> None:
        if not isinstance(error, OF_A_PART):
            self._unwritten_until = self._clock() + self._limits.full_pause_seconds

    def _failed(self, *, is_write: bool) -> None:
        """Without an answer. Writes alone may hang, as while a master hands over."""
        self._failed_writes += is_write
        if self._failed_writes >= self._limits.max_failures:
            self._unwritten_until = self._clock() + self._limits.pause_seconds
        self._failures += 1
        if self._failures >= self._limits.max_failures:
            self._pause()

    def _pause(self) -> None:
        self._away_until = self._clock() + self._limits.pause_seconds


class PatientAsking(Asking):
    """The same for builds: an answer that is late is waited for, one that does not come only once.

    Its client's connections wait longer than any caller here. So whoever gives up, or is cancelled,
    leaves a connection behind that others can use, when Redis is late and not away.
    """

    def __init__(
        self,
        limits: Limits,
        clock: Callable[[], float],
        complaints: Complaints,
        least_seconds: float = 0.0,
    ) -> None:
        """`least_seconds`: so long is waited at the least, whatever the limits are."""
        super().__init__(replace(limits, max_failures=1), clock, complaints)
        self._most_seconds = max(limits.total_seconds, least_seconds)
        self._running: set[asyncio.Task[object]] = set()

    async def close(self) -> None:
        """Ends what is being asked still."""
        await ended(self._running)

    async def _in_time(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What Redis answers; TimeoutError when it takes too long.

        An answer that came while this process was busy with something else is not late.
        """
        # Not a TaskGroup: it goes on when its caller has left. Owned here until its end.
        task = asyncio.ensure_future(ask())
        self._running.add(task)
        task.add_done_callback(self._ended)
        await asyncio.wait({task}, timeout=self._most_seconds)
        for _ in range(_TURNS):
            if not task.done():
                await asyncio.sleep(0)
        if not task.done():
            raise TimeoutError
        return task.result()

    def _ended(self, task: asyncio.Task[object]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited was told; nobody else is
