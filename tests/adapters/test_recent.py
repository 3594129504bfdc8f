"""Whole objects are fetched once for all who ask, and let go of in time."""

from __future__ import annotations

import asyncio

import pytest

from gateway.adapters import recent
from gateway.adapters.recent import Recent
from gateway.errors import NotFound
from gateway.model import Target
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


def of(name: str) -> Target:
    """An object of that name."""
    return Target(study_uid="1.2.3", series_uid="1.2.3.4", instance_uid=name)


async def same(study_uid: str) -> str:
    """The mark of a study that stays as it is."""
    return f"mark of {study_uid}"


async def test_everybody_shares_one_fetch_and_the_next_ones_its_result() -> None:
    clock, source = Clock(), Source(b"object")
    kept = Recent(clock, same)
    found = await asyncio.gather(*(kept.whole(of("one"), source.fetch) for _ in range(5)))
    assert found == [b"object"] * 5
    assert await kept.whole(of("one"), source.fetch) == b"object"
    assert source.count == 1
    clock.now += recent.KEPT_SECONDS + 1
    await kept.whole(of("one"), source.fetch)
    assert source.count == 2
    await kept.close()


async def test_the_oldest_goes_first_and_what_is_too_large_is_not_kept() -> None:
    kept = Recent(Clock(), same)
    half = Source(bytes(recent.MAX_KEPT_BYTES // 2))
    for key in ("one", "two", "one", "three"):
        await kept.whole(of(key), half.fetch)
    assert half.count == 3
    await kept.whole(of("one"), half.fetch)
    assert half.count == 3
    await kept.whole(of("two"), half.fetch)
    assert half.count == 4
    large = Source(bytes(recent.MAX_KEPT_BYTES + 1))
    await kept.whole(of("large"), large.fetch)
    await kept.whole(of("large"), large.fetch)
    assert large.count == 2
    await kept.close()


async def test_a_failure_is_not_kept() -> None:
    kept = Recent(Clock(), same)

    async def fail() -> bytes:
        raise NotFound("no such object")

    with pytest.raises(NotFound):
        await kept.whole(of("one"), fail)
    assert await kept.whole(of("one"), Source(b"object").fetch) == b"object"
    await kept.close()


async def test_what_was_fetched_of_another_state_of_its_study_is_not_given() -> None:
    marks = {"1.2.3": "first"}

    async def mark(study_uid: str) -> str:
        return marks[study_uid]

    kept, source = Recent(Clock(), mark), Source(b"object")
    under_way = asyncio.ensure_future(kept.whole(of("one"), source.fetch))
    await asyncio.sleep(0)
    marks["1.2.3"] = "second"
    source.content = b"another"
    assert await kept.kept(of("one")) is None
    assert await kept.whole(of("one"), source.fetch) == b"another"
    await under_way
    assert await kept.kept(of("one")) == b"another"
    assert source.count == 2
    await kept.close()
