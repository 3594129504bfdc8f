"""What one process changes is never read as it was in another, however Redis fares meanwhile."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.adapters.cache_names import Group
from gateway.adapters.cache_redis import LOOK_SECONDS, RedisCache
from gateway.adapters.redis_client import Limits
from gateway.adapters.redis_notices import LIVE_SECONDS
from tests.adapters.caches import KEY, Clock, Source, dropped, heard, key, shared
from tests.adapters.coherence import Truth
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


@pytest.mark.parametrize("restarts", [False, True], ids=["redis stays", "redis restarts"])
async def test_nothing_is_stale_after_another_process_has_overwritten_it(
    *, restarts: bool, redis_server: RedisServer, tmp_path: Path
) -> None:
    truth = Truth(tmp_path / "truth", KEYS)
    cache = shared(time.monotonic, redis_server.url, limits=LIMITS)
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
            await asyncio.sleep(LOOK_SECONDS if restarts else 0.1)
            for _ in range(5):
                found += await stale(cache, truth)
                checked += KEYS
        stop.set()
    assert checked >= 10_000
    assert found == []
    await cache.close()


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
    assert max(lags) < 0.5, lags
    await cache.close()


async def test_subscription_that_hangs_is_not_relied_on(redis_server: RedisServer) -> None:
    cache = shared(Clock(), redis_server.url)
    await heard(cache)
    redis_server.freeze()
    frozen_at = time.monotonic()
    while cache._notices.session is not None:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.01)
    assert time.monotonic() - frozen_at < LIVE_SECONDS + 0.5
    redis_server.thaw()
    await heard(cache)
    await cache.close()


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
