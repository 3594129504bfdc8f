"""What is forgotten, told to Redis and to all processes; kept back while Redis is away.

Where Redis refuses to be written, the notice still goes out. Whoever hears it holds, as the process
that forgot, that Redis has not heard of it: what bears the mark there is not believed by any of
them, until one of them could replace the mark.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from functools import partial

import structlog
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import ResponseError

from gateway.adapters.cache_names import Key, Names, What
from gateway.adapters.redis_asking import Asking
from gateway.adapters.redis_marks import forgotten
from gateway.adapters.redis_notices import REFUSED, STILL_REFUSED, TOLD, Publish

LOG: structlog.typing.FilteringBoundLogger = structlog.get_logger()
UNTOLD_AT_ONCE = 32
"""How many of them one look tells Redis of, besides its own."""
REMINDED_AT_ONCE = 200
CATCH_UP_SECONDS = 0.1
LAST_SECONDS = 2.5
"""How long a process that ends tries to tell what it has not told yet."""
MAX_UNTOLD = 100_000
"""What was forgotten while Redis is away is remembered until it is back, so much of it."""


class Forgetting:
    """What one process forgets, and what others could not tell Redis."""

    def __init__(
        self,
        client: Redis | RedisCluster,
        *,
        names: Names,
        asking: Asking,
        publish: Publish,
        life_ms: int,
    ) -> None:
        """`life_ms`: longer than any value that bears a mark."""
        self._client = client
        self._names = names
        self._asking = asking
        self._publish = publish
        self._life_ms = life_ms
        self._untold: dict[str, str | None] = {}
        self._of_others: dict[str, str | None] = {}
        self._refused: set[str] = set()

    def is_untold(self, marks: tuple[str, ...]) -> bool:
        """Whether Redis does not know yet that one of `marks` was replaced."""
        return any(not each.keys().isdisjoint(marks) for each in (self._untold, self._of_others))

    async def forget(self, what: What) -> bool:
        """Begin a new epoch of a value or a group, and tell all processes; whether that was done.

        While Redis is away it is remembered, and done before the next use of any such value.
        """
        mark = self._names.mark(what)
        self._untold[mark] = self._names.value(what) if isinstance(what, Key) else None
        self._refused.discard(mark)
        _bound(self._untold)
        return await self._is_replaced(mark)

    def heard(self, word: bytes, mark: str) -> bool:
        """Another process could not tell Redis of `mark`, or now could; whether that drops it."""
        if word == TOLD:
            self._of_others.pop(mark, None)
            return False
        is_known = self.is_untold((mark,))
        self._of_others[mark] = None
        _bound(self._of_others)
        return word == REFUSED or not is_known

    async def catch_up(self) -> None:
        """Tell Redis of what it does not know yet, as far as that goes quickly.

        Where it is still refused, those processes are told that came since.
        """
        started = time.monotonic()
        if not self._asking.takes_writes:
            return
        while self._left and time.monotonic() - started < CATCH_UP_SECONDS:
            left = self._left
            await self._tell(())
            if self._left >= left:
                await self._asking.asked(self._remind)
                return

    async def end(self) -> None:
        """Try for a while to tell what this process forgot: nobody else may know of it."""
        started = time.monotonic()
        await self.catch_up()
        while self._untold and time.monotonic() - started < LAST_SECONDS:
            await asyncio.sleep(CATCH_UP_SECONDS)
            await self.catch_up()
        if self._untold:
            LOG.error("the shared cache was not told of changes", changes=len(self._untold))

    async def is_told(self, marks: tuple[str, ...]) -> bool:
        """Whether Redis knows that `marks` were replaced, if they were. Tells it of others too."""
        if self._left and self._asking.takes_writes:
            await self._tell(marks)
        return not self.is_untold(marks)

    @property
    def _left(self) -> int:
        return len(self._untold) + len(self._of_others)

    async def _tell(self, marks: tuple[str, ...]) -> None:
        """Replace `marks`, where Redis does not know that they were, and some more like that."""
        mine = [mark for mark in marks if self.is_untold((mark,))]
        others = (m for m in (*self._untold, *self._of_others) if m not in mine)
        for mark in (*mine, *itertools.islice(others, UNTOLD_AT_ONCE)):
            if not await self._is_replaced(mark):
                return

    async def _is_replaced(self, mark: str) -> bool:
        begin = partial(self._begin_epoch, mark, self._untold.get(mark))
        if not await self._asking.asked(begin, is_write=True):
            return False
        self._refused.discard(mark)
        self._untold.pop(mark, None)
        self._of_others.pop(mark, None)
        return True

    async def _begin_epoch(self, mark: str, value: str | None) -> bool:
        """Replace a mark, and tell everybody, who sees the new one if he looks then.

        A full Redis still deletes: what bore a mark that is gone is void as well, and what bears
        a mark of its own alone goes itself.
        """
        try:
            if value is not None:
                await self._client.delete(value)
            await self._replace(mark)
        except ResponseError:
            await self._publish(mark, STILL_REFUSED if mark in self._refused else REFUSED)
            self._refused.add(mark)
            raise
        await self._publish(mark)
        if mark in self._refused or mark in self._of_others:
            await self._publish(mark, TOLD)
        return True

    async def _replace(self, mark: str) -> None:
        try:
            await self._client.set(mark, forgotten(), px=self._life_ms)
        except ResponseError:
            await self._client.delete(mark)

    async def _remind(self) -> bool:
        for mark in itertools.islice((*self._untold, *self._of_others), REMINDED_AT_ONCE):
            await self._publish(mark, STILL_REFUSED)
        return True


def _bound(marks: dict[str, str | None]) -> None:
    if len(marks) > MAX_UNTOLD:
        del marks[next(iter(marks))]
