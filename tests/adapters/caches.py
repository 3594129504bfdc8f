"""Caches for tests: a clock that is moved by hand, and loaders that wait until they are told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import redis.asyncio

from gateway.adapters.cache import Fresh, Lives, Loader, MemoryCache
from gateway.adapters.cache_names import Key, Names, What
from gateway.adapters.cache_redis import RedisCache
from gateway.adapters.redis_client import Limits, connect
from gateway.adapters.telemetry import Telemetry

LIVES = Lives(fresh_seconds=60, stale_seconds=3600, absent_seconds=15)
PATIENT = Limits(connect_seconds=5, operation_seconds=5)
KEY = Key("study north 1.2.3", study_uid="1.2.3", archives=("north",))


class AnyCache(Protocol):
    """What every cache offers."""

    async def load(self, key: Key, loader: Loader) -> bytes: ...
    async def forget(self, what: What) -> bool: ...
    async def recall(self, key: Key) -> tuple[bytes, ...]: ...
    async def remember(self, key: Key, value: bytes) -> None: ...
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


def key(name: object, archives: tuple[str, ...] = ("north",)) -> Key:
    """The key of something of a study of its own."""
    return Key(f"study {name}", study_uid=f"1.2.{name}", archives=archives)


def memory(
    clock: Callable[[], float],
    *,
    max_bytes: int = 1 << 20,
    lives: Lives = LIVES,
    secret: bytes = b"",
) -> MemoryCache:
    return MemoryCache(
        lives=lives,
        max_bytes=max_bytes,
        telemetry=Telemetry(),
        names=Names(secret),
        clock=clock,
    )


def shared(
    clock: Callable[[], float],
    url: str,
    *,
    limits: Limits = PATIENT,
    telemetry: Telemetry | None = None,
    secret: bytes = b"",
) -> RedisCache:
    """A cache as one process has it, over the Redis at `url`."""
    return RedisCache(
        memory(clock, secret=secret),
        connect(url, limits),
        connect(url, limits.unhurried),
        telemetry=telemetry or Telemetry(),
        secret=secret,
        limits=limits,
        clock=clock,
    )


async def age(url: str, seconds: float) -> None:
    """Let what the Redis at `url` holds grow older by `seconds`, at once."""
    async with redis.asyncio.Redis.from_url(url) as client:
        async for name in client.scan_iter("gw:*{*}*"):
            remaining_ms = await client.pttl(name) - round(seconds * 1000)
            await client.pexpire(name, max(0, remaining_ms))


async def settled() -> None:
    """Wait until every other task has come to its end, but those that listen to notices."""
    mine = asyncio.current_task()
    others = {t for t in asyncio.all_tasks() if t is not mine and t.get_name() != "notices"}
    if others:
        await asyncio.wait(others, timeout=20)


async def heard(*caches: RedisCache) -> None:
    """Wait until these caches hear the notices of others."""
    async with asyncio.timeout(20):
        for cache in caches:
            cache._notices.start()
            while cache._notices.session is None:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)


async def dropped(cache: RedisCache, since: int) -> None:
    """Wait until a notice was heard after the one of this number."""
    async with asyncio.timeout(20):
        while cache._memory.drops.now == since:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0)
