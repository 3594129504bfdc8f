"""Whole objects are fetched once for all who ask, and let go of in time."""

from __future__ import annotations

import asyncio

import pytest

from gateway.adapters import recent
from gateway.adapters.recent import Recent
from gateway.errors import NotFound
from tests.assembled import Clock


class Source:
    """Gives `content`, and counts how often."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.count = 0

    async def fetch(self) -> bytes:
        self.count += 1
        await asyncio.sleep(0)
        return self.content


async def test_everybody_shares_one_fetch_and_the_next_ones_its_result() -> None:
    clock, source = Clock(), Source(b"object")
    kept = Recent(clock)
    found = await asyncio.gather(*(kept.whole("one", source.fetch) for _ in range(5)))
    assert found == [b"object"] * 5
    assert await kept.whole("one", source.fetch) == b"object"
    assert source.count == 1
    clock.now += recent.KEPT_SECONDS + 1
    await kept.whole("one", source.fetch)
    assert source.count == 2
    await kept.close()


async def test_the_oldest_goes_first_and_what_is_too_large_is_not_kept() -> None:
    kept = Recent(Clock())
    half = Source(bytes(recent.MAX_KEPT_BYTES // 2))
    for key in ("one", "two", "one", "three"):
        await kept.whole(key, half.fetch)
    assert half.count == 3
    await kept.whole("one", half.fetch)
    assert half.count == 3
    await kept.whole("two", half.fetch)
    assert half.count == 4
    large = Source(bytes(recent.MAX_KEPT_BYTES + 1))
    await kept.whole("large", large.fetch)
    await kept.whole("large", large.fetch)
    assert large.count == 2
    await kept.close()


async def test_a_failure_is_not_kept() -> None:
    kept = Recent(Clock())

    async def fail() -> bytes:
        raise NotFound("no such object")

    with pytest.raises(NotFound):
        await kept.whole("one", fail)
    assert await kept.whole("one", Source(b"object").fetch) == b"object"
    await kept.close()
