"""What the keeper of the shared cache sees and does."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest

from gateway.adapters.cache_admin import CacheAdmin
from gateway.adapters.cache_names import Group, Names
from gateway.errors import Unavailable
from tests.adapters.caches import Clock, Source, dropped, heard, key, shared
from tests.servers import NOBODY, RedisServer

SECRET = b"sixteen characters"


def admin_of(url: str) -> CacheAdmin:
    return CacheAdmin(url, names=Names(SECRET), secret=SECRET, longest_seconds=3600)


@pytest.fixture
async def admin(redis_server: RedisServer) -> AsyncIterator[CacheAdmin]:
    found = admin_of(redis_server.url)
    yield found
    await found.close()


async def test_empty_cache_that_nobody_uses_is_told(admin: CacheAdmin) -> None:
    found = await admin.stats()
    assert (found.values, found.marks, found.bytes, found.processes) == (0, 0, 0, ())
    assert found.redis_used_bytes


async def test_values_and_processes_are_counted(
    admin: CacheAdmin, redis_server: RedisServer
) -> None:
    caches = [shared(Clock(), redis_server.url, secret=SECRET) for _ in range(2)]
    await heard(*caches)
    for number in range(10):
        await caches[0].load(key(number), Source(random.randbytes(1000)))  # noqa: S311 - not to be compressed
    await caches[0].load(key(0), Source())
    await caches[1].remember(key("a"), b"time")
    found = await admin.stats()
    assert (found.values, found.remembered, found.locks) == (10, 1, 0)
    assert found.marks == 10 + 2  # one for each study, for the archive, and for everything
    assert found.bytes > 10_000
    assert sorted(one.entries for one in found.processes) == [0, 10]
    assert {one.reads.get("memory hit") for one in found.processes} <= {1, None}
    for cache in caches:
        await cache.close()


@pytest.mark.parametrize(
    "group", [Group(study_uid="1.2.a"), Group(archive="north"), Group()], ids=str
)
async def test_purge_reaches_every_process_and_is_counted(
    admin: CacheAdmin, redis_server: RedisServer, group: Group
) -> None:
    caches = [shared(Clock(), redis_server.url, secret=SECRET) for _ in range(2)]
    await heard(*caches)
    for cache in caches:
        assert await cache.load(key("a"), Source(b"old")) == b"old"
    before = [cache._memory.drops.now for cache in caches]
    assert (await admin.purge(group)).processes == 2
    for cache, drops in zip(caches, before, strict=True):
        await dropped(cache, drops)
        assert await cache.load(key("a"), Source(b"new")) == b"new"
        await cache.close()


async def test_redis_that_is_not_there_is_told() -> None:
    absent = admin_of(f"redis://127.0.0.1:{NOBODY.number}/0")
    with pytest.raises(Unavailable):
        await absent.stats()
    with pytest.raises(Unavailable):
        await absent.purge(Group())
    await absent.close()


async def test_redis_that_takes_no_writes_is_told(
    admin: CacheAdmin, redis_server: RedisServer
) -> None:
    await admin._client.replicaof("127.0.0.1", str(NOBODY.number))
    try:
        with pytest.raises(Unavailable):
            await admin.purge(Group())
    finally:
        await admin._client.replicaof("NO", "ONE")


async def test_full_redis_is_purged(admin: CacheAdmin, redis_server: RedisServer) -> None:
    cache = shared(Clock(), redis_server.url, secret=SECRET)
    await cache.load(key("a"), Source(b"old"))
    await heard(cache)
    drops = cache._memory.drops.now
    await admin._client.config_set("maxmemory", 1)
    try:
        assert (await admin.purge(Group())).processes == 1
        await dropped(cache, drops)
        assert await cache.load(key("a"), Source(b"new")) == b"new"
    finally:
        await admin._client.config_set("maxmemory", 0)
    await cache.close()


async def test_processes_and_keys_of_another_secret_are_told_apart(
    admin: CacheAdmin, redis_server: RedisServer
) -> None:
    others = [shared(Clock(), redis_server.url, secret=secret) for secret in (b"another", b"")]
    await heard(*others)
    for cache in others:
        await cache.load(key("a"), Source(b"old"))
    purged = await admin.purge(Group())
    assert (purged.processes, purged.foreign_processes) == (0, 2)
    found = await admin.stats()
    assert (found.values, found.processes, found.foreign_processes) == (0, (), 2)
    assert found.foreign == 2 * 4  # a value, and the marks of its study, its archive and of all
    mine = shared(Clock(), redis_server.url, secret=SECRET)
    await heard(mine)
    purged = await admin.purge(Group())
    assert (purged.processes, purged.foreign_processes) == (1, 2)
    for cache in (mine, *others):
        assert await cache.load(key("a"), Source(b"new")) == (b"new" if cache is mine else b"old")
        await cache.close()


async def test_keys_of_others_are_not_counted_where_there_is_no_secret(
    redis_server: RedisServer,
) -> None:
    sealed, plain = (shared(Clock(), redis_server.url, secret=s) for s in (SECRET, b""))
    for cache in (sealed, plain):
        await cache.load(key("a"), Source())
        await cache.close()
    admin = CacheAdmin(redis_server.url, names=Names(), secret=b"", longest_seconds=3600)
    found = await admin.stats()
    assert (found.values, found.marks, found.foreign) == (1, 3, 4)
    await admin.close()
