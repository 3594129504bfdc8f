"""Entries in Redis, and the moments in which it is left alone."""

from __future__ import annotations

import time

from gateway.adapters.redis_client import Limits, connect
from gateway.adapters.redis_store import (
    LOCK_MARGIN_SECONDS,
    LOCK_SECONDS,
    NO_EPOCH,
    UNSENT_AT_ONCE,
    Kept,
    RedisStore,
)
from tests.adapters.caches import PATIENT, Clock
from tests.servers import RedisServer, free_port


def store(url: str, clock: Clock, limits: Limits = PATIENT) -> RedisStore:
    return RedisStore(connect(url, limits), limits=limits, longest_seconds=3600, clock=clock)


async def test_redis_is_left_alone_after_failures_and_asked_again_later(
    redis_server: RedisServer,
) -> None:
    clock = Clock()
    limits = Limits(connect_seconds=1, operation_seconds=0.05)
    entries = store(redis_server.url, clock, limits)
    redis_server.freeze()
    for _ in range(limits.max_failures):
        assert await entries.look("a") is None
    assert not entries.takes_writes
    started = time.monotonic()
    for _ in range(1000):
        assert await entries.look("a") is None
    assert time.monotonic() - started < 1
    redis_server.thaw()
    assert await entries.look("a") is None
    clock.seconds += limits.pause_seconds
    assert await entries.look("a") is not None
    await entries.close()


async def test_lock_is_held_by_one_and_released_only_in_time(redis_server: RedisServer) -> None:
    clock = Clock()
    mine, theirs = store(redis_server.url, clock), store(redis_server.url, clock)
    lock = await mine.lock("a", NO_EPOCH)
    assert lock is not None
    assert await theirs.lock("a", NO_EPOCH) is None
    await mine.release(lock)
    again = await theirs.lock("a", NO_EPOCH)
    assert again is not None
    clock.seconds += LOCK_SECONDS - LOCK_MARGIN_SECONDS
    await theirs.release(again)
    assert await mine.lock("a", NO_EPOCH) is None
    for each in (mine, theirs):
        await each.close()


async def test_what_was_forgotten_while_redis_was_away_is_told_bit_by_bit(
    redis_server: RedisServer,
) -> None:
    clock = Clock()
    kept = Kept(value=b"old", is_absent=False, age_seconds=0)
    many = [f"study-{number}" for number in range(3 * UNSENT_AT_ONCE)]
    entries, others = store(redis_server.url, clock), store(redis_server.url, clock)
    for key in many:
        await others.keep(key, kept, NO_EPOCH, 60)
    away = store(f"redis://127.0.0.1:{free_port()}/0", clock)
    for key in many:
        await away.forget(key)
    assert await away.look(many[0]) is None
    away._client = entries._client
    clock.seconds += PATIENT.pause_seconds
    for _ in range(4):
        await away.look("another")
    assert [seen for key in many if (seen := await others.look(key)) and seen.kept] == []
    for each in (entries, others):
        await each.close()


async def test_age_is_told_by_the_time_that_is_left(redis_server: RedisServer) -> None:
    clock = Clock()
    entries = store(redis_server.url, clock)
    await entries.keep(
        "a", Kept(value=b"one", is_absent=True, age_seconds=20), NO_EPOCH, life_seconds=60
    )
    seen = await entries.look("a")
    assert seen is not None
    assert seen.kept is not None
    assert seen.kept.is_absent
    assert 20 <= seen.kept.age_seconds < 30
    await entries.close()
