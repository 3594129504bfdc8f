"""Objects fetched whole a moment ago: the frames of one are asked for one by one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any

from gateway.adapters.flights import Flights

MAX_KEPT_BYTES = 128 << 20
"""What one archive's objects may take in memory between two requests; a larger one is not kept."""
KEPT_SECONDS = 30.0


class Recent:
    """Whole objects by key, each fetched once for all who ask, and kept for a while."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kept: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._size = 0
        self._flights: Flights[bytes] = Flights()

    async def whole(self, key: str, fetch: Callable[[], Coroutine[Any, Any, bytes]]) -> bytes:
        """The object of `key`, from memory or by `fetch`."""
        self._expire()
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][1]

        async def load() -> bytes:
            content = await fetch()
            self._keep(key, content)
            return content

        return await self._flights.join(key, load)

    def kept(self, key: str) -> bytes | None:
        """The object of `key` where it is at hand."""
        self._expire()
        found = self._kept.get(key)
        return None if found is None else found[1]

    async def close(self) -> None:
        """Ends the fetches under way, and lets go of what is kept."""
        await self._flights.close()
        self._kept.clear()
        self._size = 0

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
