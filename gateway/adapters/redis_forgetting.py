"""What is forgotten, told to Redis and to all processes; kept back while Redis is away.

Where Redis refuses to be written, the notice still goes out. Whoever hears it holds, as the process
that forgot, that Redis has not heard of it: what bears the mark there is not believed by any of
them, until one of them could replace the mark.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import ResponseError

from gateway.adapters.cache_names import Key, Names, What
from gateway.adapters.ended import ended
from gateway.adapters.redis_asking import Asking
from gateway.adapters.redis_marks import forgotten
from gateway.adapters.redis_notices import REFUSED, STILL_REFUSED, TOLD, Publish

LOG: structlog.typing.FilteringBoundLogger = structlog.get_logger()
UNTOLD_AT_ONCE = 32
"""So many of them Redis is told at a time."""
REMINDED_AT_ONCE = 200
CATCH_UP_SECONDS = 0.1
"""So long is waited for what it is told."""
LAST_SECONDS = 2.5
"""How long a process that ends tries to tell what it has not told yet."""
MAX_UNTOLD = 100_000
"""What was forgotten while Redis is away is remembered until it is back, so much of it."""


@dataclass(slots=True, eq=False)
class _Untold:
    """Something that this process forgot; `value` is what goes with its mark, if one value does."""

    value: str | None


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
        self._untold: dict[str, _Untold] = {}
        self._of_others: dict[str, None] = {}
        self._refused: set[str] = set()
        self._running: set[asyncio.Task[bool]] = set()
        self._late: set[asyncio.Task[bool]] = set()
        self._telling: asyncio.Task[bool] | None = None

    def is_untold(self, marks: tuple[str, ...]) -> bool:
        """Whether Redis does not know yet that one of `marks` was replaced."""
        return any(not each.keys().isdisjoint(marks) for each in (self._untold, self._of_others))

    async def forget(self, what: What, seconds: float | None = None) -> bool:
        """Begin a new epoch of a value or a group, and tell all processes; whether that was done.

        `seconds`: how long that is waited for; it goes on meanwhile. One value is not waited for
        while others are late: there may be many of them in a row. While Redis is away it is
        remembered, and done before the next use of any such value.
        """
        if seconds is not None and isinstance(what, Key) and self._late:
            seconds = 0
        mark = self._names.mark(what)
        self._untold[mark] = _Untold(self._names.value(what) if isinstance(what, Key) else None)
        self._refused.discard(mark)
        _bound(self._untold)
        task = self._begun(self._is_replaced(mark))
        is_told = await _within(seconds, task)
        if not task.done():
            self._late.add(task)
            task.add_done_callback(self._late.discard)
        return is_told

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
        """Tell Redis of what it does not know yet; what takes longer goes on alone.

        Where it is still refused, those processes are told that came since.
        """
        if self._left and self._asking.takes_writes:
            await _within(CATCH_UP_SECONDS, self._tell(()))

    async def note_break(self) -> bool:
        """Tell all processes that purges may have been lost up to now; whether that was done."""
        name, life_ms = self._names.breaks, self._life_ms
        if not self._asking.takes_writes:
            return False
        return bool(
            await self._asking.asked(
                lambda: self._client.set(name, b"1", px=life_ms), is_write=True
            )
        )

    async def end(self) -> None:
        """Try for a while to tell what this process forgot: nobody else may know of it."""
        started = time.monotonic()
        await self.catch_up()
        while self._untold and time.monotonic() - started < LAST_SECONDS:
            await asyncio.sleep(CATCH_UP_SECONDS)
            await self.catch_up()
        if self._untold:
            LOG.error("the shared cache was not told of changes", changes=len(self._untold))
        await ended(self._running)

    async def is_told(self, marks: tuple[str, ...]) -> bool:
        """Whether Redis knows that `marks` were replaced, if they were. Tells it of others too."""
        if self._left and self._asking.takes_writes:
            telling = self._tell(marks)
            if self.is_untold(marks):
                await _within(CATCH_UP_SECONDS, telling)
        return not self.is_untold(marks)

    @property
    def _left(self) -> int:
        return len(self._untold) + len(self._of_others)

    def _begun(self, work: Coroutine[Any, Any, bool]) -> asyncio.Task[bool]:
        """`work`, which goes on whoever leaves."""
        # Not a TaskGroup: nobody need wait for its end. Owned here until then.
        task = asyncio.get_running_loop().create_task(work, name="telling")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    def _tell(self, first: tuple[str, ...]) -> asyncio.Task[bool]:
        """Tell Redis of all that it does not know, `first` before the others; once at a time."""
        if self._telling is None or self._telling.done():
            self._telling = self._begun(self._tell_all(first))
        return self._telling

    async def _tell_all(self, first: tuple[str, ...]) -> bool:
        """One, to see whether Redis takes it, then many at once."""
        at_once = 1
        while self._left and self._asking.takes_writes:
            left = self._left
            mine = [mark for mark in first if self.is_untold((mark,))]
            marks = dict.fromkeys((*mine, *self._untold, *self._of_others))
            some = itertools.islice(marks, at_once)
            await asyncio.gather(*(self._is_replaced(mark) for mark in some))
            if self._left >= left:
                return bool(await self._asking.asked(self._remind))
            at_once = UNTOLD_AT_ONCE
        return not self._left

    async def _is_replaced(self, mark: str) -> bool:
        return bool(await self._asking.asked(partial(self._begin_epoch, mark), is_write=True))

    async def _begin_epoch(self, mark: str) -> bool:
        """Replace a mark, and tell everybody, who sees the new one if he looks then.

        A full Redis still deletes: what bore a mark that is gone is void as well, and what bears
        a mark of its own alone goes itself. What is forgotten once more meanwhile is still untold.
        """
        untold = self._untold.get(mark)
        try:
            if untold is not None and untold.value is not None:
                await self._client.delete(untold.value)
            await self._replace(mark)
        except ResponseError:
            await self._publish(mark, STILL_REFUSED if mark in self._refused else REFUSED)
            self._refused.add(mark)
            raise
        await self._publish(mark)
        if mark in self._refused or mark in self._of_others:
            await self._publish(mark, TOLD)
        self._refused.discard(mark)
        self._of_others.pop(mark, None)
        if self._untold.get(mark) is untold:
            self._untold.pop(mark, None)
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


def _bound(marks: dict[str, Any]) -> None:
    if len(marks) > MAX_UNTOLD:
        del marks[next(iter(marks))]


async def _within(seconds: float | None, task: asyncio.Task[bool]) -> bool:
    """What a task says in that time; False: nothing yet."""
    await asyncio.wait({task}, timeout=seconds)
    return task.done() and task.result()
