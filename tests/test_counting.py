"""What search rows count, where archives share a study or split it."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.counting import EXACT_STUDIES
from gateway.model import Level
from gateway.rules import dicom_json as dj
from gateway.rules.qido import Query
from tests.assembled import ANYONE, Assembled, over
from tests.doubles import Held
from tests.fault_archive import Answer

ALL = Query(level=Level.STUDY)
SERIES = Query(level=Level.SERIES, study_uid="1.2.3")


def held(series: int, instance: int, modality: str = "CT", study: str = "1.2.3") -> Held:
    return Held(
        study=study,
        series=f"{study}.{series}",
        instance=f"{study}.{series}.{instance}",
        modality=modality,
    )


async def rows(assembled: Assembled, query: Query) -> list[dict[str, Any]]:
    return list((await assembled.catalog.search(ANYONE, query)).items)


def numbers(row: dict[str, Any]) -> list[Any]:
    return [
        *dj.values(row, dj.NUMBER_OF_STUDY_RELATED_SERIES),
        *dj.values(row, dj.NUMBER_OF_STUDY_RELATED_INSTANCES),
        *sorted(dj.values(row, dj.MODALITIES_IN_STUDY)),
    ]


async def test_a_study_split_by_series_is_counted_whole() -> None:
    async with over([held(1, 1), held(1, 2)], [held(2, 1, "SR")]) as assembled:
        [row] = await rows(assembled, ALL)
        assert numbers(row) == [2, 3, "CT", "SR"]


@pytest.mark.parametrize("south", [[1, 2], [2, 3], [3, 4], [2, 3, 4]])
async def test_a_series_in_two_places_is_counted_by_its_instances(south: list[int]) -> None:
    """Two archives that both count 2 may hold 2, 3 or 4 between them."""
    async with over([held(1, 1), held(1, 2)], [held(1, n) for n in south]) as assembled:
        total = len({1, 2, *south})
        [row] = await rows(assembled, ALL)
        assert numbers(row) == [1, total, "CT"]
        [series] = await rows(assembled, SERIES)
        assert dj.values(series, dj.NUMBER_OF_SERIES_RELATED_INSTANCES) == [total]


async def test_a_study_in_one_place_costs_no_further_request() -> None:
    async with over([held(1, 1)], [held(1, 1, study="1.2.4")]) as assembled:
        await rows(assembled, Query(level=Level.STUDY, limit=0))
        assert not [r for d in assembled.doubles for r in d.server.requests if "/series" in r.route]


async def test_an_archive_that_does_not_count_is_counted_for() -> None:
    async with over([held(1, 1), held(2, 1, "SR")]) as assembled:
        assembled.doubles[0].counts = False
        [row] = await rows(assembled, ALL)
        assert numbers(row) == [2, 2, "CT", "SR"]


async def test_counts_of_the_study_are_left_out_below_it_unless_asked_for() -> None:
    async with over([held(1, 1)], [held(2, 1, "SR")]) as assembled:
        for double in assembled.doubles:
            double.counts_below = True
        found = await rows(assembled, SERIES)
        assert not [r for r in found if dj.NUMBER_OF_STUDY_RELATED_SERIES in r]
        asked = Query(
            level=Level.SERIES,
            study_uid="1.2.3",
            include=frozenset({dj.NUMBER_OF_STUDY_RELATED_SERIES}),
        )
        found = await rows(assembled, asked)
        assert [dj.values(r, dj.NUMBER_OF_STUDY_RELATED_SERIES) for r in found] == [[2], [2]]


async def test_a_long_page_of_a_mirror_reads_no_instances() -> None:
    mirror = [held(1, 1, study=f"1.2.{n}") for n in range(EXACT_STUDIES + 1)]
    async with over(mirror, mirror) as assembled:
        found = await rows(assembled, ALL)
        assert len(found) == len(mirror)
        assert not [
            r for d in assembled.doubles for r in d.server.requests if "/instances" in r.route
        ]


async def test_rows_stay_when_their_counts_cannot_be_had() -> None:
    async with over([held(1, 1)], [held(2, 1)]) as assembled:
        for double in assembled.doubles:
            double.server.on("/studies/1.2.3/series", Answer(status=500))
        found = await assembled.catalog.search(ANYONE, ALL)
        assert len(found.items) == 1


async def test_who_is_silent_over_the_counts_is_named() -> None:
    async with over([held(1, 1)], [held(2, 1)]) as assembled:
        assembled.doubles[1].server.on("/studies/1.2.3/series", Answer(status=500))
        found = await assembled.catalog.search(ANYONE, ALL)
        assert found.silent == ("south",)
