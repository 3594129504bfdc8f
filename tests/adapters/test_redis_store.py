"""Entries in Redis, and the moments in which it is left alone."""

from __future__ import annotations

import time

import pytest
import redis

from gateway.adapters.cache_names import Group, Key, Names
from gateway.adapters.redis_client import Limits, connect
from gateway.adapters.redis_complaints import Complaints
from gateway.adapters.redis_envelope import Envelopes
from gateway.adapters.redis_notices import DROPPED
from gateway.adapters.redis_store import (
    MANY,
    Kept,
    RedisStore,
)
from gateway.adapters.telemetry import Telemetry
from tests.adapters.caches import PATIENT, Clock, key
from tests.servers import RedisServer

NAMES = Names()


async def unheard(mark: str, word: bytes = DROPPED) -> None:
    """A notice that nobody waits for."""


def store(url: str, clock: Clock, limits: Limits = PATIENT) -> RedisStore:
    return RedisStore(
        connect(url, limits),
        names=NAMES,
        envelopes=Envelopes(),
        publish=unheard,
        limits=limits,
        longest_seconds=3600,
        clock=clock,
        complaints=Complaints(Telemetry(), limits, clock),
    )


async def epoch(entries: RedisStore, key: Key) -> bytes:
    seen = await entries.look(key)
    assert seen is not None
    return seen.epoch


async def test_redis_is_left_alone_after_failures_and_asked_again_later(
    redis_server: RedisServer,
) -> None:
    clock = Clock()
    limits = Limits(connect_seconds=1, operation_seconds=0.05)
    entries = store(redis_server.url, clock, limits)
    redis_server.freeze()
    for _ in range(limits.max_failures):
        assert await entries.look(key("a")) is None
    assert not entries.takes_writes
    started = time.monotonic()
    for _ in range(1000):
        assert await entries.look(key("a")) is None
    assert time.monotonic() - started < 10
    redis_server.thaw()
    assert await entries.look(key("a")) is None
    clock.seconds += limits.pause_seconds
    assert await entries.look(key("a")) is not None
    await entries.close()


async def test_age_is_told_by_the_time_that_is_left(redis_server: RedisServer) -> None:
    clock = Clock()
    entries = store(redis_server.url, clock)
    kept = Kept(value=b"one", is_absent=True, age_seconds=20)
    await entries.keep(key("a"), kept, await epoch(entries, key("a")), life_seconds=60)
    seen = await entries.look(key("a"))
    assert seen is not None
    assert seen.kept is not None
    assert seen.kept.is_absent
    assert 20 <= seen.kept.age_seconds < 30
    await entries.close()


KEPT = Kept(value=b"one", is_absent=False, age_seconds=0)


@pytest.mark.parametrize("lost", range(1, 4), ids=["study", "everything", "archive"])
async def test_what_bore_a_mark_that_redis_lost_is_void(
    redis_server: RedisServer, lost: int
) -> None:
    """Else it would come back when the mark of its forgetting is evicted before it."""
    entries = store(redis_server.url, Clock())
    await entries.keep(key("a"), KEPT, await epoch(entries, key("a")), 60)
    await entries.forgetting.forget(Group(study_uid="1.2.a"))
    with redis.Redis.from_url(redis_server.url) as client:
        assert client.delete(NAMES.marks(key("a"))[lost]) == 1
    seen = await entries.look(key("a"))
    assert seen is not None
    assert seen.kept is None
    await entries.close()


async def test_many_values_are_read_at_once_but_void_ones(redis_server: RedisServer) -> None:
    entries, others = store(redis_server.url, Clock()), store(redis_server.url, Clock())
    many = [key(number) for number in range(MANY + 10)]
    for one in many[::2]:
        await entries.keep(one, KEPT, await epoch(entries, one), 60)
    await others.forgetting.forget(many[0])
    await others.forgetting.forget(Group(study_uid=many[2].study_uid))
    assert set(await entries.values(many)) == set(many[4::2])
    assert set((await entries.values(many)).values()) == {b"one"}
    await others.forgetting.forget(Group())
    assert await entries.values(many) == {}
    for each in (entries, others):
        await each.close()


async def test_large_values_are_small_in_redis(redis_server: RedisServer) -> None:
    entries = store(redis_server.url, Clock())
    value = b"1.2.840.113619.2.55.3 " * 50_000
    kept = Kept(value=value, is_absent=False, age_seconds=0)
    await entries.keep(key("a"), kept, await epoch(entries, key("a")), 60)
    with redis.Redis.from_url(redis_server.url) as client:
        assert client.strlen(NAMES.value(key("a"))) < len(value) / 50
    seen = await entries.look(key("a"))
    assert seen is not None
    assert seen.kept is not None
    assert seen.kept.value == value
    await entries.close()
