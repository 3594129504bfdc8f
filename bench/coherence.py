"""What one process of the gateway still holds after another one has overwritten it.

Run: python -m bench.coherence [bursts], or `make bench`. Two processes share a Redis; one writes in
bursts, the other reads all the while, and compares all that it holds with what is true after each
burst. Once more with Redis killed and started again meanwhile. Then how long it takes until a purge
in one process is seen in the other, against a PING of Redis from there.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import redis.asyncio

from bench.ground.reader import percentile
from bench.ground.sums import Result, rounds_asked, tell
from gateway.adapters.cache_redis import LOOK_SECONDS, RedisCache
from tests.adapters.caches import dropped, heard, shared
from tests.adapters.coherence import Truth
from tests.adapters.test_redis_notices import KEYS, LIMITS, Writer, read_until, stale, writer
from tests.servers import RedisServer

BURSTS = 10
OVERWRITES = 600
READERS = 4
LOOKS = 5
"""How often everything is compared after a burst."""
PURGES = 800
SETTLED_SECONDS = 0.1


async def overwritten(server: RedisServer, folder: Path, bursts: int, *, restarts: bool) -> None:
    """Bursts of overwrites, and what is stale after them."""
    truth = Truth(folder / "truth", KEYS)
    cache = shared(time.monotonic, server.url, limits=LIMITS)
    checked, found = 0, 0
    async with writer(folder / "truth", server.url) as other, asyncio.TaskGroup() as tasks:
        await heard(cache)
        stop = asyncio.Event()
        for _ in range(READERS):
            tasks.create_task(read_until(stop, cache, truth))
        for burst in range(bursts):
            told = asyncio.ensure_future(other.told(f"burst {OVERWRITES}"))
            if restarts and burst % 5 == 0:
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)
            if await told != "done":
                raise SystemExit("the other process did not overwrite")
            await asyncio.sleep(LOOK_SECONDS if restarts else SETTLED_SECONDS)
            for _ in range(LOOKS):
                found += len(await stale(cache, truth))
                checked += KEYS
        stop.set()
    await cache.close()
    redis_too = ", Redis restarted" if restarts else ""
    sys.stdout.write(f"{bursts} bursts of {OVERWRITES} overwrites{redis_too}: {checked} checked\n")
    tell(
        Result(
            what=f"stale of {checked:,} after overwrites elsewhere{redis_too}",
            of="",
            ratio=found,
            floor=None if restarts else 0,
            goal=0,
            unit="entries",
        )
    )


async def purged(server: RedisServer, folder: Path) -> None:
    """How soon a purge is seen by another process, and a PING answered."""
    truth = Truth(folder / "purged", KEYS)
    cache = shared(time.monotonic, server.url)
    pings, lags = [], []
    async with (
        writer(folder / "purged", server.url) as other,
        redis.asyncio.Redis.from_url(server.url) as client,
    ):
        await heard(cache)
        for _ in range(PURGES):
            await cache.load(truth.keys[0], truth.loader(0))
            started = time.perf_counter()
            await client.ping()
            pings.append(time.perf_counter() - started)
            lags.append(await _lag(cache, other))
    await cache.close()
    lag, ping = (percentile(found, 99) * 1e3 for found in (lags, pings))
    p50 = statistics.median(lags) * 1e3
    sys.stdout.write(f"{PURGES} purges: p50 {p50:.2f}, p99 {lag:.2f} ms, PING p99 {ping:.2f} ms\n")
    what = "purge seen by another process: p99"
    tell(Result(what=what, of="", ratio=lag, floor=20, unit="ms"))
    tell(Result(what=what, of="PING of Redis, p99", ratio=lag / ping, goal=5))


async def _lag(cache: RedisCache, other: Writer) -> float:
    """Seconds from the moment when the other process begins to purge until it is seen here."""
    drops = cache._memory.drops.now
    told = asyncio.ensure_future(other.told("purge"))
    await dropped(cache, drops)
    seen_at = time.monotonic()
    return seen_at - float(await told)


async def measured(server: RedisServer, folder: Path, bursts: int) -> None:
    """All figures."""
    await purged(server, folder)
    for restarts in (False, True):
        place = folder / f"restarts-{restarts}"
        place.mkdir()
        await overwritten(server, place, bursts, restarts=restarts)


def main() -> None:
    """Prints the figures."""
    count = rounds_asked(BURSTS)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(RedisServer(folder / "redis"))
        asyncio.run(measured(server, folder, count))


if __name__ == "__main__":
    main()
