"""Caches for tests: a clock that is moved by hand, and loaders that wait until they are told."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Protocol

import redis.asyncio

from gateway.adapters.cache import Fresh, Lives, Loader, MemoryCache
from gateway.adapters.cache_redis import RedisCache
from gateway.adapters.redis_client import Limits, connect
from gateway.adapters.telemetry import Telemetry

LIVES = Lives(fresh_seconds=60, stale_seconds=3600, absent_seconds=15)
PATIENT = Limits(connect_seconds=5, operation_seconds=5)
KEY = "study/north/1.2.3"


class AnyCache(Protocol):
    """What every cache offers."""

    async def load(self, key: str, loader: Loader) -> bytes: ...
    async def forget(self, key: str) -> None: ...
    async def recall(self, key: str) -> tuple[bytes, ...]: ...
    async def remember(self, key: str, value: bytes) -> None: ...
    async def close(self) -> None: ...


class Clock:
    """A monotonic clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@dataclass
class Source:
    """A loader that counts its runs; with `gate`, each run waits until that is set."""

    value: bytes = b"one"
    is_absent: bool = False
    error: Exception | None = None
    gate: asyncio.Event | None = None
    runs: int = 0
    cancelled: int = 0
    given: list[bytes | None] = field(default_factory=list)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, previous: bytes | None) -> Fresh:
        self.runs += 1
        self.given.append(previous)
        self.started.set()
        try:
            if self.gate is not None:
                await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.ended.set()
        if self.error is not None:
            raise self.error
        return Fresh(value=self.value, is_absent=self.is_absent)


def memory(clock: Clock, *, max_bytes: int = 1 << 20, lives: Lives = LIVES) -> MemoryCache:
    return MemoryCache(lives=lives, max_bytes=max_bytes, telemetry=Telemetry(), clock=clock)


def shared(
    clock: Clock, url: str, *, limits: Limits = PATIENT, telemetry: Telemetry | None = None
) -> RedisCache:
    """A cache as one process has it, over the Redis at `url`."""
    return RedisCache(
        memory(clock),
        connect(url, limits),
        telemetry=telemetry or Telemetry(),
        limits=limits,
        clock=clock,
    )


async def age(url: str, seconds: float) -> None:
    """Let what the Redis at `url` holds grow older by `seconds`, at once."""
    async with redis.asyncio.Redis.from_url(url) as client:
        async for name in client.scan_iter("gw:*"):
            remaining_ms = await client.pttl(name) - round(seconds * 1000)
            await client.pexpire(name, max(0, remaining_ms))


async def settled() -> None:
    """Wait until every other task has come to its end."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        await asyncio.wait({task for task in others if task is not None}, timeout=20)
