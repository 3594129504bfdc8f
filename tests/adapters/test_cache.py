"""What every cache promises, over the one in this process and the one in Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest

from gateway.adapters.cache import PAUSE_SECONDS
from gateway.adapters.drops import MARK_BYTES
from gateway.errors import ArchiveTimeout, NotFound, Unavailable
from tests.adapters.caches import KEY, AnyCache, Clock, Source, age, key, memory, settled, shared


@dataclass
class Bench:
    """A cache and the passing of time."""

    cache: AnyCache
    clock: Clock
    pass_by: Callable[[float], Awaitable[None]]


@pytest.fixture(params=["memory", "redis"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    clock = Clock()
    url = request.getfixturevalue("redis_server").url if request.param == "redis" else None

    async def pass_by(seconds: float) -> None:
        clock.seconds += seconds
        if url is not None:
            await age(url, seconds)

    cache: AnyCache = memory(clock) if url is None else shared(clock, url)
    yield Bench(cache, clock, pass_by)
    await cache.close()


async def test_young_value_is_served_as_it_is(bench: Bench) -> None:
    source = Source()
    assert await bench.cache.load(KEY, source) == b"one"
    await bench.pass_by(50)
    assert await bench.cache.load(KEY, source) == b"one"
    assert source.runs == 1


async def test_each_key_has_its_own_value(bench: Bench) -> None:
    await bench.cache.load(key("a"), Source(b"A"))
    await bench.cache.load(key("b"), Source(b"B"))
    assert await bench.cache.load(key("a"), Source()) == b"A"
    assert await bench.cache.load(key("b"), Source()) == b"B"


async def test_two_hundred_concurrent_loads_share_one_run(bench: Bench) -> None:
    source = Source(gate=asyncio.Event())
    async with asyncio.TaskGroup() as group:
        loads = [group.create_task(bench.cache.load(KEY, source)) for _ in range(200)]
        await source.started.wait()
        assert source.gate is not None
        source.gate.set()
    assert {load.result() for load in loads} == {b"one"}
    assert source.runs == 1


async def test_stale_value_is_served_at_once_and_revalidated_once(bench: Bench) -> None:
    await bench.cache.load(KEY, Source(b"old"))
    await bench.pass_by(61)
    source = Source(b"new", gate=asyncio.Event())

    served = [await bench.cache.load(KEY, source) for _ in range(5)]
    await source.started.wait()
    served.append(await bench.cache.load(KEY, source))
    assert source.gate is not None
    source.gate.set()
    await settled()

    assert set(served) == {b"old"}
    assert source.given == [b"old"]
    assert await bench.cache.load(KEY, source) == b"new"
    assert source.runs == 1


async def test_revalidated_value_is_young_again(bench: Bench) -> None:
    source = Source()
    await bench.cache.load(KEY, source)
    await bench.pass_by(61)
    await bench.cache.load(KEY, source)
    await settled()
    await bench.pass_by(50)
    assert await bench.cache.load(KEY, source) == b"one"
    assert source.runs == 2


async def test_value_too_old_is_loaded_anew(bench: Bench) -> None:
    await bench.cache.load(KEY, Source(b"old"))
    await bench.pass_by(3601)
    source = Source(b"new")
    assert await bench.cache.load(KEY, source) == b"new"
    assert source.given == [None]


async def test_absence_is_believed_briefly_and_never_served_stale(bench: Bench) -> None:
    absent = Source(b"", is_absent=True)
    await bench.cache.load(KEY, absent)
    await bench.pass_by(14)
    assert await bench.cache.load(KEY, absent) == b""
    assert absent.runs == 1
    await bench.pass_by(2)
    source = Source(b"there")
    assert await bench.cache.load(KEY, source) == b"there"
    assert source.given == [None]


async def test_error_reaches_all_who_wait_and_is_not_kept(bench: Bench) -> None:
    failing = Source(error=NotFound("no such study"), gate=asyncio.Event())
    loads = [asyncio.ensure_future(bench.cache.load(KEY, failing)) for _ in range(3)]
    await failing.started.wait()
    assert failing.gate is not None
    failing.gate.set()
    results = await asyncio.gather(*loads, return_exceptions=True)
    assert [type(result) for result in results] == [NotFound] * 3
    assert failing.runs == 1
    assert await bench.cache.load(KEY, Source(b"there")) == b"there"


async def test_stale_value_outlives_a_silent_archive(bench: Bench) -> None:
    await bench.cache.load(KEY, Source(b"old"))
    await bench.pass_by(61)
    silent = Source(error=ArchiveTimeout("no answer", archive="north"))
    assert await bench.cache.load(KEY, silent) == b"old"
    await settled()
    assert await bench.cache.load(KEY, silent) == b"old"
    await settled()
    assert silent.runs == 1  # it was asked just now
    await bench.pass_by(PAUSE_SECONDS)
    assert await bench.cache.load(KEY, silent) == b"old"
    await settled()
    assert silent.runs == 2


async def test_stale_value_is_current_while_it_is_asked_for_and_just_after_a_failure() -> None:
    clock = Clock()
    cache = memory(clock)
    value = await cache.load(KEY, Source(b"old"))
    clock.seconds += 61
    assert not cache.is_current(KEY, value)
    silent = Source(gate=asyncio.Event(), error=ArchiveTimeout("no answer", archive="north"))
    assert await cache.load(KEY, silent) is value
    assert cache.is_current(KEY, value)
    assert not cache.is_current(KEY, b"another")
    assert silent.gate is not None
    silent.gate.set()
    await settled()
    assert cache.is_current(KEY, value)
    clock.seconds += PAUSE_SECONDS
    assert not cache.is_current(KEY, value)
    await cache.load(KEY, silent)
    await settled()
    await cache.forget(KEY)
    assert not cache.is_current(KEY, value)


async def test_stale_value_that_is_too_old_is_not_current_whoever_is_asked() -> None:
    clock = Clock()
    cache = memory(clock)
    value = await cache.load(KEY, Source(b"old"))
    clock.seconds += 61
    await cache.load(KEY, Source(error=ArchiveTimeout("no answer", archive="north")))
    await settled()
    clock.seconds += 3600
    assert not cache.is_current(KEY, value)


async def test_stale_value_goes_when_its_source_is_gone(bench: Bench) -> None:
    await bench.cache.load(KEY, Source(b"old"))
    await bench.pass_by(61)
    gone = Source(error=NotFound("no such study"))
    assert await bench.cache.load(KEY, gone) == b"old"
    await settled()
    with pytest.raises(NotFound):
        await bench.cache.load(KEY, gone)


async def test_one_who_leaves_takes_nothing_from_the_others(bench: Bench) -> None:
    source = Source(gate=asyncio.Event())
    leaver, stayer = (asyncio.ensure_future(bench.cache.load(KEY, source)) for _ in range(2))
    await source.started.wait()
    leaver.cancel()
    await asyncio.wait([leaver])
    assert source.gate is not None
    source.gate.set()
    assert await stayer == b"one"
    assert leaver.cancelled()
    assert source.cancelled == 0


async def test_last_one_who_leaves_cancels_the_load(bench: Bench) -> None:
    source = Source(gate=asyncio.Event())
    loads = [asyncio.ensure_future(bench.cache.load(KEY, source)) for _ in range(3)]
    await source.started.wait()
    for load in loads:
        load.cancel()
    await asyncio.wait(loads)
    await source.ended.wait()
    assert source.cancelled == 1
    await settled()
    assert await bench.cache.load(KEY, Source(b"two")) == b"two"


async def test_forgotten_value_is_loaded_anew_without_the_old_one(bench: Bench) -> None:
    await bench.cache.load(KEY, Source(b"old"))
    await bench.cache.forget(KEY)
    source = Source(b"new")
    assert await bench.cache.load(KEY, source) == b"new"
    assert source.given == [None]


async def test_load_that_began_before_forgetting_is_not_kept(bench: Bench) -> None:
    slow = Source(b"old", gate=asyncio.Event())
    waiting = asyncio.ensure_future(bench.cache.load(KEY, slow))
    await slow.started.wait()
    await bench.cache.forget(KEY)
    assert await bench.cache.load(KEY, Source(b"new")) == b"new"
    assert slow.gate is not None
    slow.gate.set()
    assert await waiting == b"old"
    assert await bench.cache.load(KEY, Source(b"newer")) == b"new"


async def test_closing_ends_loads_under_way_and_takes_no_more(bench: Bench) -> None:
    source = Source(gate=asyncio.Event())
    waiting = asyncio.ensure_future(bench.cache.load(KEY, source))
    await source.started.wait()
    await bench.cache.close()
    with pytest.raises(Unavailable):
        await waiting
    assert source.cancelled == 1
    with pytest.raises(Unavailable):
        await bench.cache.load(KEY, source)


async def test_what_is_remembered_outlives_every_record_and_what_is_forgotten(
    bench: Bench,
) -> None:
    assert await bench.cache.recall(KEY) == ()
    await bench.cache.remember(KEY, b"first")
    await bench.cache.remember(KEY, b"last")
    await bench.cache.remember(key("another"), b"other")
    await bench.cache.load(KEY, Source())
    await bench.cache.forget(KEY)
    await bench.pass_by(300 * 86400)
    assert set(await bench.cache.recall(KEY)) == {b"last"}


async def test_what_is_remembered_is_bounded_and_goes_least_recently_used_first() -> None:
    cache = memory(Clock(), max_bytes=16_000)
    for number in range(4):
        await cache.remember(key(number), bytes(120))
        assert await cache.recall(key("0"))
    assert cache.bytes_held <= 2000
    assert [bool(await cache.recall(key(number))) for number in range(4)] == [
        True,
        False,
        True,
        True,
    ]


async def test_records_make_room_for_what_is_remembered() -> None:
    cache = memory(Clock(), max_bytes=100_000)
    for number in range(8):
        await cache.load(key(number), Source(bytes(12_000)))
    await cache.remember(KEY, bytes(1000))
    assert cache.bytes_held <= 100_000
    assert cache.peek(key("0")) is None
    assert await cache.recall(KEY) == (bytes(1000),)


async def test_memory_is_bounded_in_bytes_and_drops_what_was_used_least_recently() -> None:
    cache = memory(Clock(), max_bytes=110_000)
    for number in range(8):
        await cache.load(key(number), Source(bytes(12_000)))
    assert await cache.load(key("0"), Source(b"again")) == bytes(12_000)
    await cache.load(key("8"), Source(bytes(12_000)))
    assert cache.bytes_held <= 110_000
    assert await cache.load(key("0"), Source(b"again")) == bytes(12_000)
    assert await cache.load(key("1"), Source(b"again")) == b"again"


async def test_value_larger_than_a_quarter_of_the_memory_is_served_but_not_kept() -> None:
    cache = memory(Clock(), max_bytes=100_000)
    await cache.load(key("small"), Source(b"small"))
    source = Source(bytes(30_000))
    assert await cache.load(key("large"), source) == bytes(30_000)
    assert await cache.load(key("large"), source) == bytes(30_000)
    assert source.runs == 2
    assert cache.peek(key("small")) is not None


async def test_memory_is_given_back_by_what_is_forgotten() -> None:
    cache = memory(Clock())
    await cache.load(KEY, Source(bytes(1000)))
    await cache.forget(KEY)
    assert cache.bytes_held <= MARK_BYTES


async def test_doubted_value_is_served_only_when_archives_fail() -> None:
    cache = memory(Clock())
    await cache.load(KEY, Source(b"old"))
    cache.doubt(KEY)
    silent = Source(error=ArchiveTimeout("no answer", archive="north"))
    assert await cache.load(KEY, silent) == b"old"
    assert await cache.load(KEY, Source(b"new")) == b"new"
