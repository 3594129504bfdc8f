"""What one process changes is never read as it was in another, however Redis fares meanwhile."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis.asyncio

from gateway.adapters.cache_names import Group
from gateway.adapters.cache_redis import LOOK_SECONDS, RedisCache
from gateway.adapters.redis_client import DEFAULT_LIMITS, Limits, connect, disconnect
from gateway.adapters.redis_complaints import Complaints
from gateway.adapters.redis_notices import LIVE_SECONDS, Notices
from gateway.adapters.telemetry import Telemetry
from gateway.errors import ArchiveTimeout
from tests.adapters.caches import KEY, LIVES, Clock, Source, dropped, heard, key, shared
from tests.adapters.coherence import Truth
from tests.adapters.delaying_proxy import BOTH, DATA, SUBSCRIPTION, DelayingProxy
from tests.servers import RedisServer

ROOT = Path(__file__).parents[2]
LIMITS = Limits(connect_seconds=2, operation_seconds=1, pause_seconds=0.2)
KEYS = 200
BURST = 1000


class Writer:
    """The other process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def told(self, word: str) -> str:
        """Its answer to a word."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{word}\n".encode())
        return (await self._process.stdout.readline()).decode().strip()


@asynccontextmanager
async def writer(truth: Path, url: str) -> AsyncIterator[Writer]:
    command = [sys.executable, "-m", "tests.adapters.coherence", str(truth), url, str(KEYS)]
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield Writer(process)
    finally:
        process.kill()
        await process.wait()


async def read_until(stop: asyncio.Event, cache: RedisCache, truth: Truth) -> None:
    while not stop.is_set():
        for number, one in enumerate(truth.keys):
            await cache.load(one, truth.loader(number))
            await asyncio.sleep(0)  # a hit does not wait for anything


async def stale(cache: RedisCache, truth: Truth) -> list[int]:
    """The keys that are read as they no longer are."""
    return [
        number
        for number, one in enumerate(truth.keys)
        if await cache.load(one, truth.loader(number)) != truth.of(number)
    ]


async def caught_up(cache: RedisCache, other: RedisCache) -> None:
    """Until this cache has heard what was told before now: then it hears what `other` tells."""
    one = key("told last")
    await cache.load(one, Source(b"old"))
    await other.forget(one)
    async with asyncio.timeout(20):
        while await cache.load(one, Source(b"new")) == b"old":  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0)


@pytest.mark.parametrize("restarts", [False, True], ids=["redis stays", "redis restarts"])
async def test_nothing_is_stale_after_another_process_has_overwritten_it(
    *, restarts: bool, redis_server: RedisServer, tmp_path: Path
) -> None:
    truth = Truth(tmp_path / "truth", KEYS)
    cache, last = (shared(time.monotonic, redis_server.url, limits=LIMITS) for _ in range(2))
    checked, found = 0, []
    async with writer(tmp_path / "truth", redis_server.url) as other, asyncio.TaskGroup() as tasks:
        await heard(cache)
        stop = asyncio.Event()
        for _ in range(2):
            tasks.create_task(read_until(stop, cache, truth))
        for burst in range(11):
            told = asyncio.ensure_future(other.told(f"burst {BURST // 5 if burst % 5 else BURST}"))
            if restarts and burst % 5 == 0:
                await asyncio.to_thread(redis_server.kill)
                await asyncio.to_thread(redis_server.start)
            assert await told == "done"
            await (asyncio.sleep(LOOK_SECONDS) if restarts else caught_up(cache, last))
            for _ in range(5):
                found += await stale(cache, truth)
                checked += KEYS
        stop.set()
    assert checked >= 10_000
    assert found == []
    for each in (cache, last):
        await each.close()


async def test_purge_is_seen_by_another_process_well_under_a_second(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    truth = Truth(tmp_path / "truth", KEYS)
    cache = shared(time.monotonic, redis_server.url)
    async with writer(tmp_path / "truth", redis_server.url) as other:
        await heard(cache)
        lags = []
        for _ in range(5):
            assert await stale(cache, truth) == []
            for number in range(KEYS):
                truth.change(number)
            assert len(await stale(cache, truth)) == KEYS  # nobody has told yet
            before, drops = other.told("purge"), cache._memory.drops.now
            told = asyncio.ensure_future(before)
            await dropped(cache, drops)
            seen_at = time.monotonic()
            assert await stale(cache, truth) == []
            lags.append(seen_at - float(await told))
    assert sorted(lags)[2] < 0.5, lags
    await cache.close()


async def test_subscription_that_hangs_is_not_relied_on(redis_server: RedisServer) -> None:
    cache = shared(Clock(), redis_server.url)
    await heard(cache)
    redis_server.freeze()
    frozen_at = time.monotonic()
    while cache._notices.session is not None:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.01)
    assert time.monotonic() - frozen_at < LIVE_SECONDS + 5
    redis_server.thaw()
    await heard(cache)
    await cache.close()


async def test_subscription_ends_whatever_it_is_at(redis_server: RedisServer) -> None:
    """redis-py misses cancellations that come as a command of its has just been sent."""
    for turns in range(40):
        client = connect(redis_server.url, LIMITS)
        notices = Notices(
            client,
            channel="channel",
            dropped=lambda mark: None,
            refused=lambda word, mark: None,
            broken=lambda: None,
            told=lambda: b"",
            standing=lambda: None,
            limits=LIMITS,
            complaints=Complaints(Telemetry(), LIMITS, time.monotonic),
        )
        notices.start()
        for _ in range(turns):
            await asyncio.sleep(0)
        async with asyncio.timeout(10):
            await notices.close()
        await disconnect(client)


async def test_load_that_was_asked_for_before_a_notice_is_not_kept(
    redis_server: RedisServer,
) -> None:
    first, second = (shared(Clock(), redis_server.url) for _ in range(2))
    await heard(first, second)
    slow = Source(b"old", gate=asyncio.Event())
    waiting = asyncio.ensure_future(first.load(KEY, slow))
    await slow.started.wait()
    drops = first._memory.drops.now
    await second.forget(Group(study_uid=KEY.study_uid))
    await dropped(first, drops)
    assert await first.load(KEY, Source(b"new")) == b"new"
    assert slow.gate is not None
    slow.gate.set()
    assert await waiting == b"old"
    assert await first.load(KEY, Source(b"none")) == b"new"
    assert await second.load(KEY, Source(b"none")) == b"new"
    for cache in (first, second):
        await cache.close()


@pytest.mark.parametrize(
    ("group", "gone"),
    [
        (Group(study_uid="1.2.a"), {"a"}),
        (Group(archive="north"), {"a", "b"}),
        (Group(), {"a", "b", "c"}),
    ],
    ids=["study", "archive", "everything"],
)
async def test_group_is_dropped_in_the_other_process_and_nothing_else(
    group: Group, gone: set[str], redis_server: RedisServer
) -> None:
    first, second = (shared(Clock(), redis_server.url) for _ in range(2))
    await heard(first, second)
    keys = {
        "a": key("a", archives=("north", "south")),
        "b": key("b", archives=("north",)),
        "c": key("c", archives=("south",)),
    }
    for one in keys.values():
        await first.load(one, Source(b"old"))
        await second.load(one, Source(b"none"))
    drops = first._memory.drops.now
    await second.forget(group)
    await dropped(first, drops)
    again = {name for name, one in keys.items() if await first.load(one, Source()) != b"old"}
    assert again == gone
    for cache in (first, second):
        await cache.close()


async def until_new(cache: RedisCache, source: Source, since: float) -> None:
    """Until the cache gives what the source has by now, which it must within a second."""
    asked_at = time.monotonic()
    while await cache.load(KEY, source) != source.value:
        assert asked_at - since < 1
        await asyncio.sleep(0.005)
        asked_at = time.monotonic()


@dataclass
class Split:
    """Two processes, of which the first reaches Redis through a proxy."""

    proxy: DelayingProxy
    first: RedisCache
    second: RedisCache


@asynccontextmanager
async def split(server: RedisServer) -> AsyncIterator[Split]:
    async with DelayingProxy(server.port, 0) as proxy:
        first, second = (
            shared(time.monotonic, f"redis://127.0.0.1:{port}/0", limits=DEFAULT_LIMITS)
            for port in (proxy.port, server.port)
        )
        await heard(first, second)
        for cache in (first, second):
            assert await cache.load(KEY, Source(b"old")) == b"old"
        yield Split(proxy, first, second)
        proxy.stalled = frozenset()
        for cache in (first, second):
            await cache.close()


async def test_nothing_is_stale_after_subscriptions_were_killed(redis_server: RedisServer) -> None:
    async with split(redis_server) as both, redis.asyncio.Redis.from_url(redis_server.url) as admin:
        for number in range(20):
            source = Source(b"new %d" % number)
            await asyncio.gather(
                admin.client_kill_filter(_type="pubsub"),
                both.second.forget(KEY if number % 2 else Group()),
            )
            await until_new(both.first, source, time.monotonic())
            for _ in range(5):
                assert await both.first.load(KEY, source) == source.value
            await heard(both.first, both.second)


@pytest.mark.parametrize(
    "kinds", [{SUBSCRIPTION}, {DATA}, BOTH], ids=lambda kinds: "+".join(sorted(kinds))
)
async def test_nothing_is_stale_a_second_after_connections_hang(
    kinds: set[str], redis_server: RedisServer
) -> None:
    """Of one who hears nothing and cannot look, the archive is asked."""
    async with split(redis_server) as both:
        both.proxy.stalled = frozenset(kinds)
        source = Source(b"new")
        await both.second.forget(Group(study_uid=KEY.study_uid))
        forgotten_at = time.monotonic()
        await until_new(both.first, source, forgotten_at)
        assert await both.second.load(KEY, source) == b"new"
        for _ in range(100):
            assert await both.first.load(KEY, source) == b"new"
        assert source.runs <= 3  # one notice may tell of the load of the other
        both.proxy.stalled = frozenset()
        await heard(both.first)
        for _ in range(100):
            assert await both.first.load(KEY, source) == b"new"


async def test_what_was_held_as_the_subscription_broke_serves_while_archives_fail(
    redis_server: RedisServer,
) -> None:
    async with split(redis_server) as both:
        both.proxy.stalled = BOTH
        while both.first._notices.session is not None:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
        silent = Source(error=ArchiveTimeout("no answer", archive="north"))
        while not silent.runs:
            assert await both.first.load(KEY, silent) == b"old"
        assert await both.first.load(KEY, Source(b"new")) == b"new"


async def test_value_that_redis_still_has_is_not_loaded_anew_after_a_break(
    redis_server: RedisServer,
) -> None:
    async with split(redis_server) as both, redis.asyncio.Redis.from_url(redis_server.url) as admin:
        source = Source(b"new")
        for _ in range(5):
            session = both.first._notices.session
            await admin.client_kill_filter(_type="pubsub")
            while both.first._notices.session in {None, session}:
                assert await both.first.load(KEY, source) == b"old"
                await asyncio.sleep(0.005)
        assert source.runs == 0


async def test_fresh_time_bounds_what_is_served_while_redis_is_away(
    redis_server: RedisServer,
) -> None:
    clock = Clock()
    cache = shared(clock, redis_server.url, limits=LIMITS)
    await asyncio.to_thread(redis_server.stop)
    assert await cache.load(KEY, Source(b"old")) == b"old"
    clock.seconds += LIVES.fresh_seconds - 1
    assert await cache.load(KEY, Source(b"new")) == b"old"
    clock.seconds += 2
    silent = Source(error=ArchiveTimeout("no answer", archive="north"))
    assert await cache.load(KEY, silent) == b"old"
    assert await cache.load(KEY, Source(b"new")) == b"new"
    await cache.close()


async def test_redis_that_comes_back_as_it_was_before_tells_nothing_of_then(
    tmp_path: Path,
) -> None:
    """It lost what it had confirmed since it saved: what was forgotten and overwritten since."""
    other = key("other")
    with RedisServer(tmp_path) as server:
        first, second = (shared(time.monotonic, server.url, limits=LIMITS) for _ in range(2))
        await heard(first, second)
        for cache in (first, second):
            assert await cache.load(KEY, Source(b"old")) == b"old"
            assert await cache.load(other, Source(b"old")) == b"old"
        async with redis.asyncio.Redis.from_url(server.url) as admin:
            await admin.save()
        await second.forget(KEY)
        await second.forget(Group(study_uid=other.study_uid))
        assert await second.load(other, Source(b"new")) == b"new"
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        for cache in (first, second, shared(time.monotonic, server.url, limits=LIMITS)):
            for one in (KEY, other):
                for _ in range(3):
                    assert await cache.load(one, Source(b"new")) == b"new"
            await cache.close()
