"""What a cached value costs when there are a million of them, and how soon an archive is forgotten.

Run: python -m bench.keys [rounds], or `make bench`. Two Redis servers, of which one holds a million
keys of the size of a small study's record; a cache over each reads the same number of values from
it, in turn, and forgets what an archive told. CPU of the cache and of its Redis together. The same
for the cache in the process, with as many entries as its bounds allow.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import redis

from bench.ground.processes import cpu_seconds
from bench.ground.sums import Result, median, ratio, rounds_asked, tell
from gateway.adapters.cache import Fresh, MemoryCache
from gateway.adapters.cache_names import Group, Key, Names
from gateway.adapters.cache_redis import RedisCache
from tests.adapters.caches import heard, memory, shared
from tests.servers import RedisServer

ROUNDS = 9
FEW, MANY = 1000, 1_000_000
IN_PROCESS = 200_000
"""Entries of a cache of a quarter of a gigabyte."""
READS = 1000
SIZE = 600
_FILL = """
for number = ARGV[1], ARGV[2] - 1 do
  local digest = redis.sha1hex(number)
  redis.call('SET', KEYS[1] .. '{' .. digest .. '}:' .. digest, ARGV[3], 'PX', 86400000)
end
"""
_AT_ONCE = 10_000


def fill(url: str, keys: int) -> None:
    """Keys as those of studies, of which nobody asks for."""
    with redis.Redis.from_url(url) as client:
        for start in range(0, keys, _AT_ONCE):
            end = min(keys, start + _AT_ONCE)
            client.eval(_FILL, 1, Names().prefix, start, end, "v" * SIZE)


def key(number: int) -> Key:
    """The name of a value."""
    return Key(f"study {number}", study_uid=f"1.2.{number}", archives=("north",))


async def _value(previous: bytes | None) -> Fresh:
    return Fresh(value=b"v" * SIZE)


async def _nothing(previous: bytes | None) -> Fresh:
    raise SystemExit("a value was not found")


async def of_redis(servers: Sequence[RedisServer], count: int) -> None:
    """Reads that Redis answers, among few keys and among many; then the forgetting."""
    for server in servers:
        filling = shared(time.monotonic, server.url)
        for number in range(READS):
            await filling.load(key(number), _value)
        await filling.close()
    done = []
    for _ in range(count):
        done.append({str(n): await _cost(s) for n, s in zip((FEW, MANY), servers, strict=True)})
    few, many = (median(done, str(n)) * 1e6 for n in (FEW, MANY))
    sys.stdout.write(
        f"a read from Redis, CPU µs: {few:.0f} of {FEW:,} keys, {many:.0f} of {MANY:,}\n"
    )
    tell(
        Result(
            what=f"read from Redis of {MANY:,} keys: CPU",
            of=f"of {FEW:,} keys",
            ratio=ratio(done, str(MANY), str(FEW)),
            floor=1.3,
            goal=1.1,
        )
    )


async def _cost(server: RedisServer) -> float:
    """CPU seconds of a read by a process that has nothing itself."""
    cache = shared(time.monotonic, server.url)
    await heard(cache)
    before = time.process_time() + cpu_seconds(server.pid)
    for number in range(READS):
        await cache.load(key(number), _nothing)
    spent = time.process_time() + cpu_seconds(server.pid) - before
    await cache.close()
    return spent / READS


async def forgetting(server: RedisServer, count: int) -> None:
    """How long it takes until all that an archive told is forgotten, and that it is."""
    cache = shared(time.monotonic, server.url)
    await heard(cache)
    found = []
    for _ in range(count):
        await _known(cache)
        started = time.perf_counter()
        if not await cache.forget(Group(archive="north")):
            raise SystemExit("Redis was not told")
        found.append(time.perf_counter() - started)
        fresh = shared(time.monotonic, server.url)
        loaded: list[int] = []

        async def again(previous: bytes | None, loaded: list[int] = loaded) -> Fresh:
            loaded.append(1)
            return Fresh(value=b"v" * SIZE)

        for number in range(0, READS, 50):
            await fresh.load(key(number), again)
        if len(loaded) != READS // 50:
            raise SystemExit("something was not forgotten")
        await fresh.close()
    await cache.close()
    tell(
        Result(
            what=f"forgetting an archive among {MANY:,} keys, most of {count}",
            of="",
            ratio=max(found) * 1e3,
            floor=20,
            goal=5,
            unit="ms",
        )
    )


async def _known(cache: RedisCache) -> None:
    for number in range(0, READS, 50):
        await cache.load(key(number), _value)


async def of_the_process(count: int) -> None:
    """Reads of the cache in a process, of few entries and of many."""
    caches = {number: memory(time.monotonic, max_bytes=1 << 30) for number in (FEW, IN_PROCESS)}
    for entries, cache in caches.items():
        for number in range(entries):
            await cache.load(key(number), _value)
    keys = {n: [key(i * 7919 % n) for i in range(20 * READS)] for n in caches}
    done = [
        {str(n): await _in_process(c, keys[n]) for n, c in caches.items()} for _ in range(count)
    ]
    few, many = (median(done, str(n)) * 1e6 for n in caches)
    sys.stdout.write(f"a read in the process, CPU µs: {few:.2f} and {many:.2f}\n")
    tell(
        Result(
            what=f"read in the process of {IN_PROCESS:,} entries: CPU",
            of="",
            ratio=many,
            unit="µs",
            floor=4,
            goal=2,
        )
    )


async def _in_process(cache: MemoryCache, keys: Sequence[Key]) -> float:
    started = time.process_time()
    for one in keys:
        await cache.load(one, _nothing)
    return (time.process_time() - started) / len(keys)


async def measured(servers: Sequence[RedisServer], count: int) -> None:
    """All figures."""
    await of_redis(servers, count)
    await forgetting(servers[-1], count)
    await of_the_process(count)


def main() -> None:
    """Prints the figures."""
    count = rounds_asked(ROUNDS)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = [stack.enter_context(RedisServer(folder / name)) for name in ("few", "many")]
        fill(servers[-1].url, MANY)
        asyncio.run(measured(servers, count))


if __name__ == "__main__":
    main()
