"""Things made from cached values, kept as long as each of these is current.

What was read while a thing was made is noted; it is given again only if reading all of that again
would give the very same values, at once and without asking anybody.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from gateway.adapters.reads import Reads, note_reads, reads_noted

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
LARGEST_SHARE = 8
"""What is larger than this part of all that is kept is not kept."""


class Current(Protocol):
    """What knows whether a cached value is still the one to serve."""

    def is_current(self, key: str, value: bytes) -> bool:
        """Whether a load of `key` would give this very value, and ask nobody."""


@dataclass(slots=True)
class Kept(Generic[V]):
    """A thing that is kept, None once it is not; `is_wanted` since room was last made."""

    thing: V | None
    size: int
    reads: dict[str, bytes]
    is_wanted: bool = False


class Derived(Generic[K, V]):
    """What is kept by one process, the least recently used forgotten first."""

    def __init__(self, cache: Current, *, max_bytes: int) -> None:
        """`max_bytes` of things and of the values they were made from, which are held as well."""
        self._cache = cache
        self._max_bytes = max_bytes
        self._kept: OrderedDict[K, Kept[V]] = OrderedDict()
        self._uses: Counter[int] = Counter()
        self.bytes_held = 0

    def found(self, key: K) -> V | None:
        """What is kept under `key`; None when it is not, or no longer current."""
        kept = self.kept(key)
        return None if kept is None else kept.thing

    def kept(self, key: K) -> Kept[V] | None:
        """`found`, with what it was made from, to be found again by `is_good`."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        if not self._is_current(kept.reads):
            self._remove(key)
            return None
        self._kept.move_to_end(key)
        note_reads(kept.reads)
        return kept

    def is_good(self, kept: Kept[V]) -> bool:
        """Whether what was found or kept would be found now, too; which makes it wanted."""
        kept.is_wanted = True
        return kept.thing is not None and self._is_current(kept.reads)

    def keep(self, key: K, thing: V, size: int, reads: Reads) -> None:
        """Keeps a `thing` that was made from `reads`, unless they are out of date already.

        `size` in bytes, without what was read.
        """
        if not reads.values or not reads.is_whole:
            return
        values = reads.values.values()
        if (size + sum(map(len, values))) * LARGEST_SHARE > self._max_bytes:
            return
        if not self._is_current(reads.values):
            return
        self._remove(key)
        self._kept[key] = Kept(thing, size, dict(reads.values))
        self.bytes_held += size
        for value in values:
            self.bytes_held += 0 if self._uses[id(value)] else len(value)
            self._uses[id(value)] += 1
        self._make_room()

    def _make_room(self) -> None:
        """Forgets what was found longest ago, unless it was wanted since it last came to that."""
        while self.bytes_held > self._max_bytes:
            key, oldest = next(iter(self._kept.items()))
            if oldest.is_wanted:
                oldest.is_wanted = False
                self._kept.move_to_end(key)
            else:
                self._remove(key)

    async def made(self, key: K, make: Callable[[], Awaitable[tuple[V, int] | None]]) -> V | None:
        """What `make` gives with its size, kept if cached values decide on it; None: nothing."""
        with reads_noted() as reads:
            made = await make()
        if made is None:
            return None
        self.keep(key, *made, reads)
        return made[0]

    def _is_current(self, reads: dict[str, bytes]) -> bool:
        for key, value in reads.items():  # noqa: SIM110 - a generator would double what this costs
            if not self._cache.is_current(key, value):
                return False
        return True

    def _remove(self, key: K) -> None:
        if (kept := self._kept.pop(key, None)) is None:
            return
        self.bytes_held -= kept.size
        for value in kept.reads.values():
            self._uses[id(value)] -= 1
            if not self._uses[id(value)]:
                del self._uses[id(value)]
                self.bytes_held -= len(value)
        kept.thing, kept.reads = None, {}
