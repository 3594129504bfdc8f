"""What each consumer may ask and cost in a while: buckets that fill up again as time passes.

A request is paid for when it comes; what it made the gateway ask of archives is paid for when it is
over, so that a costly question is answered once and the next one waits. Each process counts alone.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from contextvars import ContextVar
from dataclasses import dataclass, field

from gateway.errors import TooMany

MAX_CONSUMERS = 10_000
MOST_WAITING = 100
"""Requests of one consumer that wait for their place; more are refused."""
_WINDOW_SECONDS = 60.0


@dataclass(slots=True)
class _Bucket:
    """What is left, at the moment `at`; less than nothing after a costly request."""

    left: float
    at: float


@dataclass(slots=True)
class Cost:
    """What one request has made the gateway ask of archives so far, and which were too late."""

    archive_requests: int = 0
    late: frozenset[str] = frozenset()


COST: ContextVar[Cost | None] = ContextVar("cost", default=None)
"""That of the request that is answered; None outside of requests."""


def asked_an_archive() -> None:
    """Counts a request to an archive against the request that is answered."""
    if (cost := COST.get()) is not None:
        cost.archive_requests += 1


HELD: ContextVar[Place | None] = ContextVar("held", default=None)
"""The place that a request had before it began to be answered in the ordinary way."""


@dataclass(frozen=True, slots=True)
class Budgets:
    """What every consumer may ask, cost, and have worked on at a time."""

    requests: Budget
    archive_requests: Budget
    at_once: AtOnce

    def begun(self, consumer: Hashable) -> Place | None:
        """The place of a request that is paid for; None: it has to wait, or may not be answered."""
        place = self.at_once.place_now(consumer)
        if place is None:
            return None
        try:
            self.check(consumer)
        except TooMany:
            place.leave()
            return None
        return place

    def check(self, consumer: Hashable) -> None:
        """Pays for a request. TooMany when nothing is left of either budget."""
        if self.archive_requests.is_limited:
            self.archive_requests.check(consumer)
        if self.requests.is_limited:
            self.requests.check(consumer, units=1)

    async def place(self, consumer: Hashable) -> Place:
        """The place that the request has already, or another one as of `AtOnce.place`."""
        held = HELD.get()
        if held is not None and held.consumer == consumer:
            return held
        if held is not None:
            held.leave()
        return await self.at_once.place(consumer)

    def give_back(self, consumer: Hashable) -> None:
        """What a request paid that is asked once more, and pays then."""
        self.requests.take(consumer, -1)


@dataclass(slots=True)
class _Line:
    """The requests of one consumer: how many places are free, and who waits for one."""

    free: int
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)


class Place:
    """Room for one request of a consumer; whoever has it leaves it, once or more often."""

    __slots__ = ("_leave", "consumer")

    def __init__(self, consumer: Hashable, leave: Callable[[], None] | None) -> None:
        self.consumer = consumer
        self._leave = leave

    def leave(self) -> None:
        """Lets the next one in."""
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()


class AtOnce:
    """So many requests of each consumer are worked on at a time; None: any number.

    The next ones wait in their order, so that those of others come between.
    """

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._lines: dict[Hashable, _Line] = {}

    async def place(self, consumer: Hashable) -> Place:
        """A place, once there is one. TooMany when too many wait for one already."""
        found = self.place_now(consumer)
        if found is not None:
            return found
        line = self._lines[consumer]
        if len(line.waiting) >= MOST_WAITING:
            raise TooMany("too much was asked for at once", retry_after_seconds=1)
        turn = asyncio.get_running_loop().create_future()
        line.waiting.append(turn)
        try:
            await turn
        except BaseException:
            if turn in line.waiting:
                line.waiting.remove(turn)
            else:  # let in and gone at the same time
                self._leave(consumer, line)
            raise
        return Place(consumer, lambda: self._leave(consumer, line))

    def place_now(self, consumer: Hashable) -> Place | None:
        """A place, if there is one at once; None: it has to be waited for."""
        if self._most is None:
            return Place(consumer, None)
        line = self._lines.setdefault(consumer, _Line(self._most))
        if not line.free:
            return None
        line.free -= 1
        return Place(consumer, lambda: self._leave(consumer, line))

    def _leave(self, consumer: Hashable, line: _Line) -> None:
        """Gives a place to whoever has waited longest for it."""
        if line.waiting:
            turn = line.waiting.popleft()
            if not turn.done():  # else whoever waited is gone, and gives it on
                turn.set_result(None)
            return
        line.free += 1
        if line.free == self._most:
            del self._lines[consumer]


class Budget:
    """So many units a minute for each consumer; None: any number. All of a minute's at once."""

    def __init__(self, per_minute: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = per_minute
        self.is_limited = per_minute is not None
        self._clock = clock
        self._buckets: OrderedDict[Hashable, _Bucket] = OrderedDict()

    def check(self, consumer: Hashable, units: int = 0) -> None:
        """Pays for `units`. TooMany when nothing is left, with the seconds until something is."""
        if self._most is None:
            return
        bucket = self._filled(consumer, self._most)
        if bucket.left <= 0:
            seconds = (1 - bucket.left) * _WINDOW_SECONDS / self._most
            raise TooMany("too much was asked for", retry_after_seconds=math.ceil(seconds))
        bucket.left -= units

    def take(self, consumer: Hashable, units: int) -> None:
        """Pays for `units`, whatever is left."""
        if self._most is not None and units:
            self._filled(consumer, self._most).left -= units

    def _filled(self, consumer: Hashable, most: int) -> _Bucket:
        now = self._clock()
        bucket = self._buckets.get(consumer)
        if bucket is None:
            bucket = self._buckets[consumer] = _Bucket(most, now)
            if len(self._buckets) > MAX_CONSUMERS:
                self._buckets.popitem(last=False)
            return bucket
        self._buckets.move_to_end(consumer)
        left = bucket.left + (now - bucket.at) * most / _WINDOW_SECONDS
        bucket.left = left if left < most else most  # min() takes twice as long
        bucket.at = now
        return bucket
