"""Another process that overwrites, for `test_coherence`: `python -m … truth url keys`.

What is true of each key stands in a file that both processes map into memory, as an archive would
have it. For each word on standard input, one line comes back on standard output:

    burst N     N values changed, by forgetting them or by writing them anew; then `done`
    purge       everything forgotten; then the time on the monotonic clock, which processes share
"""

from __future__ import annotations

import asyncio
import mmap
import random
import struct
import sys
import time
from pathlib import Path

from gateway.adapters.cache import Fresh, Loader
from gateway.adapters.cache_names import Group, Key
from gateway.adapters.cache_redis import RedisCache
from gateway.adapters.redis_store import Kept
from gateway.adapters.telemetry import configure_log
from tests.adapters.caches import LIVES, heard, key, shared

_NUMBER = struct.Struct(">Q")


class Truth:
    """What is true of each of `count` keys: numbers that only grow."""

    def __init__(self, path: Path, count: int) -> None:
        if not path.exists():
            path.write_bytes(bytes(_NUMBER.size * count))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self.keys: tuple[Key, ...] = tuple(key(number) for number in range(count))

    def of(self, number: int) -> bytes:
        return self._map[number * _NUMBER.size : (number + 1) * _NUMBER.size]

    def change(self, number: int) -> None:
        (value,) = _NUMBER.unpack(self.of(number))
        self._map[number * _NUMBER.size : (number + 1) * _NUMBER.size] = _NUMBER.pack(value + 1)

    def loader(self, number: int) -> Loader:
        async def load(previous: bytes | None) -> Fresh:
            value = self.of(number)
            await asyncio.sleep(random.random() * 0.002)  # noqa: S311 - as long as archives take
            return Fresh(value=value)

        return load


async def overwrite(cache: RedisCache, truth: Truth, number: int) -> None:
    """Change a value: told by a hook, or found when it was looked at again."""
    truth.change(number)
    one = truth.keys[number]
    seen = await cache._store.look(one)
    if seen is None or number % 2:
        await cache.forget(one)
        return
    kept = Kept(value=truth.of(number), is_absent=False, age_seconds=0)
    await cache._store.keep(one, kept, seen.epoch, LIVES.stale_seconds)
    after = await cache._store.look(one)
    if after is None or after.kept is None or after.kept.value != kept.value:
        await cache.forget(one)  # Redis did not take it


async def obey(cache: RedisCache, truth: Truth, word: str) -> str:
    if word == "purge":
        before = time.monotonic()
        await cache.forget(Group())
        return str(before)
    count = int(word.split()[1])
    for start in range(0, count, 20):
        numbers = {random.randrange(len(truth.keys)) for _ in range(start, start + 20)}  # noqa: S311
        await asyncio.gather(*(overwrite(cache, truth, number) for number in numbers))
    while cache._store.forgetting._untold:
        await cache._store.forgetting.catch_up()
        await asyncio.sleep(0.01)
    return "done"


async def main(path: str, url: str, count: str) -> None:
    configure_log(sys.stderr)
    cache, truth = shared(time.monotonic, url), Truth(Path(path), int(count))
    await heard(cache)
    while word := await asyncio.to_thread(sys.stdin.readline):
        print(await obey(cache, truth, word.strip()), flush=True)  # noqa: T201 - its answer
    await cache.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
