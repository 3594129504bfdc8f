"""`limit` and `offset` over several archives, whatever each of them holds and caps."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import NoAnswerInTime, RefusedByAll, TooCostly, Unavailable
from gateway.model import Level
from gateway.rules import dicom_json as dj
from gateway.rules import qido
from gateway.rules.qido import Query
from gateway.searching import MAX_ROWS, searched
from tests.adapters.clients import paged
from tests.assembled import ANYONE, Assembled, over
from tests.doubles import Held
from tests.fault_archive import Answer

ALL = Query(level=Level.STUDY)


def held(number: int, modality: str = "CT", series: int = 1) -> Held:
    study = f"1.2.{number}"
    return Held(
        study=study,
        series=f"{study}.{series}",
        instance=f"{study}.{series}.1",
        modality=modality,
    )


async def page(assembled: Assembled, query: Query) -> list[str]:
    found = await assembled.catalog.search(ANYONE, query)
    return [dj.text(r, dj.STUDY_INSTANCE_UID) or "" for r in found.items]


@settings(max_examples=25)
@given(
    north=st.lists(st.integers(1, 12), unique=True),
    south=st.lists(st.integers(1, 12), unique=True),
    east=st.lists(st.integers(1, 12), unique=True),
    size=st.integers(1, 7),
    cap=st.none() | st.integers(1, 3),
    modality=st.none() | st.sampled_from(["CT", "SR", "SR\\CT"]),
)
async def test_pages_of_any_size_add_up_to_the_whole_list(
    north: list[int],
    south: list[int],
    east: list[int],
    size: int,
    cap: int | None,
    modality: str | None,
) -> None:
    """The south holds another part of a study than the rest: keys may match in one place only.

    Several modalities are there only in both together.
    """
    holdings = (
        [held(n) for n in north],
        [held(n, "SR", 2) for n in south],
        [held(n) for n in east],
    )
    async with over(*holdings) as assembled:
        if cap is not None:
            double = assembled.doubles[0]
            rows = double.rows("studies", double.held, {})
            double.server.on("/studies", paged(rows, cap=cap))
        asked = modality.split("\\") if modality is not None else []
        keys = tuple(qido.key(dj.MODALITIES_IN_STUDY, one) for one in asked)
        query = Query(level=Level.STUDY, keys=keys)
        whole = await page(assembled, query)
        pages: list[str] = []
        while one := await page(
            assembled, dataclasses.replace(query, limit=size, offset=len(pages))
        ):
            assert len(one) <= size
            pages += one

    assert pages == whole
    assert len(set(whole)) == len(whole)
    everything = [h for each in holdings for h in each]
    having = [{h.study for h in everything if h.modality == one} for one in asked]
    assert set(whole) == {h.study for h in everything}.intersection(*having)


async def test_order_is_that_of_the_archives() -> None:
    async with over([held(3), held(1)], [held(2), held(1), held(4)]) as assembled:
        assert await page(assembled, ALL) == ["1.2.3", "1.2.1", "1.2.2", "1.2.4"]


async def test_there_is_more_only_if_there_is() -> None:
    async with over([held(1), held(2)], [held(2), held(3)]) as assembled:
        for limit, offset, more in ((2, 0, True), (3, 0, False), (1, 2, False), (1, 1, True)):
            query = Query(level=Level.STUDY, limit=limit, offset=offset)
            assert (await assembled.catalog.search(ANYONE, query)).has_more is more


async def test_no_page_is_larger_than_the_most() -> None:
    async with over([held(n) for n in range(1, MAX_ROWS + 20)]) as assembled:
        query = Query(level=Level.STUDY, limit=1_000_000)
        found = await assembled.catalog.search(ANYONE, query)
        assert len(found.items) == MAX_ROWS
        assert found.has_more


async def test_too_deep_an_offset_is_refused_unasked() -> None:
    async with over([held(1)]) as assembled:
        with pytest.raises(TooCostly):
            await searched(assembled.fan_out, Query(level=Level.STUDY, offset=10**9))
        assert assembled.asked == 0


async def test_silence_is_named_and_only_silence_is_an_error() -> None:
    async with over([held(1)], [held(2)]) as assembled:
        assembled.doubles[0].server.on("*", Answer(status=500))
        found = await searched(assembled.fan_out, ALL)
        assert found.silent == ("north",)
        assembled.doubles[1].server.on("*", Answer(status=401))
        with pytest.raises(Unavailable, match="north, south"):
            await searched(assembled.fan_out, ALL)


@pytest.mark.parametrize("status", [401, 403])
async def test_archives_that_all_refuse_the_gateway_are_not_silent(status: int) -> None:
    async with over([held(1)]) as assembled:
        assembled.doubles[0].server.on("*", Answer(status=status))
        for asked in (
            searched(assembled.fan_out, ALL),
            assembled.archives.record("1.2.1", Level.SERIES),
        ):
            with pytest.raises(RefusedByAll, match="north"):
                await asked
        assert len(assembled.doubles[0].server.requests) <= 1 + 2


async def test_archives_that_are_all_late_are_late() -> None:
    async with over([held(1)], timeout_seconds=0.2) as assembled:
        assembled.doubles[0].server.on("*", Answer(stall=True))
        with pytest.raises(NoAnswerInTime):
            await searched(assembled.fan_out, ALL)


async def test_silence_over_the_other_half_of_a_study_is_named() -> None:
    async with over([held(1)], [held(1, "SR", 2)]) as assembled:
        rows = assembled.doubles[0].rows("studies", assembled.doubles[0].held, {})
        north = assembled.doubles[0].server
        north.on("/studies", paged(rows), Answer(status=500))
        key = qido.key(dj.MODALITIES_IN_STUDY, "SR")
        found = await searched(assembled.fan_out, Query(level=Level.STUDY, keys=(key,), limit=5))
        assert found.silent == ("north",)
