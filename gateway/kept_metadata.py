"""Metadata, remembered compressed: viewers ask for it again and again."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from gateway.adapters.cache import Fresh, Loader
from gateway.adapters.cache_names import Key, What
from gateway.adapters.flights import Flights

MOST_BYTES = 1 << 20
"""What is larger than this when it is compressed is not remembered."""
_MOST_PLAIN_BYTES = 32 << 20
_AT_ONCE_BYTES = 1 << 16
"""So much is compressed without a thread of its own."""
_FAST = 1
_encoded = msgspec.msgpack.Encoder().encode
_decoded = msgspec.msgpack.Decoder(list[bytes]).decode

Ask = Callable[[], Coroutine[Any, Any, list[bytes]]]
IsWhole = Callable[[Sequence[bytes]], Coroutine[Any, Any, bool]]


class Memory(Protocol):
    """What loads, remembers and forgets."""

    async def load(self, key: Key, loader: Loader) -> bytes:
        """The value of `key`, from memory or from `loader`."""

    async def forget(self, what: What) -> bool:
        """Drops what is remembered of a key."""


@dataclass(slots=True)
class _Handed:
    """What a load in this process gives to all who wait for it; None: there was no load here."""

    waiters: int = 0
    found: list[bytes] | None = None


class KeptMetadata:
    """Metadata by key, of which one load at a time is under way. Whoever makes it closes it."""

    def __init__(self, cache: Memory) -> None:
        self._cache = cache
        self._waiting: dict[str, _Handed] = {}
        self._asking: Flights[list[bytes]] = Flights()

    async def remembered(
        self, key: Key, ask: Ask, is_whole: IsWhole, *, is_lasting: bool = True
    ) -> list[bytes]:
        """The objects that `ask` gives, from the cache where they are known; raises what it raises.

        Of those who ask at once, one asks the archive, and all of them get what it was given. What
        is not whole, or too large, is not remembered beyond that; it is remembered for a while
        that it is not. `is_lasting`: nothing under this key is ever out of date.
        """
        with self._handed(key) as handed:
            value = await self._cache.load(key, self._loader(key, ask, is_whole, is_lasting))
        if handed.found is not None:
            return handed.found
        found = await unpacked(value)
        if found is None and value:
            await self._cache.forget(key)
        return await self._asking.join(key, ask) if found is None else found

    async def close(self) -> None:
        """Ends the loads under way."""
        await self._asking.close()

    @contextmanager
    def _handed(self, key: Key) -> Iterator[_Handed]:
        """What is handed over within; who comes after the first has taken it waits for another."""
        handed = self._waiting.setdefault(key, _Handed())
        handed.waiters += 1
        try:
            yield handed
        finally:
            handed.waiters -= 1
            is_over = handed.found is not None or not handed.waiters
            if is_over and self._waiting.get(key) is handed:
                del self._waiting[key]

    def _loader(self, key: Key, ask: Ask, is_whole: IsWhole, is_lasting: bool) -> Loader:  # noqa: FBT001
        async def load(previous: bytes | None) -> Fresh:
            if previous and is_lasting:
                return Fresh(value=previous)  # the key names the record that it was read for
            found = await ask()
            value = await packed(found) if await is_whole(found) else b""
            if (handed := self._waiting.get(key)) is not None:
                handed.found = found
            return Fresh(value=value, is_absent=not value)

        return load


async def packed(objects: Sequence[bytes]) -> bytes:
    """The objects in as few bytes as is quickly done; b"" where these are too many."""
    plain = _encoded(objects)
    if not objects or len(plain) > _MOST_PLAIN_BYTES:
        return b""
    if len(plain) <= _AT_ONCE_BYTES:
        return zlib.compress(plain, _FAST)
    value = await asyncio.to_thread(zlib.compress, plain, _FAST)
    return value if len(value) <= MOST_BYTES else b""


async def unpacked(value: bytes) -> list[bytes] | None:
    """What was packed; None for anything else."""
    try:
        if len(value) <= _AT_ONCE_BYTES >> 3:
            return _objects(value)
        return await asyncio.to_thread(_objects, value)
    except (zlib.error, msgspec.DecodeError):
        return None


def _objects(value: bytes) -> list[bytes]:
    inflate = zlib.decompressobj()
    plain = inflate.decompress(value, _MOST_PLAIN_BYTES)
    if not inflate.eof:
        raise zlib.error("cut off")
    return _decoded(plain)
