"""What a search told of studies is used by the records of the same request, and by nobody else."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator

import pytest

from gateway import told_rows
from gateway.adapters.questions import asked_together
from gateway.model import Level
from gateway.rules import attributes
from gateway.rules.qido import Query
from tests.assembled import Assembled, over
from tests.doubles import Held
from tests.fault_archive import Answer

HELD = [
    Held(study=f"1.2.{study}", series=f"1.2.{study}.{n}", instance=f"1.2.{study}.{n}.1")
    for study in (1, 2, 3)
    for n in (1, 2)
]
ALL = Query(level=Level.STUDY, include=attributes.STUDY_FIELDS)
STUDIES = ("1.2.1", "1.2.2", "1.2.3")


@pytest.fixture
async def assembled() -> AsyncIterator[Assembled]:
    async with over(HELD) as one:
        one.doubles[0].counts_below = True
        yield one


def asked(assembled: Assembled) -> list[str]:
    """What archives were asked for since the last time."""
    found = [r.route for d in assembled.doubles for r in d.server.requests]
    for double in assembled.doubles:
        double.server.requests.clear()
    return sorted(found)


def below(*studies: str) -> list[str]:
    return [f"/studies/{study}/series" for study in studies]


async def records(assembled: Assembled) -> None:
    async with asyncio.TaskGroup() as tasks:
        for uid in STUDIES:
            tasks.create_task(assembled.archives.record(uid, Level.SERIES))


async def test_records_of_what_a_search_found_cost_one_call_each(assembled: Assembled) -> None:
    with asked_together():
        await assembled.archives.search(ALL)
        asked(assembled)
        await records(assembled)
    assert asked(assembled) == below(*STUDIES)


async def test_records_are_the_same_whichever_way_they_are_told(assembled: Assembled) -> None:
    told = []
    with asked_together():
        await assembled.archives.search(ALL)
        told.append(await assembled.archives.record("1.2.1", Level.INSTANCE))
    await assembled.archives.forget("1.2.1")
    told.append(await assembled.archives.record("1.2.1", Level.INSTANCE))
    assert told[0] == told[1]  # and has not changed since


async def test_each_archive_is_believed_for_itself() -> None:
    async with over(HELD, HELD[:1], HELD[2:]) as assembled:
        for double in assembled.doubles:
            double.counts_below = True
        with asked_together():
            await assembled.archives.search(ALL)
            asked(assembled)
            loaded = await assembled.archives.record("1.2.1", Level.SERIES)
        assert loaded.study.archives == ("north", "south")
        assert asked(assembled) == ["/studies", *below(*["1.2.1"] * 3)]  # east was not heard of it


@pytest.mark.parametrize(
    "query", [dataclasses.replace(ALL, include=None), dataclasses.replace(ALL, include=frozenset())]
)
async def test_rows_that_were_not_asked_for_the_same_are_not_used(
    assembled: Assembled, query: Query
) -> None:
    with asked_together():
        await assembled.archives.search(query)
        asked(assembled)
        await records(assembled)
    assert asked(assembled) == ["/studies"] * 3 + below(*STUDIES)


async def test_what_others_ask_for_is_asked_anew(assembled: Assembled) -> None:
    await assembled.archives.search(ALL)
    with asked_together():
        await assembled.archives.search(ALL)
    asked(assembled)
    with asked_together():
        await records(assembled)
    assert asked(assembled) == ["/studies"] * 3 + below(*STUDIES)


async def test_what_was_dropped_since_the_search_is_asked_anew(assembled: Assembled) -> None:
    with asked_together():
        await assembled.archives.search(ALL)
        asked(assembled)
        await assembled.archives.forget("1.2.2")
        await records(assembled)
    assert asked(assembled) == ["/studies", *below(*STUDIES)]


async def test_what_is_dropped_meanwhile_is_asked_once_more(assembled: Assembled) -> None:
    [double] = assembled.doubles
    with asked_together():
        await assembled.archives.search(ALL)
        asked(assembled)
        double.server.on("/studies/1.2.1/series", Answer(stall=True), double.answer)
        async with asyncio.TaskGroup() as tasks:
            loading = tasks.create_task(assembled.archives.record("1.2.1", Level.SERIES))
            await double.server.wait_for(1)
            await assembled.archives.forget("1.2.1")
            double.server.on("/studies/1.2.1/series", double.answer)
            double.server.release()
    assert [s.uid for s in loading.result().study.series or ()] == ["1.2.1.1", "1.2.1.2"]
    assert asked(assembled)[0] == "/studies"


async def test_a_row_that_contradicts_what_is_remembered_ends_it(assembled: Assembled) -> None:
    await records(assembled)
    arrived = Held(study="1.2.1", series="1.2.1.9", instance="1.2.1.9.1")
    assembled.doubles[0].held.append(arrived)
    with asked_together():
        await assembled.archives.search(ALL)
        loaded = await assembled.archives.record("1.2.1", Level.SERIES)
    assert len(loaded.study.series or ()) == 3


async def test_only_so_many_rows_are_held(
    assembled: Assembled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(told_rows, "MOST_ROWS", 1)
    with asked_together():
        await assembled.archives.search(ALL)
        asked(assembled)
        await records(assembled)
    assert asked(assembled) == ["/studies"] * 2 + below(*STUDIES)
