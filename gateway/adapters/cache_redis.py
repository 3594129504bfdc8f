"""The cache that all processes and replicas share: Redis behind the cache in this process.

Redis can only spare work. While it is away, slow, full or holds garbage the cache in this process
goes on alone. What another process drops or writes anew, this one hears of; as long as it can rely
on that, it believes a young value without a look into Redis. While it cannot, it looks again after
`LOOK_SECONDS`: so long, at the most, may one replica serve what was forgotten through another.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import orjson
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster

from gateway.adapters.cache import Fresh, Loader, MemoryCache
from gateway.adapters.cache_names import Key, What
from gateway.adapters.drops import Since
from gateway.adapters.flights import Flights
from gateway.adapters.redis_asking import PatientAsking
from gateway.adapters.redis_client import DEFAULT_LIMITS, Limits
from gateway.adapters.redis_complaints import Complaints
from gateway.adapters.redis_envelope import Envelopes
from gateway.adapters.redis_forgetting import Forgetting
from gateway.adapters.redis_loads import LOAD_SECONDS, Loads, fresh_of
from gateway.adapters.redis_marks import life_ms
from gateway.adapters.redis_notices import Notices
from gateway.adapters.redis_store import Kept, RedisStore, Seen
from gateway.adapters.telemetry import Telemetry

LAYER = "redis"
LOOK_SECONDS = 0.5
"""How long a value in this process is believed without notices before Redis is asked for it."""
MORE_LOOKS = 1000
"""Looks that are remembered beside those for what is held, until they are tidied up."""
TOLD_SECONDS = 2.0
"""How long Redis may take for what nobody waits for, or not so long."""
TELL_SECONDS = 1.2
"""How long whoever tells of a change waits until all are told; what is found waits less."""
SPREAD_SECONDS = 0.5
"""How long writing to Redis may take, and how far apart the clocks of processes may be."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Look:
    """When Redis was asked for a value, and under which unbroken subscription, if any."""

    at: float
    session: int | None


class RedisCache:
    """`MemoryCache`'s protocol, over one such cache and Redis. Whoever makes it closes it."""

    lag_seconds = LOOK_SECONDS + SPREAD_SECONDS
    """How long after a load another process may still serve what was there before it."""

    def __init__(
        self,
        memory: MemoryCache,
        client: Redis | RedisCluster,
        unhurried: Redis | RedisCluster,
        *,
        telemetry: Telemetry,
        secret: bytes = b"",
        limits: Limits = DEFAULT_LIMITS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`memory` and both clients are closed with this cache; `secret` seals the values.

        `unhurried` is for what is worth waiting for: that no two processes load the same at a time.
        The names of `memory` are keyed by the same secret.
        """
        self._memory = memory
        self._lives = memory.lives
        complaints = Complaints(telemetry, limits, clock)
        longest_seconds = max(self._lives.fresh_seconds, self._lives.stale_seconds)
        self._notices = Notices(
            unhurried,
            channel=memory.names.channel,
            dropped=memory.drops.note,
            refused=self._refused,
            broken=self._broken,
            told=self._told,
            standing=self._standing,
            limits=limits,
            complaints=complaints,
        )
        patient = partial(PatientAsking, limits, clock, complaints)
        self._telling = patient(TOLD_SECONDS)
        self._forgetting = Forgetting(
            unhurried,
            names=memory.names,
            asking=self._telling,
            publish=self._notices.publish,
            life_ms=life_ms(longest_seconds),
        )
        stored = partial(
            RedisStore,
            names=memory.names,
            envelopes=Envelopes(secret),
            publish=self._notices.publish,
            limits=limits,
            longest_seconds=longest_seconds,
            clock=clock,
            complaints=complaints,
            forgetting=self._forgetting,
        )
        self._store = stored(client)
        self._builds = stored(
            unhurried, asking=patient(LOAD_SECONDS), keeping=patient(TOLD_SECONDS)
        )
        self._loads = Loads(self._builds, self._lives, self._is_renewable)
        self._limits = limits
        self._telemetry = telemetry
        self._clock = clock
        self._is_break_untold = False
        self._looked: dict[str, _Look] = {}
        self._looks: Flights[None] = Flights()
        self._background: Flights[None] = Flights()

    def start(self) -> None:
        """Hear from now on what other processes drop, as soon as Redis answers."""
        self._notices.start()

    async def load(self, key: Key, loader: Loader) -> bytes:
        """The value of `key`, from a cache or from `loader`, which runs once for all processes.

        Raises what `loader` raises, unless it is an archive's failure and a stale value is known.
        """
        self._notices.start()
        if not self._is_believed(key):
            await self._looks.join(self._memory.flight(key), lambda: self._look(key))
        return await self._memory.load(
            key, lambda prior: self._loads.load(key, loader, prior, self._memory.peek(key))
        )

    def is_current(self, key: str, value: bytes) -> bool:
        """Whether a load of `key` would give this very value, and ask nobody."""
        look = self._looked.get(key)
        if look is None or not (self._is_recent(look) or self._is_heard(look)):
            return False
        return self._memory.is_current(key, value)

    async def at_hand(self, keys: Sequence[Key]) -> dict[Key, bytes]:
        """What is kept of many keys, here or in Redis, be it stale; nothing is loaded."""
        self._notices.start()
        mine = await self._memory.at_hand(keys)
        return mine | await self._store.values([key for key in keys if key not in mine])

    async def are_shared(self, keys: Iterable[str]) -> bool:
        """Whether Redis has what was loaded for `keys`, but for what does not exist."""
        loaded = (key for key in keys if isinstance(key, Key))
        wanted = [key for key in loaded if not self._memory.is_absent(key)]
        await self._loads.stored()
        return len(await self._builds.values(wanted)) == len(wanted)

    def since(self, key: Key) -> Since:
        """Now, to know later whether anything of `key` was dropped, or loaded by others."""
        return dataclasses.replace(self._memory.since(key), session=self._notices.session)

    def is_quiet(self, since: Since) -> bool:
        """Whether nothing was dropped since, nor loaded anew by others; False: it is not known."""
        is_heard = since.session is not None and since.session == self._notices.session
        return is_heard and self._memory.is_quiet(since)

    async def forget(self, what: What) -> bool:
        """Drop a value or a group of them everywhere; False: Redis is away and is told later.

        Other processes hear of it at once, or notice within `LOOK_SECONDS`. A late Redis is waited
        for where somebody tells of a change, of a group of values; what a request found out by
        itself, of one, must not keep it for long.
        """
        self._notices.start()
        self._memory.drop(what)
        if isinstance(what, Key):
            self._looked.pop(what, None)
        seconds = self._limits.total_seconds if isinstance(what, Key) else TELL_SECONDS
        return await self._forgetting.forget(what, seconds)

    async def recall(self, key: Key) -> tuple[bytes, ...]:
        """What was remembered under `key`, here and in Redis; () when both have lost it."""
        shared = await self._store.recall(key)
        return (*await self._memory.recall(key), *(() if shared is None else (shared,)))

    async def remember(self, key: Key, value: bytes) -> None:
        """Keep a small `value` under `key` here and in Redis; `forget` does not reach it."""
        await self._memory.remember(key, value)
        await self._store.remember(key, value)

    async def close(self) -> None:
        """Cancel the loads under way, wait for their end, close the connections."""
        await self._looks.close()
        await self._memory.close()
        await self._loads.close()
        await self._background.close()
        await self._forgetting.end()
        await self._telling.close()
        await self._notices.close()
        await self._builds.close()
        await self._store.close()

    def _is_believed(self, key: Key) -> bool:
        """Whether what is held for `key` needs no look: there was one just now, or it is young."""
        look = self._looked.get(key)
        if look is None:
            return False
        if self._is_heard(look) and self._memory.has_fresh(key):
            return True
        return self._is_recent(look) and not self._memory.is_doubted(key)

    def _is_recent(self, look: _Look) -> bool:
        return self._clock() - look.at < LOOK_SECONDS

    def _is_heard(self, look: _Look) -> bool:
        """Whether whatever was dropped since that look has been heard of."""
        return look.session is not None and look.session == self._notices.session

    async def _look(self, key: Key) -> None:
        """Bring what this process holds for `key` up to what Redis holds, where that answers.

        What was seen is not taken if `key` was dropped since Redis was asked.
        """
        stamp, look = self._memory.drops.now, _Look(self._clock(), self._notices.session)
        seen = await self._store.look(key)
        if self._memory.drops.last(self._memory.names.marks(key)) > stamp:
            return
        self._looked[key] = look
        if len(self._looked) > MORE_LOOKS + self._memory.held.entries * 5 // 4:
            self._looked = {k: v for k, v in self._looked.items() if self._memory.has(k)}
        if seen is None:
            self._telemetry.cache_read(LAYER, "error")
            if not self._memory.has_fresh(key):
                self._memory.doubt(key)  # for so long anything may have been forgotten elsewhere
            return
        self._telemetry.cache_read(LAYER, self._outcome(seen))
        self._follow(key, seen, stamp)

    def _follow(self, key: Key, seen: Seen, stamp: int) -> None:
        """Take the value that was seen unless it is older; drop or doubt one unknown to Redis."""
        held = self._memory.peek(key)
        is_of_epoch = held is not None and held.epoch == seen.epoch
        if seen.kept is not None:
            if held is None or not is_of_epoch or self._is_other(held, seen.kept):
                self._memory.put(key, fresh_of(seen.kept, seen.epoch), stamp)
            else:
                self._memory.confirm(key, stamp)
        elif held is not None and seen.is_forgotten and not is_of_epoch:
            self._memory.drop(key)
        elif held is not None and not (is_of_epoch and self._lives.is_fresh(held)):
            self._memory.doubt(key)

    def _is_other(self, held: Fresh, kept: Kept) -> bool:
        """Whether Redis has something newer, or as new by all that can be told, and different.

        What is clearly older there is what could not be overwritten.
        """
        if kept.value == held.value:
            return kept.age_seconds < held.age_seconds
        return kept.age_seconds < held.age_seconds + SPREAD_SECONDS

    def _outcome(self, seen: Seen) -> str:
        if seen.is_garbage:
            return "garbage"
        if seen.kept is None:
            return "miss"
        return "hit" if self._lives.is_fresh(fresh_of(seen.kept, seen.epoch)) else "stale"

    async def _is_renewable(self, held: Fresh) -> bool:
        """Whether every process listened ever since `held` was loaded.

        What one forgot while Redis was away may have been lost with it. So what was there before is
        not compared with the archive and renewed: it is loaded anew.
        """
        if self._is_break_untold:
            return False
        return await self._builds.was_whole_for(held.age_seconds)

    def _broken(self) -> None:
        """Touch with Redis was lost, by this process and perhaps by others."""
        self._memory.drops.doubt()
        self._is_break_untold = True

    def _standing(self) -> None:
        """Notices are heard: what was forgotten while Redis did not answer is made known."""
        self._background.launch("standing", self._catch_up)

    async def _catch_up(self) -> None:
        if self._is_break_untold and await self._forgetting.note_break():
            self._is_break_untold = False
        await self._forgetting.catch_up()

    def _refused(self, word: bytes, mark: str) -> None:
        """Another process forgets what Redis refuses to forget."""
        if self._forgetting.heard(word, mark):
            self._memory.drops.note(mark)

    def _told(self) -> bytes:
        """How much this process holds, and how often it was asked."""
        held = self._memory.held
        told = {"reads": self._telemetry.cache_reads(), "tag": self._memory.names.tag}
        return orjson.dumps(dataclasses.asdict(held) | told)
