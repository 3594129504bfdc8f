"""One load for all processes that share a Redis, as long as that answers, and not much slower.

What a load asks of Redis before it begins may take `LOAD_SECONDS` in all: then it goes on without.
What it brought is stored in the background when that takes longer than `KEEP_SECONDS`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, TypeVar

from gateway.adapters.cache import Fresh, Lives, Loader
from gateway.adapters.cache_names import Key
from gateway.adapters.ended import ended
from gateway.adapters.redis_locks import Lock, NoLock
from gateway.adapters.redis_store import Kept, RedisStore, Seen

T = TypeVar("T")
WAIT_SECONDS = 60.0
"""How long a load waits for the same load of another, living process; then it goes on its own."""
POLL_SECONDS = 0.025
LOAD_SECONDS = 0.45
KEEP_SECONDS = 0.05
_STEP_SECONDS = 0.05
STORE_SECONDS = 5.0
"""How long those wait who need to know that what was loaded is stored."""
LAST_SECONDS = 0.5
"""How long a process that ends waits for what it is storing."""


class Patience:
    """How long one load may still wait for Redis."""

    def __init__(self) -> None:
        self._left_seconds = LOAD_SECONDS

    async def until(self, task: asyncio.Task[T], most_seconds: float = LOAD_SECONDS) -> T | None:
        """What `task` gives, or None: it takes too long, and goes on alone."""
        while not task.done() and self._left_seconds > 0 and most_seconds > 0:
            # In small steps, of which each counts as no more: this process may have been busy.
            step_seconds = min(_STEP_SECONDS, self._left_seconds, most_seconds)
            started = time.monotonic()
            await asyncio.wait({task}, timeout=step_seconds)
            spent_seconds = min(step_seconds, time.monotonic() - started)
            self._left_seconds -= spent_seconds
            most_seconds -= step_seconds
        return task.result() if task.done() else None


class Loads:
    """The loads of one process, over what it has in Redis. Whoever makes it closes it."""

    def __init__(
        self,
        store: RedisStore,
        lives: Lives,
        is_renewable: Callable[[Fresh], Coroutine[Any, Any, bool]],
    ) -> None:
        """`is_renewable`: whether a held value that is old may be found to be good."""
        self._store = store
        self._lives = lives
        self._is_renewable = is_renewable
        self._running: set[asyncio.Task[Any]] = set()

    async def load(
        self, key: Key, loader: Loader, previous: bytes | None, held: Fresh | None
    ) -> Fresh:
        """A load that no other process does at the same time, as long as Redis answers.

        The holder of the lock renews it; when it died, another takes its place.
        """
        patience = Patience()
        seen = await patience.until(self._begun(self._store.look(key, makes=True)))
        for _ in range(round(WAIT_SECONDS / POLL_SECONDS)):
            if seen is None:
                break
            if (known := self._fresh(seen)) is not None:
                return known
            if not await self._may_renew(held, seen, patience):
                previous = None
            lock = await self._taken(key, seen, patience)
            if isinstance(lock, Lock):
                return await self._locked(key, loader, previous, seen, lock, patience)
            if lock is not NoLock.HELD:
                break  # nobody else may be at it
            await asyncio.sleep(POLL_SECONDS)
            patience = Patience()
            seen = await self._store.look(key)
        return await self._own(key, loader, previous, seen, AsyncExitStack(), patience)

    async def stored(self) -> None:
        """Wait until what was loaded is stored, or Redis does not take it."""
        if self._running:
            await asyncio.wait(set(self._running), timeout=STORE_SECONDS)

    async def close(self) -> None:
        """Wait for a moment until what was loaded is stored, and end what is not."""
        if self._running:
            await asyncio.wait(set(self._running), timeout=LAST_SECONDS)
        await ended(self._running)

    def _begun(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """`work`, which goes on whoever leaves."""
        # Not a TaskGroup: it goes on when the load has ended. Owned here until its end.
        task = asyncio.get_running_loop().create_task(work, name="load")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def _may_renew(self, held: Fresh | None, seen: Seen, patience: Patience) -> bool:
        """Whether what is held may be found to be good, as far as Redis tells in time."""
        if held is None or held.epoch != seen.epoch:
            return False
        return bool(await patience.until(self._begun(self._is_renewable(held))))

    async def _taken(self, key: Key, seen: Seen, patience: Patience) -> Lock | NoLock | None:
        """The right to load, or why there is none. One that comes too late is given back."""
        taking, lock = self._begun(self._store.lock(key, seen.epoch)), None
        try:
            lock = await patience.until(taking)
        finally:
            if lock is None:
                taking.add_done_callback(self._give_back)
        return lock

    def _fresh(self, seen: Seen) -> Fresh | None:
        """What was seen, if it may be served as it is."""
        fresh = None if seen.kept is None else fresh_of(seen.kept, seen.epoch)
        return fresh if fresh is not None and self._lives.is_fresh(fresh) else None

    def _give_back(self, taking: asyncio.Task[Lock | NoLock]) -> None:
        if not taking.cancelled() and isinstance(lock := taking.result(), Lock):
            self._begun(_let_go(self._store.held(lock)))

    async def _locked(
        self,
        key: Key,
        loader: Loader,
        previous: bytes | None,
        before: Seen,
        lock: Lock,
        patience: Patience,
    ) -> Fresh:
        """The load, unless another process finished the same one just before the lock was taken."""
        holding = AsyncExitStack()
        await holding.enter_async_context(self._store.held(lock))
        try:
            looking = self._begun(self._store.look(key))
            seen = await patience.until(looking) or before
        except BaseException:
            self._begun(holding.aclose())
            raise
        if (known := self._fresh(seen)) is not None:
            self._begun(holding.aclose())
            return known
        previous = previous if seen.epoch == before.epoch else None
        return await self._own(key, loader, previous, seen, holding, patience)

    async def _own(
        self,
        key: Key,
        loader: Loader,
        previous: bytes | None,
        seen: Seen | None,
        holding: AsyncExitStack,
        patience: Patience,
    ) -> Fresh:
        """The load itself; its value is for the epoch that was seen before it began."""
        try:
            fresh = await loader(previous)
        except BaseException:
            self._begun(holding.aclose())
            raise
        if seen is None:
            return fresh
        keeping = self._begun(self._keep(key, fresh, seen.epoch, holding))
        await patience.until(keeping, KEEP_SECONDS)
        return dataclasses.replace(fresh, epoch=seen.epoch)

    async def _keep(self, key: Key, fresh: Fresh, epoch: bytes, holding: AsyncExitStack) -> None:
        """Store what was loaded, and then give back the right to load it."""
        kept = Kept(value=fresh.value, is_absent=fresh.is_absent, age_seconds=fresh.age_seconds)
        async with holding:
            await self._store.keep(key, kept, epoch, self._lives.longest_seconds(fresh))


def fresh_of(kept: Kept, epoch: bytes) -> Fresh:
    """What was seen in Redis, as the cache in this process keeps it."""
    return Fresh(
        value=kept.value, is_absent=kept.is_absent, age_seconds=kept.age_seconds, epoch=epoch
    )


async def _let_go(held: AbstractAsyncContextManager[None]) -> None:
    async with held:
        pass
