"""The cache that all processes and replicas share: Redis behind the cache in this process.

Redis can only spare work. While it is away, slow, full or holds garbage the cache in this process
goes on alone. A value in this process is believed without a look into Redis for `LOOK_SECONDS`:
so long may another replica serve what was forgotten through this one.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster

from gateway.adapters.cache import Fresh, Loader, MemoryCache
from gateway.adapters.flights import Flights
from gateway.adapters.redis_client import DEFAULT_LIMITS, Limits
from gateway.adapters.redis_store import LOCK_SECONDS, Kept, Lock, RedisStore, Seen
from gateway.adapters.telemetry import Telemetry

LAYER = "redis"
LOOK_SECONDS = 1.0
"""How long a value in this process is believed before Redis is asked for a newer one."""
MAX_LOOKS = 100_000
"""Keys whose last look into Redis is remembered."""
WAIT_SECONDS = 2.0
"""How long a load waits for the same load of another process, then it goes on its own."""
POLL_SECONDS = 0.025
SPREAD_SECONDS = 0.5
"""How long writing to Redis may take, and how far apart the clocks of processes may be."""


class RedisCache:
    """`MemoryCache`'s protocol, over one such cache and Redis. Whoever makes it closes it."""

    lag_seconds = LOOK_SECONDS + SPREAD_SECONDS
    """How long after a load another process may still serve what was there before it."""

    def __init__(
        self,
        memory: MemoryCache,
        client: Redis | RedisCluster,
        *,
        telemetry: Telemetry,
        limits: Limits = DEFAULT_LIMITS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Both `memory` and `client` are closed with this cache."""
        self._memory = memory
        self._lives = memory.lives
        self._store = RedisStore(
            client,
            limits=limits,
            longest_seconds=max(self._lives.fresh_seconds, self._lives.stale_seconds),
            clock=clock,
        )
        self._telemetry = telemetry
        self._clock = clock
        self._looked_at: dict[str, float] = {}
        self._looks: Flights[None] = Flights()

    async def load(self, key: str, loader: Loader) -> bytes:
        """The value of `key`, from a cache or from `loader`, which runs once for all processes.

        Raises what `loader` raises, unless it is an archive's failure and a stale value is known.
        """
        if self._clock() - self._looked_at.get(key, float("-inf")) >= LOOK_SECONDS:
            await self._looks.join(key, lambda: self._look(key))
        return await self._memory.load(key, lambda previous: self._load(key, loader, previous))

    def is_current(self, key: str, value: bytes) -> bool:
        """Whether a load of `key` would give this very value, and ask nobody."""
        age_seconds = self._clock() - self._looked_at.get(key, float("-inf"))
        return age_seconds < LOOK_SECONDS and self._memory.is_current(key, value)

    async def forget(self, key: str) -> None:
        """Drop the value of `key` everywhere; other processes notice within `LOOK_SECONDS`."""
        self._memory.drop(key)
        self._looks.forget(key)
        self._looked_at.pop(key, None)
        await self._store.forget(key)

    async def recall(self, key: str) -> tuple[bytes, ...]:
        """What was remembered under `key`, here and in Redis; () when both have lost it."""
        shared = await self._store.recall(key)
        return (*await self._memory.recall(key), *(() if shared is None else (shared,)))

    async def remember(self, key: str, value: bytes) -> None:
        """Keep a small `value` under `key` here and in Redis; `forget` does not reach it."""
        await self._memory.remember(key, value)
        await self._store.remember(key, value)

    async def close(self) -> None:
        """Cancel the loads under way, wait for their end, close the connections."""
        await self._looks.close()
        await self._memory.close()
        await self._store.close()

    async def _look(self, key: str) -> None:
        """Bring what this process holds for `key` up to what Redis holds, where that answers."""
        seen = await self._store.look(key)
        if not self._looks.is_mine(key):
            return
        if len(self._looked_at) >= MAX_LOOKS:
            self._looked_at.clear()
        self._looked_at[key] = self._clock()
        if seen is None:
            self._telemetry.cache_read(LAYER, "error")
            return
        self._telemetry.cache_read(LAYER, self._outcome(seen))
        self._follow(key, seen)

    def _follow(self, key: str, seen: Seen) -> None:
        """Take the value that was seen if it is newer; drop or doubt one unknown to Redis."""
        held = self._memory.peek(key)
        is_of_epoch = held is not None and held.epoch == seen.epoch
        if seen.kept is not None:
            if held is None or not is_of_epoch or seen.kept.age_seconds < held.age_seconds:
                self._memory.put(key, _fresh(seen.kept, seen.epoch))
        elif held is not None and seen.is_forgotten and not is_of_epoch:
            self._memory.drop(key)
        elif held is not None and not self._lives.is_fresh(held):
            self._memory.doubt(key)

    def _outcome(self, seen: Seen) -> str:
        if seen.kept is None:
            return "miss"
        return "hit" if self._lives.is_fresh(_fresh(seen.kept, seen.epoch)) else "stale"

    async def _load(self, key: str, loader: Loader, previous: bytes | None) -> Fresh:
        """A load that no other process does at the same time, as long as Redis answers.

        A revalidation, which keeps nobody waiting, gives way as long as a lock can live.
        """
        held = self._memory.peek(key)
        patience_seconds = WAIT_SECONDS if previous is None else LOCK_SECONDS
        seen = await self._store.look(key)
        for _ in range(round(patience_seconds / POLL_SECONDS)):
            if seen is None:
                break
            if seen.kept is not None and self._lives.is_fresh(_fresh(seen.kept, seen.epoch)):
                return _fresh(seen.kept, seen.epoch)
            if held is None or held.epoch != seen.epoch:
                previous = None
            if lock := await self._store.lock(key, seen.epoch):
                return await self._locked_load(key, loader, previous, seen, lock)
            if not self._store.takes_writes:
                break
            await asyncio.sleep(POLL_SECONDS)
            seen = await self._store.look(key)
        return await self._own_load(key, loader, previous, seen)

    async def _locked_load(
        self, key: str, loader: Loader, previous: bytes | None, before: Seen, lock: Lock
    ) -> Fresh:
        """The load, unless another process finished the same one just before the lock was taken."""
        try:
            seen = await self._store.look(key) or before
            if seen.kept is not None and self._lives.is_fresh(_fresh(seen.kept, seen.epoch)):
                return _fresh(seen.kept, seen.epoch)
            return await self._own_load(
                key, loader, previous if seen.epoch == before.epoch else None, seen
            )
        finally:
            await self._store.release(lock)

    async def _own_load(
        self, key: str, loader: Loader, previous: bytes | None, seen: Seen | None
    ) -> Fresh:
        """The load itself; its value is for the epoch that was seen before it began."""
        fresh = await loader(previous)
        if seen is None:
            return fresh
        kept = Kept(value=fresh.value, is_absent=fresh.is_absent, age_seconds=fresh.age_seconds)
        await self._store.keep(key, kept, seen.epoch, self._lives.longest_seconds(fresh))
        return dataclasses.replace(fresh, epoch=seen.epoch)


def _fresh(kept: Kept, epoch: bytes) -> Fresh:
    """What was seen in Redis, as the cache in this process keeps it."""
    return Fresh(
        value=kept.value, is_absent=kept.is_absent, age_seconds=kept.age_seconds, epoch=epoch
    )
