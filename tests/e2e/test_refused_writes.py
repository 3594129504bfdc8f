"""Processes that share a Redis which refuses to be written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from gateway.adapters.cache_names import Group
from gateway.adapters.cache_redis import RedisCache
from gateway.adapters.redis_client import Limits
from tests.adapters.caches import KEY, Source, dropped, heard, key, shared
from tests.adapters.refusals import KINDS, refusing
from tests.servers import RedisServer

LIMITS = Limits(connect_seconds=2, operation_seconds=1, full_pause_seconds=0.3)
STUDY = Group(study_uid=KEY.study_uid)


@pytest.fixture
async def three(redis_server: RedisServer) -> AsyncIterator[tuple[RedisCache, ...]]:
    """The caches of three processes; the third one has not begun to listen."""
    caches = tuple(shared(time.monotonic, redis_server.url, limits=LIMITS) for _ in range(3))
    await heard(*caches[:2])
    yield caches
    for each in caches:
        await each.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_misses_wait_for_nothing_and_hits_are_hits(
    kind: str, three: tuple[RedisCache, ...], redis_server: RedisServer
) -> None:
    await three[0].load(KEY, Source(b"one"))
    known = [key("a"), key("b")]
    for one in known:
        await three[0].load(one, Source())
        await three[0].forget(one)  # its marks are there, and no value
    with refusing(redis_server, kind):
        started = time.monotonic()
        for one in (*known, *(key(number) for number in range(20))):
            assert await three[1].load(one, Source(b"own")) == b"own"
        assert await three[1].load(KEY, Source(b"two")) == b"one"
        assert time.monotonic() - started < 1


@pytest.mark.parametrize("what", [KEY, STUDY, Group()], ids=["value", "study", "everything"])
@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_forgotten_is_forgotten_by_all(
    kind: str, what: Group, three: tuple[RedisCache, ...], redis_server: RedisServer
) -> None:
    first, second, late = three
    for each in (first, second):
        await each.load(KEY, Source(b"old"))
    with refusing(redis_server, kind):
        for value in (b"new", b"newer"):
            drops = second._memory.drops.now
            assert await first.forget(what) == (kind == "full")
            await dropped(second, drops)
            for each in (second, first):
                assert await each.load(KEY, Source(value)) == value
                assert await each.at_hand([KEY]) == {KEY: value}
        await heard(late)
        await until_forgotten(late)
    await until_shared(first, second)


async def until_forgotten(late: RedisCache) -> None:
    """Until a process that came later is told what Redis still holds and others forgot."""
    async with asyncio.timeout(10):
        while await late.load(KEY, Source(b"newest")) != b"newest":  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.02)


async def until_shared(first: RedisCache, second: RedisCache) -> None:
    """Until Redis was told, and is used again."""
    async with asyncio.timeout(10):
        while True:
            await first.forget(KEY)
            await first.load(KEY, Source(b"mine"))
            if await second.load(KEY, Source(b"theirs")) == b"mine":
                break
            await asyncio.sleep(0.05)
    assert not any(each._store.forgetting._left for each in (first,))


async def test_process_that_forgot_may_end_before_redis_is_told(
    three: tuple[RedisCache, ...], redis_server: RedisServer
) -> None:
    first, second, _ = three
    await first.load(KEY, Source(b"old"))
    with refusing(redis_server, "read-only"):
        drops = second._memory.drops.now
        assert not await first.forget(KEY)
        await dropped(second, drops)
        await first.close()
    async with asyncio.timeout(10):
        while second._store.forgetting._left:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.05)
    fresh = shared(time.monotonic, redis_server.url, limits=LIMITS)
    assert await fresh.load(KEY, Source(b"new")) == b"new"
    await fresh.close()
