"""Objects as they are drawn: fetched into memory once for all who draw them, within a budget.

An object tells its size late, if at all. So it is fetched into what room there is; one that comes
upon the end of it is dropped, waits for as much as it may need, and is fetched again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gateway.adapters.desk import Chunks
from gateway.adapters.drawers import TURN_SECONDS, CannotDraw, WorkersBusy
from gateway.adapters.flights import Flights
from gateway.adapters.room import Room, Share
from gateway.adapters.thumbnail import MAX_BYTES
from gateway.delivery import Delivery
from gateway.rules.media import ANY, Form
from gateway.rules.retrieval import Fetch

MOST_HELD_BYTES = 512 * 2**20
"""Those of all objects that are being fetched and drawn, or wait for it."""
FIRST_BYTES = 2**20
_GROWTH = 4
Content = tuple[Chunks, str]


class _NoRoom(Exception):
    """There is no room for the next piece; says for how many bytes to wait."""

    def __init__(self, needed: int) -> None:
        super().__init__(needed)
        self.needed = needed


@dataclass(slots=True)
class _Held:
    """An object that is wanted by so many, what there is of it, and the room that this takes."""

    users: int = 0
    content: Content | None = None
    share: Share | None = None


class Objects:
    """The objects that are being drawn; whoever makes this closes it."""

    def __init__(
        self,
        delivery: Delivery,
        most_bytes: int = MOST_HELD_BYTES,
        turn_seconds: float = TURN_SECONDS,
    ) -> None:
        """`turn_seconds`: how long an object may wait for room."""
        self._delivery = delivery
        self._room = Room(most_bytes)
        self._turn_seconds = turn_seconds
        self._held: dict[str, _Held] = {}
        self._flights: Flights[Content] = Flights()

    @asynccontextmanager
    async def held(self, fetch: Fetch, kind: str) -> AsyncIterator[Content]:
        """The only part of a fetch as `kind`, with its Content-Type, as long as one is in here.

        CannotDraw: it is too large, or nothing came. WorkersBusy: there was no room in time.
        """
        key = f"{kind} {fetch}"
        held = self._held.setdefault(key, _Held())
        held.users += 1
        try:
            if held.content is None:
                await self._flights.join(key, lambda: self._fetched(fetch, kind, held))
            assert held.content is not None  # noqa: S101  the flight has set it
            yield held.content
        finally:
            held.users -= 1
            if not held.users:
                del self._held[key]
                if held.share is not None:
                    held.share.give_back()

    @property
    def free_bytes(self) -> int:
        """How many more could be held now."""
        return self._room.free

    async def close(self) -> None:
        """Stop fetching."""
        await self._flights.close()

    async def _fetched(self, fetch: Fetch, kind: str, held: _Held) -> Content:
        """Fetch it into `held`."""
        size = FIRST_BYTES
        while True:
            try:
                share = await self._room.share(size, self._turn_seconds)
            except TimeoutError as error:
                raise WorkersBusy("too much is being drawn") from error
            try:
                content = await self._read(fetch, kind, share)
            except _NoRoom as error:
                share.give_back()
                size = error.needed
            except BaseException:
                share.give_back()
                raise
            else:
                held.content, held.share = content, share
                return content

    async def _read(self, fetch: Fetch, kind: str, share: Share) -> Content:
        """The object as far as there is room for it, which is left at its size."""
        form = Form(is_multipart=False, types=(kind,), transfer_syntaxes=(ANY,))
        body = Chunks()
        async with self._delivery.opened(fetch, form) as parts:
            async for part in parts:
                async for chunk in part.chunks:
                    body.append(chunk)
                    if len(body) > MAX_BYTES:
                        raise CannotDraw("the object is too large")
                    if not share.grown(len(body)):
                        raise _NoRoom(_wanted(len(body), part.length))
                return body, part.content_type
        raise CannotDraw("nothing came")


def _wanted(come: int, told: int | None) -> int:
    """For how many bytes to wait where so many were one too many."""
    return min(max(come, told or come * _GROWTH), MAX_BYTES)
