"""Redis as a place for cache entries that may be lost: no answer within moments is no entry.

A value bears marks: its own, its study's, its archives' and that of everything. They are random,
and forgetting replaces one. Together they are the epoch of the value, which carries the epoch in
which its load began and is worth nothing in another one. So what was loaded before something was
forgotten is never read after it, whichever process writes it however late, and without a
transaction; and forgetting all values of a study or an archive is one write. A mark that was lost
is made anew before anything is stored under it: what bore the lost one is void.

Only PTTL, MGET, SET, PEXPIRE, DEL and PUBLISH are used. The age of a value is told by its remaining
time to live: no two clocks are ever compared.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster

from gateway.adapters.cache_names import Key, Names
from gateway.adapters.redis_asking import Asking
from gateway.adapters.redis_client import Limits, disconnect
from gateway.adapters.redis_complaints import Complaints
from gateway.adapters.redis_envelope import (
    EPOCH_BYTES,
    Envelope,
    Envelopes,
    packed,
    unpacked,
)
from gateway.adapters.redis_forgetting import Forgetting
from gateway.adapters.redis_locks import Lock, Locks, NoLock
from gateway.adapters.redis_marks import Marks, life_ms, made
from gateway.adapters.redis_notices import Publish
from gateway.adapters.redis_runs import Runs

MISSING = -2
"""What PTTL says of a key that does not exist."""
NO_EPOCH = bytes(EPOCH_BYTES)
LASTING_SECONDS = 400 * 86400.0
"""How long what is remembered is kept after it was last written."""
MANY = 200
"""So many values are read at once."""
AT_ONCE_BYTES = 1 << 16
"""So much is compressed, or read again, without a thread of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A value in Redis."""

    value: bytes
    is_absent: bool
    age_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One look at an entry: its present epoch, and its value if that is of this epoch.

    `is_forgotten`: whether it was forgotten at some time that still matters; `is_garbage`: what
    there was is not a value.
    """

    epoch: bytes
    is_forgotten: bool = False
    is_garbage: bool = False
    kept: Kept | None = None


class RedisStore:
    """The entries in Redis. Every method gives None, False or nothing at all while it is away."""

    def __init__(
        self,
        client: Redis | RedisCluster,
        *,
        names: Names,
        envelopes: Envelopes,
        publish: Publish,
        limits: Limits,
        longest_seconds: float,
        clock: Callable[[], float],
        complaints: Complaints,
        asking: Asking | None = None,
        keeping: Asking | None = None,
        forgetting: Forgetting | None = None,
    ) -> None:
        """`longest_seconds`: as long as any value is of use; `clock` never goes back.

        `asking`, `keeping`: other ways of asking than usual, and when something is stored;
        `forgetting`: what other entries of the same process forget.
        """
        self._client = client
        self._names = names
        self._envelopes = envelopes
        self._publish = publish
        self._mark_life_ms = life_ms(longest_seconds)
        self._asking = asking or Asking(limits, clock, complaints)
        self._asked = self._asking.asked
        self._keeping = keeping or self._asking
        self._runs = Runs(client)
        self._locks = Locks(client, self._asking, clock)
        self.forgetting = forgetting or Forgetting(
            client, names=names, asking=self._asking, publish=publish, life_ms=self._mark_life_ms
        )

    @property
    def takes_writes(self) -> bool:
        """Whether it makes sense to write now: Redis is not left alone, and took the last one."""
        return self._asking.takes_writes

    async def look(self, key: Key, *, makes: bool = False) -> Seen | None:
        """What there is for `key`; None while Redis is away. Garbage is deleted and not there.

        `makes`: marks that are missing are made with the same question.
        """
        if not await self.forgetting.is_told(self._names.marks(key)):
            return None
        name = self._names.value(key)
        answer = await self._asked(lambda: self._read(key, makes=makes and self.takes_writes))
        if answer is None:
            return None
        remaining_ms, raw, found = answer
        marks = found if found.is_whole else await self._made(key)
        if marks is None:
            return None
        plain = Seen(epoch=marks.epoch, is_forgotten=marks.is_forgotten)
        envelope = None if raw is None else await self._opened(name, raw)
        if remaining_ms != MISSING and (envelope is None or remaining_ms < 0):
            await self._asked(lambda: self._client.delete(name), is_write=True)
            return Seen(epoch=plain.epoch, is_forgotten=plain.is_forgotten, is_garbage=True)
        if envelope is None or envelope.epoch != plain.epoch:
            return plain
        age_seconds = max(0, envelope.life_ms - remaining_ms) / 1000
        return Seen(
            epoch=plain.epoch,
            is_forgotten=plain.is_forgotten,
            kept=Kept(value=envelope.value, is_absent=envelope.is_absent, age_seconds=age_seconds),
        )

    async def keep(self, key: Key, kept: Kept, epoch: bytes, life_seconds: float) -> None:
        """Write a value that was loaded in `epoch`; it is of use until `life_seconds` old.

        A look at the epoch first spares a newer value; its marks alone make the older one void.
        The other processes are told: what they hold may be older.
        """
        remaining_ms = round((life_seconds - kept.age_seconds) * 1000)
        is_untold = self.forgetting.is_untold(self._names.marks(key))
        if remaining_ms <= 0 or is_untold or not self._keeping.takes_writes:
            return
        marks = await self._keeping.asked(lambda: self._marks(key))
        if marks is None or not marks.is_whole or marks.epoch != epoch:
            return
        most_ms = round(life_seconds * 1000)
        envelope = Envelope(
            value=kept.value, is_absent=kept.is_absent, life_ms=most_ms, epoch=epoch
        )
        raw = await self._sealed(self._names.value(key), envelope)
        if await self._keeping.asked(lambda: self._write(key, raw, remaining_ms), is_write=True):
            await self._keeping.asked(lambda: self._publish(self._names.mark(key)))

    async def lock(self, key: Key, epoch: bytes) -> Lock | NoLock:
        """The right to load `key` in `epoch`, or why there is none."""
        return await self._locks.taken(f"{self._names.value(key)}:lock:{epoch.hex()}")

    def held(self, lock: Lock) -> AbstractAsyncContextManager[None]:
        """While something is loaded: `lock` is renewed, and given back afterwards."""
        return self._locks.held(lock)

    async def values(self, keys: Sequence[Key]) -> dict[Key, bytes]:
        """What there is for many keys, whatever its age; nothing while Redis is away."""
        found: dict[Key, bytes] = {}
        told = [k for k in keys if not self.forgetting.is_untold(self._names.marks(k))]
        for at in range(0, len(told), MANY):
            some = told[at : at + MANY]
            answers = await self._keeping.asked(lambda some=some: self._read_many(some))  # type: ignore[misc]
            for key, (raw, marks) in zip(some, answers or (), strict=bool(answers)):
                envelope = None if raw is None else await self._opened(self._names.value(key), raw)
                if envelope is not None and marks.is_whole and envelope.epoch == marks.epoch:
                    found[key] = envelope.value
        return found

    async def recall(self, key: Key) -> bytes | None:
        """What is remembered under `key`; None: nothing, garbage, or Redis is away."""
        name = self._names.lasting(key)
        found = await self._asked(lambda: self._mget([name]))
        raw = None if found is None else found[0]
        envelope = None if raw is None else self._envelopes.opened(name, raw)
        return None if envelope is None else envelope.value

    async def remember(self, key: Key, value: bytes) -> None:
        """Write what outlives every load. It has no epoch: nobody forgets it."""
        if not self.takes_writes:
            return
        name, lasting_ms = self._names.lasting(key), round(LASTING_SECONDS * 1000)
        envelope = Envelope(value=value, is_absent=False, life_ms=lasting_ms, epoch=NO_EPOCH)
        raw = self._envelopes.sealed(name, envelope)
        await self._asked(lambda: self._client.set(name, raw, px=lasting_ms), is_write=True)

    async def was_whole_for(self, seconds: float) -> bool:
        """Whether no process told of a break in the last `seconds`; False: it cannot be known."""
        left_ms = await self._asked(lambda: self._client.pttl(self._names.breaks))
        if left_ms is None:
            return False
        return left_ms < 0 or seconds < (self._mark_life_ms - left_ms) / 1000

    async def close(self) -> None:
        """Close all connections."""
        await self._asking.close()
        await self._keeping.close()
        await disconnect(self._client)

    async def _made(self, key: Key) -> Marks | None:
        """The marks of `key`, those made that were missing; None: that cannot be done now.

        Two who make them agree on those of the first. In the second round what still seems to be
        missing is of another type, and is replaced.
        """
        marks: Marks | None = None
        for is_first in (True, False):
            if not self.takes_writes:
                return None
            marks = await self._asked(
                lambda is_first=is_first: self._make(key, is_first=is_first),  # type: ignore[misc]
                is_write=True,
            )
            if marks is None or marks.is_whole:
                break
        return marks

    async def _make(self, key: Key, *, is_first: bool) -> Marks:
        """Make marks of `key`, those that are missing, or all; and what they are then."""
        pipeline = self._client.pipeline(transaction=False)
        own, study, *others = self._names.marks(key)
        for mark in (study, *others):
            pipeline.set(mark, made(), nx=is_first, px=self._mark_life_ms)
        pipeline.execute_command("MGET", own, study)
        pipeline.execute_command("MGET", *others)
        *_, mine, rest = await pipeline.execute()
        return Marks((*mine, *rest), self._runs_of(own, others[0]))

    async def _write(self, key: Key, raw: bytes, remaining_ms: int) -> bool:
        """Write a value, and let its marks live longer than it."""
        name = self._names.value(key)
        _, *groups = self._names.marks(key)
        pipeline = self._client.pipeline(transaction=False)
        pipeline.set(name, raw, px=remaining_ms)
        for mark in groups:
            pipeline.pexpire(mark, self._mark_life_ms)
        await pipeline.execute()
        return True

    async def _sealed(self, name: str, envelope: Envelope) -> bytes:
        """A value as it is written: compressed, and sealed."""
        if len(envelope.value) > AT_ONCE_BYTES:
            return await asyncio.to_thread(lambda: self._envelopes.sealed(name, packed(envelope)))
        return self._envelopes.sealed(name, packed(envelope))

    async def _opened(self, name: str, raw: bytes) -> Envelope | None:
        """What is written under `name`; None: no value of ours."""
        envelope = self._envelopes.opened(name, raw)
        if envelope is not None and len(raw) > AT_ONCE_BYTES:
            return await asyncio.to_thread(unpacked, envelope)
        return None if envelope is None else unpacked(envelope)

    async def _mget(self, names: list[str]) -> list[bytes | None]:
        """Values by MGET, to which a key of another type is absent."""
        values: list[bytes | None] = await self._client.execute_command("MGET", *names)
        return values

    async def _marks(self, key: Key) -> Marks:
        return (await self._read(key))[2]

    async def _read(self, key: Key, *, makes: bool = False) -> tuple[int, bytes | None, Marks]:
        """Remaining milliseconds, value and marks, those made before that are missing.

        In this order: a value written in between then looks older than it is, never younger.
        Marks that are refused are still missing, which is all that matters here.
        """
        name = self._names.value(key)
        own, study, *others = self._names.marks(key)
        pipeline = self._client.pipeline(transaction=False)
        for mark in (study, *others) if makes else ():
            pipeline.set(mark, made(), nx=True, px=self._mark_life_ms)
        pipeline.execute_command("PTTL", name)
        pipeline.execute_command("MGET", name, own, study)
        pipeline.execute_command("MGET", *others)
        *_, remaining_ms, found, rest = await pipeline.execute(raise_on_error=not makes)
        for answer in (remaining_ms, found, rest):
            if isinstance(answer, Exception):
                raise answer
        raw, *mine = found
        return remaining_ms, raw, Marks((*mine, *rest), self._runs_of(own, others[0]))

    def _runs_of(self, own: str, other: str) -> tuple[bytes, ...]:
        """The runs of the servers that have a study's marks, and the others."""
        return self._runs.of(own), self._runs.of(other)

    async def _read_many(self, keys: Sequence[Key]) -> list[tuple[bytes | None, Marks]]:
        """Values and marks of many keys."""
        pipeline = self._client.pipeline(transaction=False)
        shared = dict.fromkeys(mark for key in keys for mark in self._names.marks(key)[2:])
        pipeline.execute_command("MGET", *shared)
        for key in keys:
            own, study, *_ = self._names.marks(key)
            pipeline.execute_command("MGET", self._names.value(key), own, study)
        groups, *rest = await pipeline.execute()
        known = dict(zip(shared, groups, strict=True))
        found = []
        for key, (raw, *mine) in zip(keys, rest, strict=True):
            own, _, *others = self._names.marks(key)
            runs = self._runs_of(own, others[0])
            found.append((raw, Marks((*mine, *(known[mark] for mark in others)), runs)))
        return found
