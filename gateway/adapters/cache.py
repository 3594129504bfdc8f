"""The cache in this process: what was loaded once is served until it is too old.

An entry younger than `fresh_seconds` is served as it is. An older one, younger than
`stale_seconds`, is served at once while one load in the background revalidates it. Beside what
can be loaded again, small values are remembered for as long as there is room. The size is bounded
in bytes; what was used least recently goes first.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import structlog

from gateway.adapters.cache_names import Group, Key, Names, What
from gateway.adapters.drops import MARK_BYTES, Drops, Since
from gateway.adapters.entries import Entries, Entry
from gateway.adapters.flights import Flights
from gateway.adapters.lasting import Lasting
from gateway.adapters.reads import noted
from gateway.adapters.telemetry import Telemetry
from gateway.errors import ArchiveError, GatewayError, Unavailable

LAYER = "memory"
LASTING_SHARE = 8
"""What is remembered for long takes no more than this part of the whole cache."""
DROPS_SHARE = 8
"""And so does what is known of drops."""
LEAST_DROPS = 1000
PAUSE_SECONDS = 1.0
"""How long a stale value is served before it is tried again to revalidate it."""
MOST_FAILED = 10_000
"""Keys of which it is known when they could not be revalidated."""
NO_EPOCH = bytes(8)
LOG: structlog.typing.FilteringBoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fresh:
    """What a loader gives. `is_absent`: `value` says that something does not exist.

    `age_seconds` is more than 0 where another process loaded the value that long ago; `epoch` is
    the mark of the shared cache under which it was loaded. Loaders leave both alone.
    """

    value: bytes
    is_absent: bool = False
    age_seconds: float = 0
    epoch: bytes = NO_EPOCH


Loader = Callable[[bytes | None], Awaitable[Fresh]]
"""Loads a value; it is given the stale value that it may revalidate, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lives:
    """How long values are believed; the fields mean what they mean in `config.Cache`."""

    fresh_seconds: float
    stale_seconds: float
    absent_seconds: float

    def is_fresh(self, kept: Fresh, age_seconds: float | None = None) -> bool:
        """Whether `kept`, with its own age or another one, is served as it is."""
        age = kept.age_seconds if age_seconds is None else age_seconds
        return age < (self.absent_seconds if kept.is_absent else self.fresh_seconds)

    def is_servable(self, kept: Fresh) -> bool:
        """Whether `kept`, with its age, is served at all, be it stale."""
        return self.is_fresh(kept) or (not kept.is_absent and kept.age_seconds < self.stale_seconds)

    def longest_seconds(self, kept: Fresh) -> float:
        """The age at which a value like `kept` is of no more use."""
        if kept.is_absent:
            return self.absent_seconds
        return max(self.fresh_seconds, self.stale_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """How much a cache in a process holds."""

    entries: int
    bytes: int


class MemoryCache:
    """Values by key, in this process. Whoever makes it closes it."""

    lag_seconds = 0.0
    """How long after a load others may still be served what was there before it."""

    def __init__(
        self,
        *,
        lives: Lives,
        max_bytes: int,
        telemetry: Telemetry,
        names: Names | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` reads seconds that never go back."""
        self.lives = lives
        self.names = names or Names()
        self.drops = Drops(max(LEAST_DROPS, max_bytes // DROPS_SHARE // MARK_BYTES))
        self._telemetry = telemetry
        self._clock = clock
        self._entries: Entries[Fresh] = Entries(max_bytes, self.drops)
        self._lasting = Lasting(max_bytes // LASTING_SHARE)
        self._flights: Flights[bytes] = Flights()
        self._failed: dict[str, float] = {}

    @property
    def bytes_held(self) -> int:
        """The size of all that is held, with its overhead."""
        return self._entries.bytes_held + self._lasting.bytes_held

    @property
    def held(self) -> Held:
        """How much is kept, what waits to make room included."""
        return Held(entries=len(self._entries), bytes=self.bytes_held)

    async def load(self, key: Key, loader: Loader) -> bytes:
        """The value of `key`, from the cache or from `loader`, which runs once for all who wait.

        Raises what `loader` raises, unless it is an archive's failure and a stale value is known.
        """
        reads = noted()
        try:
            value = await self._read(key, loader)
        except BaseException:
            if reads is not None:
                reads.is_whole = False
            raise
        if reads is not None:
            reads.note(key, value)
        return value

    def is_current(self, key: str, value: bytes) -> bool:
        """Whether a load of `key` would give this very value, and ask nobody.

        One that is stale is asked for already, or its archive failed to answer just now.
        """
        entry = self._entries.found(key)
        if entry is None or entry.content.value is not value:
            return False
        if not (self._is_fresh(entry) or self._is_served_stale(key, entry)):
            return False
        self._entries.used(key)
        return True

    def has(self, key: str) -> bool:
        """Whether there is anything for `key`, be it of no use."""
        return key in self._entries

    async def are_shared(self, keys: Iterable[str]) -> bool:
        """Whether others find what was loaded for `keys`: nobody else is there."""
        return all(self.has(key) for key in keys)

    def is_absent(self, key: str) -> bool:
        """Whether what there is for `key`, be it of no use, says that something does not exist."""
        entry = self._entries.found(key)
        return entry is not None and entry.content.is_absent

    def has_fresh(self, key: str) -> bool:
        """Whether `key` would be served as it is."""
        entry = self._entries.found(key)
        return entry is not None and self._is_fresh(entry)

    def is_doubted(self, key: str) -> bool:
        """Whether `key` is served only if nothing newer can be loaded."""
        entry = self._entries.found(key)
        return entry is not None and self._entries.is_doubted(entry)

    async def _read(self, key: Key, loader: Loader) -> bytes:
        entry = self._entries.found(key)
        if entry is not None and self._is_fresh(entry):
            self._entries.used(key)
            self._telemetry.cache_read(LAYER, "hit")
            return entry.content.value
        kept = self.peek(key)
        if kept is None or entry is None or self._entries.is_doubted(entry):
            flight = self.flight(key)
            outcome = "join" if self._flights.is_under_way(flight) else "miss"
            self._telemetry.cache_read(LAYER, outcome)
            return await self._flights.join(flight, lambda: self._first_load(key, loader))
        self._entries.used(key)
        self._telemetry.cache_read(LAYER, "stale")
        if not self._is_left_alone(key):
            revalidation = partial(self._revalidation, key, loader, kept.value)
            self._flights.launch(self.flight(key), revalidation)
        return kept.value

    def _is_served_stale(self, key: str, entry: Entry[Fresh]) -> bool:
        """Whether a stale value is served without anything being asked for."""
        if self._entries.is_doubted(entry) or not self.lives.is_servable(self._aged(entry)):
            return False
        flight = f"{self.drops.last(entry.marks)} {key}"
        return self._is_left_alone(key) or self._flights.is_under_way(flight)

    def _is_left_alone(self, key: str) -> bool:
        """Whether it failed just now to be revalidated."""
        return self._clock() - self._failed.get(key, float("-inf")) < PAUSE_SECONDS

    def _aged(self, entry: Entry[Fresh]) -> Fresh:
        """What an entry keeps, with its age."""
        return replace(entry.content, age_seconds=max(0.0, self._clock() - entry.loaded_at))

    def _is_fresh(self, entry: Entry[Fresh]) -> bool:
        age_seconds = max(0.0, self._clock() - entry.loaded_at)
        return not self._entries.is_doubted(entry) and self.lives.is_fresh(
            entry.content, age_seconds
        )

    def peek(self, key: Key) -> Fresh | None:
        """What is kept for `key` and may still be served, with its age; nothing is loaded."""
        entry = self._entries.found(key)
        if entry is None:
            return None
        kept = self._aged(entry)
        return kept if self.lives.is_servable(kept) else None

    async def at_hand(self, keys: Sequence[Key]) -> dict[Key, bytes]:
        """What is kept of many keys, be it stale; nothing is loaded."""
        return {key: kept.value for key in keys if (kept := self.peek(key)) is not None}

    def since(self, key: Key) -> Since:
        """Now, to know later whether anything of `key` was dropped."""
        return Since(self.drops.now, self.names.marks(key))

    def is_quiet(self, since: Since) -> bool:
        """Whether nothing was dropped since, nor loaded anew by others."""
        return self.drops.is_quiet(since)

    def put(self, key: Key, fresh: Fresh, stamp: int) -> None:
        """Keep `fresh` for `key`, at the age it has, unless it was dropped since it was asked for.

        `stamp` is what `drops.now` was before.
        """
        entry = Entry(
            fresh,
            self._clock() - fresh.age_seconds,
            len(fresh.value),
            stamp,
            self.names.marks(key),
        )
        self._entries.keep(key, entry)
        self._make_room()

    def doubt(self, key: Key) -> None:
        """Serve the value of `key` from now on only if nothing newer can be loaded."""
        self._entries.doubt(key)

    def confirm(self, key: Key, stamp: int) -> None:
        """The value of `key` was what it is when `drops.now` was `stamp`: it is not in doubt."""
        self._entries.confirm(key, stamp)

    async def forget(self, what: What) -> bool:
        """Drop a value or a group of them, and do not keep what loads under way will bring."""
        self.drop(what)
        return True

    def drop(self, what: What) -> None:
        """`forget`, at once: the values of a group make room when it is needed."""
        self.drops.note(self.names.mark(what))
        if isinstance(what, Key):
            self._entries.remove(what)
        elif what == Group():
            self._entries.clear()

    async def recall(self, key: Key) -> tuple[bytes, ...]:
        """What was remembered under `key`; () when it was not, or is lost."""
        value = self._lasting.value(key)
        return () if value is None else (value,)

    async def remember(self, key: Key, value: bytes) -> None:
        """Keep a small `value` under `key` whatever its age; `forget` does not reach it."""
        self._lasting.put(key, value)
        self._make_room()

    async def close(self) -> None:
        """Cancel the loads under way and wait for their end."""
        await self._flights.close()

    async def _first_load(self, key: Key, loader: Loader) -> bytes:
        """A load that somebody waits for; a doubted value serves if the archives fail."""
        try:
            return await self._loaded(key, loader, None)
        except (ArchiveError, Unavailable):
            kept = self.peek(key)
            if kept is None or kept.is_absent:
                raise
            self._telemetry.cache_read(LAYER, "stale")
            return kept.value

    async def _revalidation(self, key: Key, loader: Loader, previous: bytes) -> bytes:
        """A load that nobody waits for: the stale value stays while the archives fail."""
        try:
            return await self._loaded(key, loader, previous)
        except (ArchiveError, Unavailable) as error:
            LOG.info("revalidation failed", cause=error.code)
            if len(self._failed) >= MOST_FAILED:
                self._failed.clear()
            self._failed[key] = self._clock()
            return previous
        except GatewayError:
            self.drop(key)
            raise

    async def _loaded(self, key: Key, loader: Loader, previous: bytes | None) -> bytes:
        stamp = self.drops.now
        fresh = await loader(previous)
        self.put(key, fresh, stamp)
        return fresh.value

    def flight(self, key: Key) -> str:
        """The name of loads of `key`: another one after each drop, which none began before."""
        last = max(self.drops.doubted, self.drops.last(self.names.marks(key)))
        return f"{last} {key}"

    def _make_room(self) -> None:
        self._entries.make_room(self._lasting.bytes_held)
        self._telemetry.cache_size(self.bytes_held)
