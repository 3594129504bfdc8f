"""Ways to a picture that are not tried again for a while, for one object or for all of its kind."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

MOST_SERIES = 3
"""A way that failed for objects of so many series, and for none not, is shut for its SOP class."""
MOST_OBJECTS = 12
"""Or for so many objects, whichever series they are in."""
_MOST_KNOWN = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way of one archive, and the object that is to be had in it."""

    archive: str
    name: str
    sop_class_uid: str | None
    series_uid: str | None = None
    instance_uid: str | None = None

    @property
    def of_class(self) -> Way:
        """The same for every object of its class."""
        return Way(archive=self.archive, name=self.name, sop_class_uid=self.sop_class_uid)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Note:
    """Until when a way is not tried again, and whether what was in the way is passing."""

    until: float
    is_passing: bool


@dataclass(slots=True)
class _Failures:
    """What a way failed for since it last did not."""

    series: set[str | None] = field(default_factory=set)
    objects: set[str | None] = field(default_factory=set)

    def add(self, way: Way) -> bool:
        """Takes one in; whether it is the class by now rather than some object."""
        self.series.add(way.series_uid)
        self.objects.add(way.instance_uid)
        return len(self.series) >= MOST_SERIES or len(self.objects) >= MOST_OBJECTS


class ShutWays:
    """What failed, by archive and way: for one object first, for its class after some of them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._notes: OrderedDict[Way, _Note] = OrderedDict()
        self._failures: dict[Way, _Failures] = {}

    def is_shut(self, way: Way) -> bool:
        """Whether it is not worth trying now."""
        return bool(self._noted(way))

    def may_recover(self, ways: Sequence[Way]) -> bool:
        """Whether something passing shuts one of the ways, so that it is open in a while."""
        return any(note.is_passing for w in ways for note in self._noted(w))

    def failed(self, way: Way, seconds: float, *, is_passing: bool = False) -> None:
        """Shuts the way for this object, and for its class once others failed as well."""
        self._keep(way, _Note(until=self._clock() + seconds, is_passing=is_passing))
        if self._failures.setdefault(way.of_class, _Failures()).add(way):
            self.shut(way, seconds, is_passing=is_passing)

    def shut(self, way: Way, seconds: float, *, is_passing: bool = False) -> None:
        """Shuts the way for the whole class."""
        self._failures.pop(way.of_class, None)
        self._keep(way.of_class, _Note(until=self._clock() + seconds, is_passing=is_passing))

    def spare(self, way: Way, seconds: float) -> None:
        """Shuts the way for this object alone, which says nothing of others."""
        self._keep(way, _Note(until=self._clock() + seconds, is_passing=True))

    def worked(self, way: Way) -> None:
        """What failed before failed for the sake of single objects."""
        self._failures.pop(way.of_class, None)

    def _noted(self, way: Way) -> list[_Note]:
        """What shuts a way now."""
        now = self._clock()
        notes = (self._notes.get(each) for each in (way, way.of_class))
        return [note for note in notes if note is not None and now < note.until]

    def _keep(self, way: Way, note: _Note) -> None:
        self._notes.pop(way, None)
        self._notes[way] = note
        while len(self._notes) > _MOST_KNOWN:
            self._notes.popitem(last=False)
        if len(self._failures) > _MOST_KNOWN:
            self._failures.clear()
