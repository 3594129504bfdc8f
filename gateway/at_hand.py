"""What is at hand, for those who await each item; cheaper than a generator, and never left open."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Generic, TypeVar

from gateway.model import Part

CHUNK_BYTES = 256 << 10
_T = TypeVar("_T")


class AtHand(AsyncIterator[_T], Generic[_T]):
    """Some items, then those of `rest`, which is closed by whoever opened it."""

    __slots__ = ("_items", "_rest")

    def __init__(self, items: Iterable[_T], rest: AsyncIterator[_T] | None = None) -> None:
        self._items = iter(items)
        self._rest = rest

    async def __anext__(self) -> _T:
        """The next item."""
        for item in self._items:
            return item
        if self._rest is None:
            raise StopAsyncIteration
        return await self._rest.__anext__()

    def taken(self) -> list[_T] | None:
        """All that is left, at once; None: it is not all at hand."""
        return None if self._rest is not None else list(self._items)


def held(content: bytes | bytearray | memoryview, content_type: str) -> Part:
    """A part whose body is at hand."""
    chunks = (bytes(content[at : at + CHUNK_BYTES]) for at in range(0, len(content), CHUNK_BYTES))
    return Part(content_type=content_type, chunks=AtHand(chunks), length=len(content))


async def first(items: AsyncIterator[_T]) -> tuple[_T, AsyncIterator[_T]] | None:
    """The first of `items`, and all of them with that one still to come; None: there are none."""
    if isinstance(items, AtHand) and (some := items.taken()) is not None:
        return (some[0], AtHand(some)) if some else None
    async for item in items:
        return item, AtHand((item,), items)
    return None


async def everything(items: AsyncIterator[_T]) -> list[_T]:
    """All of `items`, once the last of them has come."""
    if isinstance(items, AtHand) and (some := items.taken()) is not None:
        return some
    return [item async for item in items]
