"""What is forgotten, told to Redis and to all processes; kept back while Redis is away."""

from __future__ import annotations

import itertools
import time
from functools import partial

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import OutOfMemoryError

from gateway.adapters.cache_names import Key, Names, What
from gateway.adapters.redis_asking import Asking
from gateway.adapters.redis_marks import forgotten
from gateway.adapters.redis_notices import Publish

UNTOLD_AT_ONCE = 32
"""How many of them one look tells Redis of, besides its own."""
CATCH_UP_SECONDS = 0.1
MAX_UNTOLD = 100_000
"""What was forgotten while Redis is away is remembered until it is back, so much of it."""


class Forgetting:
    """What one process forgets."""

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

    def is_untold(self, marks: tuple[str, ...]) -> bool:
        """Whether Redis does not know yet that one of `marks` was replaced."""
        return not self._untold.keys().isdisjoint(marks)

    async def forget(self, what: What) -> bool:
        """Begin a new epoch of a value or a group, and tell all processes; whether that was done.

        While Redis is away it is remembered, and done before the next use of any such value.
        """
        mark = self._names.mark(what)
        self._untold[mark] = self._names.value(what) if isinstance(what, Key) else None
        if len(self._untold) > MAX_UNTOLD:
            del self._untold[next(iter(self._untold))]
        return await self.is_told((mark,))

    async def catch_up(self) -> None:
        """Tell Redis of what was forgotten while it was away, as far as that goes quickly."""
        started = time.monotonic()
        while self._untold and time.monotonic() - started < CATCH_UP_SECONDS:
            left = len(self._untold)
            await self.is_told(())
            if len(self._untold) >= left:
                return

    async def is_told(self, marks: tuple[str, ...]) -> bool:
        """Whether Redis knows that `marks` were replaced, if they were. Tells it of others too."""
        if not self._untold:
            return True
        mine = [mark for mark in marks if mark in self._untold]
        others = (mark for mark in self._untold if mark not in mine)
        for mark in (*mine, *itertools.islice(others, UNTOLD_AT_ONCE)):
            value = self._untold.get(mark)
            if not await self._asking.asked(partial(self._begin_epoch, mark, value)):
                break
            self._untold.pop(mark, None)
        return not self.is_untold(marks)

    async def _begin_epoch(self, mark: str, value: str | None) -> bool:
        """Replace a mark, and tell everybody, who sees the new one if he looks then.

        A full Redis still deletes: what bore a mark that is gone is void as well, and what bears
        a mark of its own alone goes itself.
        """
        if value is not None:
            await self._client.delete(value)
        try:
            await self._client.set(mark, forgotten(), px=self._life_ms)
        except OutOfMemoryError:
            await self._client.delete(mark)
        await self._publish(mark)
        return True
