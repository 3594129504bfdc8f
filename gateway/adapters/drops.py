"""What was dropped of late: whatever was read before that is worth nothing any more."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

MAX_KNOWN = 100_000
"""Marks whose last drop is remembered; before the oldest of them, all counts as dropped."""
MARK_BYTES = 350
"""What one of them costs."""


@dataclass(frozen=True, slots=True)
class Since:
    """A moment, and the marks of something whose drops count since then.

    `session`: the unbroken subscription by which drops of other processes are heard; None: none.
    """

    stamp: int
    marks: tuple[str, ...]
    session: int | None = None


class Drops:
    """The order of drops and reads in this process, by marks as `Names` makes them."""

    def __init__(self, max_known: int = MAX_KNOWN) -> None:
        self._max_known = min(max_known, MAX_KNOWN)
        self._last: OrderedDict[str, int] = OrderedDict()
        self._floor = 0
        self.now = 0
        """The number of the last drop: the stamp of whatever is read from now on."""
        self.doubted = 0
        """Whatever has a stamp before this one may have been dropped without a word."""

    @property
    def bytes_held(self) -> int:
        """What is remembered costs so much."""
        return len(self._last) * MARK_BYTES

    def note(self, mark: str) -> None:
        """What has this mark was dropped."""
        self.now += 1
        self._last.pop(mark, None)
        self._last[mark] = self.now
        if len(self._last) > self._max_known:
            _, self._floor = self._last.popitem(last=False)

    def doubt(self) -> None:
        """From now on it is not known what of all that was read may have been dropped."""
        self.now += 1
        self.doubted = self.now

    def is_quiet(self, since: Since) -> bool:
        """Whether nothing of what `since` is about was dropped, or may have been."""
        return self.doubted <= since.stamp and self.last(since.marks) <= since.stamp

    def last(self, marks: Iterable[str]) -> int:
        """The stamp from which on a read of what has these marks is good."""
        return max(self._floor, *(self._last.get(mark, 0) for mark in marks))
