"""Objects that cost a process, left alone for a while: trying again would cost the next one."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

_MOST_KNOWN = 10_000


class Shunned:
    """What is left alone, by any name, each for its own time; the oldest are forgotten first."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: OrderedDict[str, float] = OrderedDict()

    def add(self, name: str, seconds: float) -> None:
        """Leave `name` alone for so long from now on."""
        self._until[name] = self._clock() + seconds
        self._until.move_to_end(name)
        if len(self._until) > _MOST_KNOWN:
            self._until.popitem(last=False)

    def __contains__(self, name: str) -> bool:
        """Whether `name` is to be left alone now."""
        until = self._until.get(name)
        if until is None:
            return False
        if self._clock() < until:
            return True
        self._until.pop(name, None)
        return False
