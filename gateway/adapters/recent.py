"""Objects fetched whole a moment ago: the frames of one are asked for one by one.

They are of the state in which their study was then: once it is another one they are not given.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from gateway.adapters.flights import Flights
from gateway.model import Target

MAX_KEPT_BYTES = 128 << 20
"""What one archive's objects may take in memory between two requests; a larger one is not kept."""
KEPT_SECONDS = 30.0
Mark = Callable[[str], Awaitable[str]]
"""The mark of the state that a study is in; another one once it is known to have changed."""


class Recent:
    """Whole objects, each fetched once for all who ask, and kept for a while."""

    def __init__(self, clock: Callable[[], float], mark: Mark) -> None:
        self._clock = clock
        self._mark = mark
        self._kept: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._size = 0
        self._flights: Flights[bytes] = Flights()

    async def whole(self, target: Target, fetch: Callable[[], Coroutine[Any, Any, bytes]]) -> bytes:
        """The object of a target, from memory or by `fetch`."""
        key = await self._key(target)
        self._expire()
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][1]

        async def load() -> bytes:
            content = await fetch()
            self._keep(key, content)
            return content

        return await self._flights.join(key, load)

    async def kept(self, target: Target) -> bytes | None:
        """The object of a target where it is at hand."""
        key = await self._key(target)
        self._expire()
        found = self._kept.get(key)
        return None if found is None else found[1]

    async def close(self) -> None:
        """Ends the fetches under way, and lets go of what is kept."""
        await self._flights.close()
        self._kept.clear()
        self._size = 0

    async def _key(self, target: Target) -> str:
        uids = (target.study_uid, target.series_uid, target.instance_uid)
        return f"{uids} {await self._mark(target.study_uid)}"

    def _keep(self, key: str, content: bytes) -> None:
        if len(content) > MAX_KEPT_BYTES:
            return
        self._kept[key] = self._clock() + KEPT_SECONDS, content
        self._size += len(content)
        while self._size > MAX_KEPT_BYTES:
            self._drop(next(iter(self._kept)))

    def _expire(self) -> None:
        for key in [k for k, (until, _) in self._kept.items() if until < self._clock()]:
            self._drop(key)

    def _drop(self, key: str) -> None:
        self._size -= len(self._kept.pop(key)[1])
