"""What is held in memory, and that it is no more than was allowed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from gateway.adapters.drops import MARK_BYTES, Drops
from gateway.adapters.entries import OVERHEAD_BYTES, Entries, Entry

ROOT = Path(__file__).parents[2]


def entry(stamp: int = 0, size: int = 10, mark: str = "mark") -> Entry[str]:
    return Entry("content", 0.0, size, stamp, (mark,))


def test_what_was_used_least_recently_makes_room() -> None:
    entries: Entries[str] = Entries(5 * (OVERHEAD_BYTES + 11), Drops())
    for name in "abcde":
        entries.keep(name, entry())
    entries.used("a")
    entries.keep("f", entry())
    entries.make_room(0)
    assert [name in entries for name in "abcdef"] == [True, False, True, True, True, True]


def test_what_is_known_of_drops_takes_room_too() -> None:
    drops = Drops()
    entries: Entries[str] = Entries(1 << 16, drops)
    entries.keep("a", entry(mark="a"))
    before = entries.bytes_held
    drops.note("other")
    assert entries.bytes_held == before + MARK_BYTES


def test_what_was_dropped_since_it_was_asked_for_is_not_kept() -> None:
    drops = Drops()
    entries: Entries[str] = Entries(1 << 16, drops)
    stamp = drops.now
    drops.note("mark")
    entries.keep("a", entry(stamp))
    assert entries.found("a") is None
    entries.keep("a", entry(drops.now))
    assert entries.found("a") is not None
    drops.note("mark")
    assert entries.found("a") is None


def test_what_may_have_been_dropped_is_in_doubt_until_it_is_confirmed() -> None:
    drops = Drops()
    entries: Entries[str] = Entries(1 << 16, drops)
    entries.keep("a", entry())
    drops.doubt()
    found = entries.found("a")
    assert found is not None
    assert entries.is_doubted(found)
    entries.confirm("a", drops.now)
    found = entries.found("a")
    assert found is not None
    assert not entries.is_doubted(found)


GROWTH = """
import asyncio, gc, random, resource, sys, time
from pathlib import Path
from gateway.adapters.cache import Fresh
from gateway.adapters.cache_names import Key
from tests.adapters.caches import memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

async def main():
    some = random.Random(1)
    cache = memory(time.monotonic, max_bytes=48 << 20)
    gc.collect()
    before, most = resident(), 0
    for number in range(100_000):
        uid = f"1.2.840.113619.2.55.3.{some.randrange(10**12)}.{number}"
        value = some.randbytes(int(some.lognormvariate(6, 1.5)) % 200_000)
        async def load(previous):
            return Fresh(value=value, epoch=some.randbytes(8))
        await cache.load(Key(f"study north {uid}", study_uid=uid, archives=("north",)), load)
        if number % 5000 == 0:
            most = max(most, resident() - before)
    print(cache.held.entries, cache.held.bytes, max(most, resident() - before))

asyncio.run(main())
"""


def test_process_grows_by_no_more_than_the_cache_may_hold() -> None:
    answer = subprocess.run(  # noqa: S603 - a command of ours
        [sys.executable, "-c", GROWTH], cwd=ROOT, check=True, capture_output=True, text=True
    )
    entries, held, grown = map(int, answer.stdout.split())
    assert entries > 5000
    assert held <= 48 << 20
    assert grown < (48 << 20) * 1.2
