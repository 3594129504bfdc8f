"""Redis as a place for cache entries that may be lost: no answer within moments is no entry.

Every entry has three keys in one hash slot: its value, its epoch and, while somebody loads it, a
lock. The epoch is a random mark that forgetting replaces; a value carries the epoch in which its
load began and is worth nothing in another one. So what was loaded before something was forgotten
is never read after it, whichever process writes it however late, and without a transaction.

Only PTTL, MGET, SET and DEL are used. The age of a value is told by its remaining time to live:
no two clocks are ever compared. Names of keys are hashes: no UID is readable in them.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import structlog
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import (
    AuthenticationError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
)

from gateway.adapters.redis_client import Limits, disconnect
from gateway.adapters.redis_envelope import Envelope, key_name, opened, sealed

T = TypeVar("T")
LOG: structlog.typing.FilteringBoundLogger = structlog.get_logger()

MISSING = -2
"""What PTTL says of a key that does not exist."""
NO_EPOCH = bytes(8)
LOCK_SECONDS = 30.0
"""After this long a load counts as abandoned and another process may start it."""
LOCK_MARGIN_SECONDS = 5.0
"""A lock this close to its end is left to expire: it may be another's by now."""
LASTING_SECONDS = 400 * 86400.0
"""How long what is remembered is kept after it was last written."""
UNSENT_AT_ONCE = 32
"""How many of them one look tells Redis of, besides its own."""
MAX_UNSENT = 100_000
"""Keys forgotten while Redis is away that are remembered until it is back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A value in Redis."""

    value: bytes
    is_absent: bool
    age_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One look at an entry: its present epoch, and its value if that is of this epoch."""

    epoch: bytes
    kept: Kept | None = None

    @property
    def is_forgotten(self) -> bool:
        """Whether the entry was forgotten at some time that still matters."""
        return self.epoch != NO_EPOCH


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """The right to load an entry, since `taken_at`."""

    name: str
    taken_at: float


class RedisStore:
    """The entries in Redis. Every method gives None, False or nothing at all while it is away."""

    def __init__(
        self,
        client: Redis | RedisCluster,
        *,
        limits: Limits,
        longest_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        """`longest_seconds`: as long as any value is of use; `clock` never goes back."""
        self._client = client
        self._limits = limits
        self._mark_life_ms = round((longest_seconds + LOCK_SECONDS) * 1000)
        self._clock = clock
        self._turns = asyncio.Semaphore(limits.max_connections)
        self._failures = 0
        self._away_until = float("-inf")
        self._full_until = float("-inf")
        self._said_at = float("-inf")
        self._unsent: dict[str, None] = {}

    @property
    def takes_writes(self) -> bool:
        """Whether it makes sense to write now: Redis is neither left alone nor full."""
        return self._clock() >= max(self._away_until, self._full_until)

    async def look(self, key: str) -> Seen | None:
        """What there is for `key`; None while Redis is away. Garbage is deleted and not there."""
        if not await self._sent_forgotten(key):
            return None
        name = key_name(key)
        answer = await self._asked(lambda: self._read(name))
        if answer is None:
            return None
        remaining_ms, raw, mark = answer
        epoch = _epoch_of(mark)
        envelope = None if raw is None else opened(name, raw)
        if remaining_ms != MISSING and (envelope is None or remaining_ms < 0):
            await self._asked(lambda: self._client.delete(name))
            return Seen(epoch=epoch)
        if envelope is None or envelope.epoch != epoch:
            return Seen(epoch=epoch)
        age_seconds = max(0, envelope.life_ms - remaining_ms) / 1000
        return Seen(
            epoch=epoch,
            kept=Kept(value=envelope.value, is_absent=envelope.is_absent, age_seconds=age_seconds),
        )

    async def keep(self, key: str, kept: Kept, epoch: bytes, life_seconds: float) -> None:
        """Write a value that was loaded in `epoch`; it is of use until `life_seconds` old.

        A look at the epoch first spares a newer value; its mark alone makes the older one void.
        """
        remaining_ms = round((life_seconds - kept.age_seconds) * 1000)
        if remaining_ms <= 0 or key in self._unsent or not self.takes_writes:
            return
        name = key_name(key)
        if await self._asked(partial(self._epoch, name)) != epoch:
            return
        raw = sealed(
            name,
            Envelope(
                value=kept.value,
                is_absent=kept.is_absent,
                life_ms=round(life_seconds * 1000),
                epoch=epoch,
            ),
        )
        await self._asked(lambda: self._client.set(name, raw, px=remaining_ms))

    async def lock(self, key: str, epoch: bytes) -> Lock | None:
        """The right to load `key` in `epoch`; None: another has it, or no write is taken."""
        if not self.takes_writes:
            return None
        lock = Lock(name=f"{key_name(key)}:lock:{epoch.hex()}", taken_at=self._clock())
        life_ms = round(LOCK_SECONDS * 1000)
        taken = await self._asked(lambda: self._client.set(lock.name, b"1", nx=True, px=life_ms))
        return lock if taken else None

    async def release(self, lock: Lock) -> None:
        """Give `lock` back, unless so much time went by that it may be another's by now."""
        if self._clock() - lock.taken_at < LOCK_SECONDS - LOCK_MARGIN_SECONDS:
            await self._asked(lambda: self._client.delete(lock.name))

    async def forget(self, key: str) -> None:
        """Begin a new epoch of `key`.

        While Redis is away the key is remembered, and forgotten there before its next use.
        """
        self._unsent[key] = None
        if len(self._unsent) > MAX_UNSENT:
            del self._unsent[next(iter(self._unsent))]
        await self._sent_forgotten(key)

    async def recall(self, key: str) -> bytes | None:
        """What is remembered under `key`; None: nothing, garbage, or Redis is away."""
        name = _lasting_name(key)
        raw = await self._asked(lambda: self._get(name))
        envelope = opened(name, raw) if raw else None
        return None if envelope is None else envelope.value

    async def remember(self, key: str, value: bytes) -> None:
        """Write what outlives every load. It has no epoch: nobody forgets it."""
        if not self.takes_writes:
            return
        name, life_ms = _lasting_name(key), round(LASTING_SECONDS * 1000)
        raw = sealed(name, Envelope(value=value, is_absent=False, life_ms=life_ms, epoch=NO_EPOCH))
        await self._asked(lambda: self._client.set(name, raw, px=life_ms))

    async def close(self) -> None:
        """Close all connections."""
        await disconnect(self._client)

    async def _sent_forgotten(self, key: str) -> bool:
        """Whether Redis knows that `key` was forgotten, if it was. Tells it of some others too."""
        if not self._unsent:
            return True
        others = itertools.islice((other for other in self._unsent if other != key), UNSENT_AT_ONCE)
        for unsent in (key, *others) if key in self._unsent else tuple(others):
            if not await self._asked(partial(self._begin_epoch, key_name(unsent))):
                break
            self._unsent.pop(unsent, None)
        return key not in self._unsent

    async def _begin_epoch(self, name: str) -> bool:
        """Forget what is under `name`; deleted first, since a full Redis still deletes."""
        await self._client.delete(name)
        await self._client.set(f"{name}:epoch", secrets.token_bytes(8), px=self._mark_life_ms)
        return True

    async def _epoch(self, name: str) -> bytes:
        return _epoch_of(await self._get(f"{name}:epoch"))

    async def _get(self, name: str) -> bytes | None:
        """A value by MGET, to which a key of another type is absent."""
        values: list[bytes | None] = await self._client.execute_command("MGET", name)
        return values[0]

    async def _read(self, name: str) -> tuple[int, bytes | None, bytes | None]:
        """Remaining milliseconds, value and epoch mark.

        In this order: a value written in between then looks older than it is, never younger.
        """
        pipeline = self._client.pipeline(transaction=False)
        pipeline.execute_command("PTTL", name)
        pipeline.execute_command("MGET", name, f"{name}:epoch")
        remaining_ms, (raw, mark) = await pipeline.execute()
        return remaining_ms, raw, mark

    async def _asked(self, ask: Callable[[], Awaitable[T]]) -> T | None:
        """What Redis answers; None while it is away. The only place where it is called."""
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
                self._say(error)
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
        self._say(error)

    def _pause(self) -> None:
        self._away_until = self._clock() + self._limits.pause_seconds

    def _say(self, error: Exception) -> None:
        """Log `error`, at most once a minute."""
        if self._clock() - self._said_at < self._limits.log_pause_seconds:
            return
        self._said_at = self._clock()
        level = logging.ERROR if isinstance(error, AuthenticationError) else logging.WARNING
        LOG.log(level, "the shared cache is away", cause=type(error).__name__)


def _lasting_name(key: str) -> str:
    return f"{key_name(key)}:lasting"


def _epoch_of(mark: bytes | None) -> bytes:
    """The epoch that a mark in Redis stands for, whatever the mark is made of."""
    return NO_EPOCH if mark is None else hashlib.blake2b(mark, digest_size=8).digest()
