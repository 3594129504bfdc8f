"""What is forgotten, told now or later."""

from __future__ import annotations

import pytest
import redis
import redis.asyncio

from gateway.adapters.cache_names import Group
from gateway.adapters.redis_client import Limits
from gateway.adapters.redis_forgetting import UNTOLD_AT_ONCE
from gateway.adapters.redis_store import Kept
from tests.adapters.caches import PATIENT, Clock, key
from tests.adapters.test_redis_store import epoch, store
from tests.servers import RedisServer

BRIEF = Limits(connect_seconds=0.2, operation_seconds=0.05)
KEPT = Kept(value=b"one", is_absent=False, age_seconds=0)


async def test_what_was_forgotten_while_redis_was_away_is_told_bit_by_bit(
    redis_server: RedisServer,
) -> None:
    clock = Clock()
    many = [key(number) for number in range(3 * UNTOLD_AT_ONCE)]
    away, others = store(redis_server.url, clock, BRIEF), store(redis_server.url, clock, PATIENT)
    for one in many:
        await others.keep(one, KEPT, await epoch(others, one), 60)
    redis_server.freeze()
    for one in many:
        assert not await away.forgetting.forget(one)
    assert await away.look(many[0]) is None
    redis_server.thaw()
    clock.seconds += BRIEF.pause_seconds
    for _ in range(4):
        await away.look(key("another"))
    assert [seen for one in many if (seen := await others.look(one)) and seen.kept] == []
    for each in (away, others):
        await each.close()


@pytest.mark.parametrize("what", [key("a"), Group(study_uid="1.2.a"), Group()], ids=repr)
async def test_full_redis_forgets_all_the_same(redis_server: RedisServer, what: Group) -> None:
    entries, other = store(redis_server.url, Clock()), store(redis_server.url, Clock())
    await entries.keep(key("a"), KEPT, await epoch(entries, key("a")), 60)
    async with redis.asyncio.Redis.from_url(redis_server.url) as client:
        await client.config_set("maxmemory", 1)
        try:
            assert await other.forgetting.forget(what)
            seen = await entries.look(key("a"))
            assert seen is None or seen.kept is None
        finally:
            await client.config_set("maxmemory", 0)
    seen = await other.look(key("a"))
    assert seen is not None
    assert seen.kept is None
    for each in (entries, other):
        await each.close()


@pytest.mark.parametrize(
    "group",
    [Group(study_uid="1.2.a"), Group(archive="north"), Group()],
    ids=["study", "archive", "everything"],
)
async def test_group_is_forgotten_by_one_write(redis_server: RedisServer, group: Group) -> None:
    entries, other = store(redis_server.url, Clock()), key("b", archives=("south",))
    for one in (key("a"), other):
        await entries.keep(one, KEPT, await epoch(entries, one), 60)
    assert await entries.forgetting.forget(group)
    first, second = await entries.look(key("a")), await entries.look(other)
    assert first is not None
    assert first.kept is None
    assert first.is_forgotten
    assert second is not None
    assert (second.kept is None) == (group == Group())
    await entries.close()
