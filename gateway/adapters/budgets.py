"""What each consumer may ask and cost in a while: buckets that fill up again as time passes.

A request is paid for when it comes; what it made the gateway ask of archives is paid for when it is
over, so that a costly question is answered once and the next one waits. Each process counts alone.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass

from gateway.errors import TooMany

MAX_CONSUMERS = 10_000
_WINDOW_SECONDS = 60.0


@dataclass(slots=True)
class _Bucket:
    """What is left, at the moment `at`; less than nothing after a costly request."""

    left: float
    at: float


@dataclass(slots=True)
class Cost:
    """What one request has made the gateway ask of archives so far."""

    archive_requests: int = 0


COST: ContextVar[Cost | None] = ContextVar("cost", default=None)
"""That of the request that is answered; None outside of requests."""


def asked_an_archive() -> None:
    """Counts a request to an archive against the request that is answered."""
    if (cost := COST.get()) is not None:
        cost.archive_requests += 1


@dataclass(frozen=True, slots=True)
class Budgets:
    """The two budgets of every consumer."""

    requests: Budget
    archive_requests: Budget

    def check(self, consumer: str) -> None:
        """Pays for a request. TooMany when nothing is left of either budget."""
        self.requests.check(consumer)
        self.archive_requests.check(consumer)
        self.requests.take(consumer, 1)


class Budget:
    """So many units a minute for each consumer; None: any number. All of a minute's at once."""

    def __init__(self, per_minute: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = per_minute
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def check(self, consumer: str) -> None:
        """TooMany when nothing is left, with the seconds until something is."""
        if self._most is None:
            return
        left = self._filled(consumer, self._most).left
        if left <= 0:
            seconds = (1 - left) * _WINDOW_SECONDS / self._most
            raise TooMany("too much was asked for", retry_after_seconds=math.ceil(seconds))

    def take(self, consumer: str, units: int) -> None:
        """Pays for `units`."""
        if self._most is not None:
            self._filled(consumer, self._most).left -= units

    def _filled(self, consumer: str, most: int) -> _Bucket:
        now = self._clock()
        bucket = self._buckets.setdefault(consumer, _Bucket(most, now))
        self._buckets.move_to_end(consumer)
        if len(self._buckets) > MAX_CONSUMERS:
            self._buckets.popitem(last=False)
        bucket.left = min(most, bucket.left + (now - bucket.at) * most / _WINDOW_SECONDS)
        bucket.at = now
        return bucket
