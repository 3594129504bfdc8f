"""Records merged over archives and remembered, no deeper and no oftener than needed."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses

import pytest

from gateway.adapters.reads import reads_noted
from gateway.asked_instances import LEAST_ASKED
from gateway.errors import NoAnswerInTime, NotFound, Unavailable
from gateway.model import Level, Target
from gateway.rules.qido import Query
from tests.assembled import ANYONE, Assembled, over
from tests.dicom import row
from tests.doubles import Held, key_objects
from tests.fault_archive import Answer, json_answer

A = Held(study="1.2.3", series="1.2.3.1", instance="1.2.3.1.1")
B = Held(study="1.2.3", series="1.2.3.1", instance="1.2.3.1.2")
C = Held(study="1.2.3", series="1.2.3.2", instance="1.2.3.2.1", modality="MR")


def target(held: Held) -> Target:
    return Target(study_uid=held.study, series_uid=held.series, instance_uid=held.instance)


def routes(assembled: Assembled) -> list[str]:
    return [r.route for d in assembled.doubles for r in d.server.requests]


async def test_a_study_is_loaded_in_two_requests_an_archive_and_remembered() -> None:
    async with over([A, B], [C]) as assembled:
        for _ in range(3):
            loaded = await assembled.archives.record("1.2.3", Level.SERIES)
            assert [s.uid for s in loaded.study.series or ()] == ["1.2.3.1", "1.2.3.2"]
            assert loaded.study.archives == ("north", "south")
        assert sorted(routes(assembled)) == ["/studies", "/studies"] + ["/studies/1.2.3/series"] * 2


async def test_instances_cost_one_request_more_an_archive() -> None:
    async with over([A, B], [C]) as assembled:
        for _ in range(2):
            loaded = await assembled.archives.record("1.2.3", Level.INSTANCE)
            instances = [i.uid for s in loaded.study.series or () for i in s.instances or ()]
            assert instances == [A.instance, B.instance, C.instance]
        assert assembled.asked == 6


async def test_an_instance_is_located_by_one_small_search() -> None:
    async with over([A, B], [C]) as assembled:
        loaded = await assembled.archives.located(target(B))
        [series] = [s for s in loaded.study.series or () if s.uid == B.series]
        assert [i.uid for i in series.instances or ()] == [B.instance]
        assert assembled.asked == 5


async def test_instances_of_a_series_one_by_one_are_listed_at_last() -> None:
    held = [dataclasses.replace(A, instance=f"{A.series}.{n}") for n in range(1, 21)]
    async with over(held) as assembled:
        for one in held:
            loaded = await assembled.archives.located(target(one))
            [series] = loaded.study.series or ()
            assert [i.uid for i in series.instances or ()] == [one.instance]
        assert assembled.asked == 2 + LEAST_ASKED + 2  # a list, and whether there is more of it
        arrived = dataclasses.replace(A, instance=f"{A.series}.21")
        with pytest.raises(NotFound):
            await assembled.archives.located(target(arrived))
        assert assembled.asked == 2 + LEAST_ASKED + 3  # it might have come since


async def test_instances_grow_old_with_their_record_and_cost_no_search_of_their_own() -> None:
    held = [dataclasses.replace(A, instance=f"{A.series}.{n}") for n in range(LEAST_ASKED)]
    async with over(held) as assembled:
        for one in held:
            await assembled.archives.located(target(one))
        before = assembled.asked
        assembled.clock.now += 100
        for one in held:
            await assembled.archives.located(target(one))
        double = assembled.doubles[0]
        await double.server.wait_for(before + 1)
        await assembled.archives.search(Query(level=Level.STUDY))
        assert {r.route for r in double.server.requests[before:]} == {"/studies"}


@pytest.mark.parametrize(
    "wanted",
    [
        Target(study_uid="1.2.9"),
        Target(study_uid="1.2.3", series_uid="1.2.3.9"),
        Target(study_uid="1.2.3", series_uid="1.2.3.2", instance_uid=A.instance),
        Target(study_uid="1.2.3", series_uid="1.2.3.1", instance_uid="1.2.3.1.9"),
    ],
)
async def test_what_no_archive_holds_there_is_not_found(wanted: Target) -> None:
    async with over([A, B], [C]) as assembled:
        with pytest.raises(NotFound):
            await assembled.archives.located(wanted)
        assembled.doubles[1].server.on("*", Answer(status=500))
        assembled.clock.now += 100_000
        with pytest.raises(Unavailable, match="south"):
            await assembled.archives.located(wanted)


async def test_only_late_archives_mean_late() -> None:
    async with over([A], timeout_seconds=0.2) as assembled:
        assembled.doubles[0].server.on("*", Answer(stall=True))
        with pytest.raises(NoAnswerInTime):
            await assembled.archives.record("1.2.3", Level.SERIES)


async def test_many_who_ask_at_once_share_one_load() -> None:
    async with over([A, B], [C]) as assembled:
        loaded = await asyncio.gather(
            *(assembled.archives.record("1.2.3", Level.INSTANCE) for _ in range(50))
        )
        assert len({len(one.study.series or ()) for one in loaded}) == 1
        assert assembled.asked == 6


async def test_silence_is_not_remembered() -> None:
    async with over([A], [C]) as assembled:
        assembled.doubles[1].server.on("/studies", Answer(status=500))
        partial = await assembled.archives.record("1.2.3", Level.SERIES)
        assert partial.silent == ("south",)
        assert len(partial.study.series or ()) == 1
        assembled.doubles[1].server.on(
            "/studies", json_answer([assembled.doubles[1].study_row("1.2.3")])
        )
        whole = await assembled.archives.record("1.2.3", Level.SERIES)
        assert whole.silent == ()
        assert len(whole.study.series or ()) == 2


async def test_a_stale_record_is_served_and_renewed_by_one_search() -> None:
    async with over([A]) as assembled:
        double = assembled.doubles[0]
        await assembled.archives.record("1.2.3", Level.SERIES)
        assembled.clock.now += 100
        await assembled.archives.record("1.2.3", Level.SERIES)
        await double.server.wait_for(3)
        assert double.server.requests[2].route == "/studies"


async def test_a_stale_record_with_other_counts_is_made_anew() -> None:
    async with over([A]) as assembled:
        double = assembled.doubles[0]
        await assembled.archives.record("1.2.3", Level.INSTANCE)
        double.held.append(B)
        assembled.clock.now += 100
        await assembled.archives.record("1.2.3", Level.SERIES)
        await double.server.wait_for(6)  # 3 before, the look at the counts, and both levels
        await asyncio.wait_for(until_there_are(assembled, 2), 5)


async def test_a_stale_record_of_a_study_that_is_another_patient_s_now_is_made_anew() -> None:
    async with over([A]) as assembled:
        double = assembled.doubles[0]
        await assembled.archives.record("1.2.3", Level.SERIES)
        corrected = double.study_row("1.2.3") | row(PatientID="P2")
        double.server.on("/studies", json_answer([corrected]))
        assembled.clock.now += 100
        await assembled.archives.record("1.2.3", Level.SERIES)
        await double.server.wait_for(5)  # 2 before, the look at the row, and both levels
        await asyncio.wait_for(until_it_is_of(assembled, "P2"), 5)


async def until_it_is_of(assembled: Assembled, patient: str) -> None:
    while True:
        loaded = await assembled.archives.record("1.2.3", Level.SERIES)
        if loaded.study.patient.id is not None and loaded.study.patient.id.value == patient:
            return
        await asyncio.sleep(0)  # what is remembered is given without a pause


async def until_there_are(assembled: Assembled, count: int) -> None:
    while True:
        loaded = await assembled.archives.record("1.2.3", Level.INSTANCE)
        if sum(len(s.instances or ()) for s in loaded.study.series or ()) == count:
            return
        await asyncio.sleep(0.01)


async def test_a_remembered_value_that_cannot_be_read_is_loaded_anew() -> None:
    async with over([A]) as assembled:
        cache = assembled.archives.cache
        await assembled.archives.record("1.2.3", Level.INSTANCE)
        entries = cache._entries._entries  # type: ignore[attr-defined] # corrupted as Redis might
        assert entries
        for key, entry in list(entries.items()):
            fresh = dataclasses.replace(entry.content, value=b"\xc1 garbage")
            entries[key] = dataclasses.replace(entry, content=fresh)
        loaded = await assembled.archives.record("1.2.3", Level.INSTANCE)
        assert [s.uid for s in loaded.study.series or ()] == [A.series]


async def test_the_instances_of_a_series_come_from_whoever_answers() -> None:
    async with over([A, B], [A, B]) as assembled:
        loaded = await assembled.archives.record("1.2.3", Level.SERIES)
        [series] = loaded.study.series or ()
        assembled.doubles[0].server.on("*/instances", Answer(status=500))
        found = await assembled.archives.series_instances(loaded.study, series)
        assert [i.uid for i in found] == [A.instance, B.instance]


async def test_nothing_is_asked_of_archives_that_are_closed() -> None:
    """Loads in the background end before the connections that they use."""
    async with over([A]) as assembled:
        await assembled.archives.record("1.2.3", Level.SERIES)
        assembled.clock.now += 100
        assembled.doubles[0].server.on("*", Answer(stall=True))
        await assembled.archives.record("1.2.3", Level.SERIES)
        await assembled.doubles[0].server.wait_for(3)
        await assembled.archives.close()
        with pytest.raises(Unavailable, match="stopping"):
            await assembled.archives.record("1.9", Level.SERIES)


async def test_series_that_arrives_after_its_study_was_remembered_is_found() -> None:
    async with over([A]) as assembled:
        await assembled.archives.record("1.2.3", Level.SERIES)
        assembled.doubles[0].held = [A, C]
        loaded = await assembled.archives.located(target(C))
        assert {s.uid for s in loaded.study.series or ()} == {A.series, C.series}


async def test_search_row_with_other_counts_ends_what_is_remembered() -> None:
    async with over([A]) as assembled:
        await assembled.archives.record("1.2.3", Level.SERIES)
        assembled.doubles[0].held = [A, C]
        await assembled.archives.search(Query(level=Level.STUDY))
        loaded = await assembled.archives.record("1.2.3", Level.SERIES)
        assert {s.uid for s in loaded.study.series or ()} == {A.series, C.series}


async def test_absence_is_not_believed_once_a_search_has_shown_the_study() -> None:
    async with over([], absent_seconds=3600) as assembled:
        with pytest.raises(NotFound):
            await assembled.archives.record("1.2.3", Level.SERIES)
        assembled.doubles[0].held = [A]
        with pytest.raises(NotFound):
            await assembled.archives.record("1.2.3", Level.SERIES)
        await assembled.archives.search(Query(level=Level.STUDY))
        assert (await assembled.archives.record("1.2.3", Level.SERIES)).study.archives == ("north",)


async def since(assembled: Assembled, level: Level = Level.SERIES) -> str:
    last_updated = (await assembled.archives.record("1.2.3", level)).study.last_updated
    assert last_updated is not None
    return last_updated


async def test_time_stays_while_content_does_however_it_is_loaded() -> None:
    async with over([A, B], [C], fresh_seconds=60, stale_seconds=3600) as assembled:
        first = await since(assembled)
        assert await since(assembled, Level.INSTANCE) == first
        for seconds in (100, 10_000):
            assembled.clock.now += seconds
            assert await since(assembled) == first
            assert await since(assembled, Level.INSTANCE) == first


async def test_series_that_arrives_moves_the_time_once() -> None:
    async with over([A], [B], fresh_seconds=0, stale_seconds=0) as assembled:
        first = await since(assembled, Level.INSTANCE)
        assembled.doubles[0].held.append(C)
        second = await since(assembled)
        assert second > first
        assert await since(assembled, Level.INSTANCE) == second
        assert await since(assembled) == second


async def test_instances_that_are_exchanged_move_the_time_of_searches_too() -> None:
    other = dataclasses.replace(A, instance="1.2.3.1.77")
    async with over([A], [C]) as assembled:
        first = await since(assembled, Level.INSTANCE)
        assembled.doubles[0].held = [other]
        assembled.clock.now += 10_000
        second = await since(assembled, Level.INSTANCE)
        assert second > first
        assert await since(assembled) == second
        assert await since(assembled, Level.INSTANCE) == second


async def test_part_that_vanishes_and_comes_back_moves_the_time_each_time() -> None:
    async with over([A], [A], fresh_seconds=0, stale_seconds=0) as assembled:
        times = [await since(assembled)]
        for held in ([], [A]):
            assembled.doubles[1].held = list(held)
            times.append(await since(assembled))
            assert await since(assembled) == times[-1]
        assert times == sorted(set(times))


async def test_silent_archive_moves_nothing() -> None:
    async with over([A], [C], fresh_seconds=0, stale_seconds=0) as assembled:
        first = await since(assembled)
        assembled.doubles[1].server.on("*", Answer(status=500))
        assert await since(assembled) <= first
        assembled.doubles[1].server.on("*", assembled.doubles[1].answer)
        assert await since(assembled) == first


async def test_content_that_is_exchanged_for_as_much_other_is_seen_once_it_is_asked_for() -> None:
    async with over([A]) as assembled:
        await assembled.archives.record("1.2.3", Level.INSTANCE)
        assembled.doubles[0].held = [C]
        await assembled.archives.located(target(C))
        loaded = await assembled.archives.record("1.2.3", Level.INSTANCE)
        assert [s.uid for s in loaded.study.series or ()] == [C.series]


async def exchanged(assembled: Assembled, *held: Held) -> None:
    """Searches see one instance less, and then as many as before."""
    for now in (held[1:], held):
        assembled.doubles[0].held = list(now)
        await assembled.archives.search(Query(level=Level.STUDY))


async def test_listings_end_with_the_record_though_the_counts_are_as_before() -> None:
    other = dataclasses.replace(A, instance="1.2.3.1.77")
    async with over([A, B]) as assembled:
        archives = assembled.archives
        study = (await archives.record("1.2.3", Level.INSTANCE)).study
        [series] = study.series or ()
        await archives.series_instances(study, series)
        await archives.located(target(A))
        await exchanged(assembled, other, B)
        found = (await archives.record("1.2.3", Level.INSTANCE)).study.series or ()
        assert {i.uid for i in found[0].instances or ()} == {other.instance, B.instance}
        listed = await archives.series_instances(study, series)
        assert {i.uid for i in listed} == {other.instance, B.instance}
        with pytest.raises(NotFound):
            await archives.located(target(A))


async def test_all_that_is_remembered_of_content_ends_with_the_record_that_it_was_read_for() -> (
    None
):
    note = key_objects("1.2.3", 9, "113000", A)
    held = [A, B, C, note]
    async with over(held) as assembled:
        before = await names_of_all(assembled)
        await exchanged(assembled, *held)
        assert before & await names_of_all(assembled) == {n for n in before if kind(n) == "study"}
        assert {kind(n) for n in before} == {
            *("study", "instances", "instance", "series-instances", "series-listing"),
            *("key-objects", "metadata", "thumbnail"),
        }


async def names_of_all(assembled: Assembled) -> set[str]:
    """What is remembered once all that there is was asked for."""
    archives = assembled.archives
    with reads_noted() as reads:
        study = (await archives.record("1.2.3", Level.INSTANCE)).study
        await archives.series_instances(study, (study.series or ())[0])
        await assembled.pictures.thumbnail(ANYONE, target(B), 64, 64, "image/jpeg")
        async with assembled.catalog.metadata(ANYONE, target(B)) as metadata:
            assert [batch async for batch in metadata.batches]
        for number in range(LEAST_ASKED + 1):
            with contextlib.suppress(NotFound):
                await archives.located(dataclasses.replace(target(B), instance_uid=f"1.9.{number}"))
    return set(reads.values)


def kind(name: str) -> str:
    """What something remembered is."""
    return name.split()[1]
