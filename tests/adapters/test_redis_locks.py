"""The right to load, for as long as its holder lives."""

from __future__ import annotations

import asyncio
import time

import pytest
import redis

from gateway.adapters.redis_asking import Asking
from gateway.adapters.redis_client import Limits, connect
from gateway.adapters.redis_complaints import Complaints
from gateway.adapters.redis_locks import LOCK_MARGIN_SECONDS, LOCK_SECONDS, Lock, Locks, NoLock
from gateway.adapters.telemetry import Telemetry
from tests.adapters.caches import Clock
from tests.servers import NOBODY, RedisServer

LIMITS = Limits(connect_seconds=2, operation_seconds=1)


def locks(url: str, clock: Clock | None = None) -> Locks:
    now = clock or time.monotonic
    return Locks(
        connect(url, LIMITS), Asking(LIMITS, now, Complaints(Telemetry(), LIMITS, now)), now
    )


async def test_lock_is_held_by_one_and_released_only_in_time(redis_server: RedisServer) -> None:
    clock = Clock()
    mine, theirs = locks(redis_server.url, clock), locks(redis_server.url, clock)
    lock = await mine.taken("a")
    assert isinstance(lock, Lock)
    assert await theirs.taken("a") is NoLock.HELD
    await mine.release(lock)
    again = await theirs.taken("a")
    assert isinstance(again, Lock)
    clock.seconds += LOCK_SECONDS - LOCK_MARGIN_SECONDS
    await theirs.release(again)
    assert await mine.taken("a") is NoLock.HELD
    for each in (mine, theirs):
        await each._client.aclose()


async def test_lock_of_one_who_works_on_lasts_and_ends_with_the_work(
    redis_server: RedisServer,
) -> None:
    mine, theirs = locks(redis_server.url), locks(redis_server.url)
    lock = await mine.taken("a")
    assert isinstance(lock, Lock)
    started = time.monotonic()
    async with mine.held(lock):
        while time.monotonic() - started < LOCK_SECONDS + 0.7:
            assert await theirs.taken("a") is NoLock.HELD
            await asyncio.sleep(0.1)
    assert isinstance(await theirs.taken("a"), Lock)
    for each in (mine, theirs):
        await each._client.aclose()


async def test_lock_that_redis_lost_is_not_taken_from_its_next_holder(
    redis_server: RedisServer,
) -> None:
    mine, theirs = locks(redis_server.url), locks(redis_server.url)
    lock = await mine.taken("a")
    assert isinstance(lock, Lock)
    async with mine.held(lock):
        redis_server.clear()
        while lock.at > float("-inf"):  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
        assert isinstance(await theirs.taken("a"), Lock)
    assert await mine.taken("a") is NoLock.HELD
    for each in (mine, theirs):
        await each._client.aclose()


async def test_what_is_raised_under_a_lock_is_raised_as_it_is(redis_server: RedisServer) -> None:
    mine = locks(redis_server.url)
    lock = await mine.taken("a")
    assert isinstance(lock, Lock)
    with pytest.raises(KeyError):
        async with mine.held(lock):
            raise KeyError("a")
    with redis.Redis.from_url(redis_server.url) as client:
        assert not client.exists("a")
    await mine._client.aclose()


async def test_there_are_no_locks_while_redis_is_away() -> None:
    mine = locks(f"redis://127.0.0.1:{NOBODY.number}/0")
    assert await mine.taken("a") is NoLock.UNASKED
    await mine._client.aclose()


async def test_lock_that_redis_refuses_is_nobodys(redis_server: RedisServer) -> None:
    mine = locks(redis_server.url)
    with redis.Redis.from_url(redis_server.url) as client:
        client.config_set("min-replicas-to-write", 1)
        try:
            assert [await mine.taken("a") for _ in range(2)] == [NoLock.UNASKED] * 2
        finally:
            client.config_set("min-replicas-to-write", 0)
    await mine._client.aclose()
