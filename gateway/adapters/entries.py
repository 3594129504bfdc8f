"""What is held in memory, within a bound in bytes, and how far it can still be relied on.

What was used least recently makes room. An entry is gone once something that it bears the mark of
was dropped, and in doubt once it is not known whether it was.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from gateway.adapters.drops import Drops

T = TypeVar("T")
OVERHEAD_BYTES = 1400
"""What an entry costs besides key and value: objects, marks, hash table slots, looks at Redis."""
LARGEST_SHARE = 4
"""An entry larger than this part of the whole is not kept: it would empty it."""


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """What was loaded, and the reading of the clock at its age of 0.

    `stamp`: how many drops there had been when it was asked for, of which those that bear one of
    its `marks` count. `is_doubted`: serve it only if nothing newer can be loaded.
    """

    content: T
    loaded_at: float
    size: int
    stamp: int
    marks: tuple[str, ...]
    is_doubted: bool = False


class Entries(Generic[T]):
    """Entries by key, of which others hear by `drops` what they dropped."""

    def __init__(self, max_bytes: int, drops: Drops) -> None:
        self._max_bytes = max_bytes
        self._drops = drops
        self._entries: OrderedDict[str, Entry[T]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        """How many there are, those included that were dropped with others and wait for it."""
        return len(self._entries)

    def __contains__(self, key: str) -> bool:
        """Whether there is one of `key`, good or not."""
        return key in self._entries

    @property
    def bytes_held(self) -> int:
        """The size of all entries with their overhead, and of what is known of drops."""
        return self._bytes + self._drops.bytes_held

    def found(self, key: str) -> Entry[T] | None:
        """The entry of `key`, if nothing that it bears the mark of was dropped since."""
        entry = self._entries.get(key)
        if entry is None or entry.stamp == self._drops.now:
            return entry
        if self._drops.last(entry.marks) <= entry.stamp:
            return entry
        self.remove(key)
        return None

    def is_doubted(self, entry: Entry[T]) -> bool:
        """Whether it may have been dropped without a word, or is known not to be the newest."""
        return entry.is_doubted or entry.stamp < self._drops.doubted

    def used(self, key: str) -> None:
        """`key` makes room last of all."""
        self._entries.move_to_end(key)

    def keep(self, key: str, entry: Entry[T]) -> None:
        """Hold `entry`, unless it is too large, or was dropped since it was asked for."""
        if self._drops.last(entry.marks) > entry.stamp:
            return
        self.remove(key)
        size = entry.size + len(key) + OVERHEAD_BYTES
        if size * LARGEST_SHARE <= self._max_bytes:
            self._entries[key] = replace(entry, size=size)
            self._bytes += size

    def doubt(self, key: str) -> None:
        """Serve the entry of `key` from now on only if nothing newer can be loaded."""
        if entry := self._entries.get(key):
            self._entries[key] = replace(entry, is_doubted=True)

    def confirm(self, key: str, stamp: int) -> None:
        """The entry of `key` was as good as new when that was the stamp: it is not in doubt."""
        if entry := self._entries.get(key):
            self._entries[key] = replace(entry, stamp=stamp, is_doubted=False)

    def make_room(self, more_bytes: int) -> None:
        """Drop as much as is needed for all that is held and `more_bytes` beside it."""
        while self._entries and self.bytes_held + more_bytes > self._max_bytes:
            self.remove(next(iter(self._entries)))

    def remove(self, key: str) -> None:
        """Hold it no more."""
        if entry := self._entries.pop(key, None):
            self._bytes -= entry.size

    def clear(self) -> None:
        """Hold nothing any more."""
        self._entries.clear()
        self._bytes = 0
