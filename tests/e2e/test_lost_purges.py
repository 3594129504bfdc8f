"""What was purged while Redis hung, by a process that ended before it could tell."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from structlog.testing import capture_logs

from gateway.adapters.cache_redis import RedisCache
from gateway.adapters.redis_client import Limits
from tests.adapters.caches import KEY, LIVES, PATIENT, Clock, Source, age, heard, settled, shared
from tests.servers import RedisServer

LIMITS = Limits(connect_seconds=0.2, operation_seconds=0.1, pause_seconds=0.2)
OLD = LIVES.fresh_seconds + 1


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def pair(
    redis_server: RedisServer, clock: Clock
) -> AsyncIterator[tuple[RedisCache, RedisCache]]:
    """The caches of two processes that hear each other."""
    caches = shared(clock, redis_server.url), shared(clock, redis_server.url)
    await heard(*caches)
    clock.seconds += 1
    yield caches
    for cache in caches:
        await cache.close()


async def grow_older(redis_server: RedisServer, clock: Clock) -> None:
    clock.seconds += OLD
    await age(redis_server.url, OLD)


async def given(cache: RedisCache) -> list[bytes | None]:
    """What a load is given to be revalidated."""
    source = Source(b"new")
    await cache.load(KEY, source)
    await settled()
    return source.given


def has_lost_touch(cache: RedisCache) -> bool:
    """Whether it noticed that, and has not told Redis yet."""
    return cache._is_break_untold


async def test_what_was_loaded_while_all_listened_is_revalidated(
    pair: tuple[RedisCache, RedisCache], redis_server: RedisServer, clock: Clock
) -> None:
    await pair[0].load(KEY, Source(b"old"))
    await grow_older(redis_server, clock)
    assert await given(pair[1]) == [b"old"]


async def test_process_that_begins_revalidates_what_others_loaded(
    pair: tuple[RedisCache, RedisCache], redis_server: RedisServer, clock: Clock
) -> None:
    await pair[0].load(KEY, Source(b"old"))
    await grow_older(redis_server, clock)
    begun = shared(clock, redis_server.url)
    assert await given(begun) == [b"old"]
    await begun.close()


@pytest.mark.parametrize("who", ["one that noticed", "another", "one that began since"])
async def test_what_was_there_before_a_process_lost_touch_is_loaded_anew(
    who: str, pair: tuple[RedisCache, RedisCache], redis_server: RedisServer, clock: Clock
) -> None:
    async with AsyncExitStack() as stack:
        noticed = shared(clock, redis_server.url, limits=LIMITS)
        stack.push_async_callback(noticed.close)
        await heard(noticed)
        await noticed.load(KEY, Source(b"old"))
        redis_server.freeze()
        while not has_lost_touch(noticed):  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.02)
        redis_server.thaw()
        clock.seconds += PATIENT.pause_seconds
        await heard(noticed, *pair)
        while any(has_lost_touch(one) for one in (noticed, *pair)):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.02)
        await grow_older(redis_server, clock)
        begun = shared(clock, redis_server.url)
        stack.push_async_callback(begun.close)
        which = {"one that noticed": noticed, "another": pair[0]}.get(who, begun)
        assert await given(which) == [None]
        await grow_older(redis_server, clock)
        assert await given(which) == [b"new"]


async def test_process_that_ends_tells_once_more(
    pair: tuple[RedisCache, RedisCache], redis_server: RedisServer, clock: Clock
) -> None:
    ending = shared(clock, redis_server.url, limits=LIMITS)
    await pair[0].load(KEY, Source(b"old"))
    redis_server.freeze()
    assert not await ending.forget(KEY)
    redis_server.thaw()
    with capture_logs() as logs:
        await ending.close()
    assert not [log for log in logs if log["log_level"] == "error"]
    assert await pair[0].load(KEY, Source(b"new")) == b"new"


async def test_process_that_ends_without_having_told_says_so(redis_server: RedisServer) -> None:
    ending = shared(Clock(), redis_server.url, limits=LIMITS)
    redis_server.freeze()
    try:
        assert not await ending.forget(KEY)
        with capture_logs() as logs:
            await ending.close()
    finally:
        redis_server.thaw()
    assert [log["changes"] for log in logs if log["log_level"] == "error"] == [1]
