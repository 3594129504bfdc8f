"""Metadata, remembered compressed: viewers ask for it again and again."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec

from gateway.adapters.cache import Fresh, Loader
from gateway.adapters.cache_names import Key, What

MOST_BYTES = 1 << 20
"""What is larger than this when it is compressed is not remembered."""
_MOST_PLAIN_BYTES = 32 << 20
_AT_ONCE_BYTES = 1 << 16
"""So much is compressed without a thread of its own."""
_FAST = 1
_encoded = msgspec.msgpack.Encoder().encode
_decoded = msgspec.msgpack.Decoder(list[bytes]).decode

Ask = Callable[[], Awaitable[list[bytes]]]
IsWhole = Callable[[Sequence[bytes]], Awaitable[bool]]


class Memory(Protocol):
    """What loads, remembers and forgets."""

    async def load(self, key: Key, loader: Loader) -> bytes:
        """The value of `key`, from memory or from `loader`."""

    async def forget(self, what: What) -> bool:
        """Drops what is remembered of a key."""


async def remembered(cache: Memory, key: Key, ask: Ask, is_whole: IsWhole) -> list[bytes]:
    """The objects that `ask` gives, from the cache where they are known; raises what it raises.

    Of those who ask at once, one asks the archive. What is not whole, or too large, is not
    remembered; it is remembered for a while that it is not.
    """
    asked: list[list[bytes]] = []

    async def load(previous: bytes | None) -> Fresh:
        if previous:
            return Fresh(value=previous)  # the key names the record that it was read for
        found = await ask()
        asked.append(found)
        value = await packed(found) if await is_whole(found) else b""
        return Fresh(value=value, is_absent=not value)

    value = await cache.load(key, load)
    if asked:
        return asked[0]
    found = await unpacked(value)
    if found is None and value:
        await cache.forget(key)
    return await ask() if found is None else found


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
