"""What a load asks of a Redis that is late, and what it is not kept from."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from gateway.adapters.cache_names import Group
from gateway.adapters.cache_redis import RedisCache
from gateway.adapters.redis_client import DEFAULT_LIMITS
from gateway.adapters.redis_loads import LOAD_SECONDS, Patience
from tests.adapters.caches import KEY, Source, heard, key, shared
from tests.adapters.delaying_proxy import DelayingProxy
from tests.servers import RedisServer

LATE = (0.1, 0.2, 0.28)


@pytest.fixture
async def proxy(redis_server: RedisServer) -> AsyncIterator[DelayingProxy]:
    async with DelayingProxy(redis_server.port, 0) as proxy:
        yield proxy


@pytest.fixture
async def pair(
    redis_server: RedisServer, proxy: DelayingProxy
) -> AsyncIterator[tuple[RedisCache, RedisCache]]:
    """Two processes, of which the first reaches Redis by the proxy."""
    urls = f"redis://127.0.0.1:{proxy.port}/0", redis_server.url
    late, other = (shared(time.monotonic, url, limits=DEFAULT_LIMITS) for url in urls)
    await heard(late, other)
    await asyncio.gather(*(late.load(key(number), Source()) for number in range(3)))
    yield late, other
    proxy.seconds = 0
    for cache in (late, other):
        await cache.close()


async def test_patience_ends_and_what_was_waited_for_goes_on() -> None:
    gate, patience = asyncio.Event(), Patience()

    async def work() -> str:
        await gate.wait()
        return "done"

    task = asyncio.ensure_future(work())
    started = time.monotonic()
    assert await patience.until(task) is None
    assert time.monotonic() - started >= 0.9 * LOAD_SECONDS
    started = time.monotonic()
    assert await patience.until(task) is None
    assert time.monotonic() - started < LOAD_SECONDS / 2
    gate.set()
    assert await task == "done"
    assert await patience.until(task) == "done"


@pytest.mark.parametrize("seconds", LATE)
async def test_load_waits_for_a_late_redis_within_bounds_and_shares_what_it_brought(
    pair: tuple[RedisCache, RedisCache], proxy: DelayingProxy, seconds: float
) -> None:
    late, other = pair
    proxy.seconds = seconds
    for name in ("a", "b"):
        started = time.monotonic()
        assert await late.load(key(name), Source(b"mine")) == b"mine"
        assert time.monotonic() - started < LOAD_SECONDS + 0.3 + 0.3  # and a look before it
        await late._loads.stored()
        assert await other.load(key(name), Source(b"theirs")) == b"mine"


async def test_lock_that_comes_too_late_keeps_nobody_from_loading(
    pair: tuple[RedisCache, RedisCache], proxy: DelayingProxy
) -> None:
    late, other = pair
    proxy.seconds = 0.28
    source = Source(b"mine", gate=asyncio.Event())
    loading = asyncio.ensure_future(late.load(KEY, source))
    await source.started.wait()
    started = time.monotonic()
    assert await other.load(KEY, Source(b"theirs")) == b"theirs"
    assert time.monotonic() - started < 1.5
    assert source.gate is not None
    source.gate.set()
    assert await loading == b"mine"


@pytest.mark.parametrize("seconds", [*LATE, 0.35])
async def test_whoever_tells_of_a_change_is_heard_though_redis_is_late(
    pair: tuple[RedisCache, RedisCache], proxy: DelayingProxy, seconds: float
) -> None:
    late, other = pair
    assert await other.load(KEY, Source(b"old")) == b"old"
    proxy.seconds = seconds
    assert await late.forget(Group(study_uid=KEY.study_uid))
    async with asyncio.timeout(1):
        while await other.load(KEY, Source(b"new")) == b"old":  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)


async def test_what_takes_too_long_to_tell_is_told_all_the_same(
    pair: tuple[RedisCache, RedisCache], proxy: DelayingProxy
) -> None:
    late, other = pair
    assert await other.load(KEY, Source(b"old")) == b"old"
    proxy.seconds = 0.7
    assert not await late.forget(Group(study_uid=KEY.study_uid))
    async with asyncio.timeout(10):
        while await other.load(KEY, Source(b"new")) == b"old":  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
        while late._forgetting._untold:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)


async def test_request_that_finds_many_changes_is_not_held_up_by_each(
    pair: tuple[RedisCache, RedisCache], proxy: DelayingProxy
) -> None:
    late, other = pair
    keys = [key(f"changed {number}") for number in range(20)]
    for one in keys:
        await other.load(one, Source(b"old"))
    proxy.seconds = 0.2
    started = time.monotonic()
    for one in keys:
        await late.forget(one)
    assert time.monotonic() - started < 1
    async with asyncio.timeout(10):
        for one in keys:
            while await other.load(one, Source(b"new")) == b"old":  # noqa: ASYNC110 - as below
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("seconds", [0.06, *LATE])
async def test_process_that_reaches_a_late_redis_hears_notices(
    pair: tuple[RedisCache, RedisCache], proxy: DelayingProxy, seconds: float
) -> None:
    late, other = pair
    assert await late.load(KEY, Source(b"old")) == b"old"
    proxy.seconds = seconds
    await asyncio.sleep(0)
    await other.forget(Group(study_uid=KEY.study_uid))
    forgotten_at = asked_at = time.monotonic()
    while await late.load(KEY, Source(b"new")) == b"old":
        assert asked_at - forgotten_at < 1
        await asyncio.sleep(0.005)
        asked_at = time.monotonic()
    await heard(late)


@pytest.mark.parametrize("seconds", [0.06, 0.1, 0.2])
async def test_what_was_loaded_is_found_to_be_shared_though_redis_is_late(
    pair: tuple[RedisCache, RedisCache], proxy: DelayingProxy, seconds: float
) -> None:
    late, _ = pair
    proxy.seconds = seconds
    keys = [key(name) for name in "abc"]
    for one in keys:
        await late.load(one, Source())
    assert await late.are_shared(keys)
