"""Metadata of whole series, remembered as long as the record of their study."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

import pytest

from gateway import kept_metadata
from gateway.adapters.cache import Lives, MemoryCache
from gateway.adapters.cache_names import Key
from gateway.adapters.telemetry import Telemetry
from gateway.errors import ArchiveBadAnswer, NotFound
from gateway.kept_metadata import KeptMetadata
from gateway.model import Level, Target
from gateway.rules.qido import Query
from tests.assembled import ANYONE, Assembled, Clock, over
from tests.doubles import Held
from tests.fault_archive import Answer, json_answer

A = Held(study="1.2.3", series="1.2.3.1", instance="1.2.3.1.1")
B = Held(study="1.2.3", series="1.2.3.1", instance="1.2.3.1.2")
C = Held(study="1.2.3", series="1.2.3.2", instance="1.2.3.2.1", modality="SR")
SERIES = Target(study_uid="1.2.3", series_uid="1.2.3.1")
STUDY = Target(study_uid="1.2.3")


async def count(assembled: Assembled, target: Target = SERIES) -> int:
    """How many objects the metadata of a target has."""
    async with assembled.catalog.metadata(ANYONE, target) as metadata:
        return sum([len(batch) async for batch in metadata.batches])


def asked(assembled: Assembled) -> int:
    """How often archives were asked for metadata."""
    seen = [r.route for d in assembled.doubles for r in d.server.requests]
    return sum(route.endswith("/metadata") for route in seen)


async def test_metadata_of_a_series_is_asked_for_once() -> None:
    async with over([A, B, C]) as assembled:
        assert [await count(assembled) for _ in range(3)] == [2, 2, 2]
        assert asked(assembled) == 1
        assert assembled.asked == 3  # and the record


async def test_many_who_ask_at_once_share_one_load() -> None:
    async with over([A, B]) as assembled:
        assert await asyncio.gather(*(count(assembled) for _ in range(20))) == [2] * 20
        assert asked(assembled) == 1


async def test_the_shares_of_several_archives_are_each_remembered() -> None:
    async with over([A, B], [C]) as assembled:
        assert [await count(assembled, STUDY) for _ in range(2)] == [3, 3]
        assert asked(assembled) == 2


async def test_whole_studies_and_single_instances_are_remembered_as_well() -> None:
    async with over([A, B, C]) as assembled:
        one = Target(study_uid="1.2.3", series_uid="1.2.3.1", instance_uid=A.instance)
        assert [await count(assembled, t) for t in (STUDY, STUDY, one, one)] == [3, 3, 1, 1]
        assert asked(assembled) == 2


async def test_a_known_series_is_given_while_its_archive_is_down() -> None:
    async with over([A, B]) as assembled:
        await count(assembled)
        assembled.doubles[0].server.on("*", Answer(status=500))
        assembled.clock.now += 100  # the record is stale, and is served all the same
        assert await count(assembled) == 2


async def test_stale_metadata_is_renewed_with_the_record_by_one_search() -> None:
    async with over([A, B]) as assembled:
        await count(assembled)
        assembled.clock.now += 100
        assert await count(assembled) == 2
        await assembled.doubles[0].server.wait_for(4)
        assert await count(assembled) == 2
        routes = [r.route for r in assembled.doubles[0].server.requests]
        assert routes[3:] == ["/studies"]


async def test_metadata_of_another_count_is_read_anew() -> None:
    async with over([A]) as assembled:
        assert await count(assembled) == 1
        assembled.doubles[0].held.append(B)
        assembled.clock.now += 100
        await asyncio.wait_for(until_there_are(assembled, 2), 5)


async def until_there_are(assembled: Assembled, number: int) -> None:
    while True:
        if await count(assembled) == number:
            return
        await asyncio.sleep(0.01)


async def test_metadata_is_forgotten_with_its_record_though_the_counts_are_as_before() -> None:
    async with over([A]) as assembled:
        await count(assembled)
        assembled.doubles[0].held.append(C)
        await assembled.archives.search(Query(level=Level.STUDY))
        assembled.doubles[0].held.pop()
        await count(assembled)
        assert asked(assembled) == 2


async def test_a_series_that_is_not_whole_is_not_remembered() -> None:
    async with over([A, B]) as assembled:
        double = assembled.doubles[0]
        double.server.on("*/metadata", json_answer([double._metadata(A)]))
        assert [await count(assembled) for _ in range(2)] == [1, 1]
        assert asked(assembled) == 2


async def test_many_who_ask_at_once_for_what_is_not_whole_share_each_load() -> None:
    async with over([A, B]) as assembled:
        double = assembled.doubles[0]
        double.server.on("*/metadata", json_answer([double._metadata(A)]))
        for loads in (1, 2):  # the second time it is known already that it is not remembered
            assert await asyncio.gather(*(count(assembled) for _ in range(20))) == [1] * 20
            assert asked(assembled) == loads


async def test_failures_are_not_remembered() -> None:
    async with over([A]) as assembled:
        assembled.doubles[0].server.on("*/metadata", Answer(status=500))
        with pytest.raises(ArchiveBadAnswer):
            await count(assembled)
        assembled.doubles[0].server.on("*/metadata", Answer(status=404))
        with pytest.raises(NotFound):
            await count(assembled)
        assert asked(assembled) == 2


KEY = Key("k", study_uid="1.2.3")


def cache() -> MemoryCache:
    lives = Lives(fresh_seconds=60, stale_seconds=60, absent_seconds=60)
    return MemoryCache(lives=lives, max_bytes=1 << 30, telemetry=Telemetry())


class Source:
    """Gives what it was made with, if it may, and counts how often."""

    def __init__(self, *objects: bytes) -> None:
        self.objects = list(objects)
        self.asked = 0
        self.is_asked = asyncio.Event()
        self.may_give = asyncio.Event()
        self.may_give.set()

    async def __call__(self) -> list[bytes]:
        self.asked += 1
        self.is_asked.set()
        await self.may_give.wait()
        return self.objects


async def whole(found: Sequence[bytes]) -> bool:
    return True


@pytest.mark.parametrize("size", [0, 10, 1 << 15, 1 << 19])
async def test_what_is_remembered_comes_back_as_it_was(size: int) -> None:
    memory, source = cache(), Source(b"{}", b"x" * size, os.urandom(size))
    for _ in range(3):
        assert await KeptMetadata(memory).remembered(KEY, source, whole) == source.objects
    assert source.asked == 1
    await memory.close()


async def test_what_is_too_large_is_asked_for_each_time() -> None:
    memory, source = cache(), Source(os.urandom(kept_metadata.MOST_BYTES + 1))
    for _ in range(3):
        assert await KeptMetadata(memory).remembered(KEY, source, whole) == source.objects
    assert source.asked == 3
    assert memory.bytes_held < 2000
    await memory.close()


async def test_what_is_too_large_is_handed_to_all_who_wait_for_it_and_kept_for_nobody() -> None:
    memory, source = cache(), Source(os.urandom(kept_metadata.MOST_BYTES + 1))
    kept = KeptMetadata(memory)
    for loads in (1, 2):
        source.may_give.clear()
        source.is_asked.clear()
        waiting = [asyncio.ensure_future(kept.remembered(KEY, source, whole)) for _ in range(20)]
        await source.is_asked.wait()
        waiting.pop().cancel()  # who leaves takes nothing from the others
        await asyncio.sleep(0)
        source.may_give.set()
        found = await asyncio.gather(*waiting)
        assert source.asked == loads
        assert {id(each) for each in found} == {id(source.objects)}
    assert not kept._waiting
    await kept.close()
    await memory.close()


async def test_what_may_be_out_of_date_is_asked_for_anew_once_it_is_stale() -> None:
    clock, source = Clock(), Source(b"{}")
    lives = Lives(fresh_seconds=10, stale_seconds=100, absent_seconds=10)
    memory = MemoryCache(lives=lives, max_bytes=1 << 20, telemetry=Telemetry(), clock=clock)
    kept = KeptMetadata(memory)
    for is_lasting, asked_for in ((True, 1), (True, 1), (False, 2)):
        while not memory.has_fresh(KEY):
            await kept.remembered(KEY, source, whole, is_lasting=is_lasting)
            await asyncio.sleep(0)
        assert source.asked == asked_for
        clock.now += 20
    await memory.close()


async def test_garbage_is_forgotten() -> None:
    memory, source = cache(), Source(b"{}")
    await KeptMetadata(memory).remembered(KEY, source, whole)
    kept = memory.peek(KEY)
    assert kept is not None
    for garbage in (b"garbage", kept.value[:-3], b"\x00"):
        memory.put(KEY, type(kept)(value=garbage), memory.drops.now)
        assert await KeptMetadata(memory).remembered(KEY, source, whole) == [b"{}"]
        assert memory.peek(KEY) is None
        await KeptMetadata(memory).remembered(KEY, source, whole)
    await memory.close()
