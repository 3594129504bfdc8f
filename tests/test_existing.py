"""Searches find what exists: rejected studies, series and instances are in no row."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.model import Level
from gateway.rules import dicom_json as dj
from gateway.rules import qido
from gateway.rules.qido import Query
from tests.assembled import ANYONE, Assembled, over
from tests.doubles import Held, key_objects

A = Held(study="1.2.3", series="1.2.3.1", instance="1.2.3.1.1")
B = Held(study="1.2.3", series="1.2.3.1", instance="1.2.3.1.2")
C = Held(study="1.2.3", series="1.2.3.2", instance="1.2.3.2.1", modality="MR")
NOTE = key_objects("1.2.3", 9, "113039", A, C)
OTHERS = [Held(study=f"1.2.{n}", series=f"1.2.{n}.1", instance=f"1.2.{n}.1.1") for n in (4, 5, 6)]
GONE = [OTHERS[0], key_objects("1.2.4", 9, "113038", OTHERS[0])]
EVERYTHING = [A, B, C, NOTE, *OTHERS, GONE[1]]
UIDS = {
    Level.STUDY: dj.STUDY_INSTANCE_UID,
    Level.SERIES: dj.SERIES_INSTANCE_UID,
    Level.INSTANCE: dj.SOP_INSTANCE_UID,
}


async def found(assembled: Assembled, level: Level, **more: Any) -> list[str | None]:
    result = await assembled.catalog.search(ANYONE, Query(level=level, **more))
    return [dj.text(row, UIDS[level]) for row in result.items]


async def test_studies_count_what_is_left_and_rejected_ones_are_gone() -> None:
    async with over(EVERYTHING) as assembled:
        result = await assembled.catalog.search(ANYONE, Query(level=Level.STUDY))
        rows = {dj.text(r, dj.STUDY_INSTANCE_UID): r for r in result.items}
        assert sorted(filter(None, rows)) == ["1.2.3", "1.2.5", "1.2.6"]
        counts = [
            dj.texts(rows["1.2.3"], tag)
            for tag in (
                dj.MODALITIES_IN_STUDY,
                dj.NUMBER_OF_STUDY_RELATED_SERIES,
                dj.NUMBER_OF_STUDY_RELATED_INSTANCES,
            )
        ]
        assert counts == [["CT"], ["1"], ["1"]]
        studies = (await assembled.catalog.studies(ANYONE, Query(level=Level.STUDY))).items
        assert {(s.uid, s.number_of_instances, s.modalities) for s in studies} == {
            ("1.2.3", 1, ("CT",)),
            ("1.2.5", 1, ("CT",)),
            ("1.2.6", 1, ("CT",)),
        }


@pytest.mark.parametrize(
    ("level", "more", "expected"),
    [
        (Level.SERIES, {}, [A.series]),
        (Level.SERIES, {"limit": 10}, [A.series]),
        (Level.SERIES, {"keys": (qido.key(dj.MODALITY, "MR"),)}, []),
        (Level.INSTANCE, {}, [B.instance]),
        (Level.INSTANCE, {"series_uid": A.series}, [B.instance]),
        (Level.INSTANCE, {"series_uid": C.series}, []),
    ],
    ids=["series", "page", "key", "instances", "of a series", "of a rejected series"],
)
async def test_rows_within_a_study_are_those_of_what_is_left(
    level: Level, more: dict[str, Any], expected: list[str]
) -> None:
    async with over(EVERYTHING) as assembled:
        assert await found(assembled, level, study_uid="1.2.3", **more) == expected


async def test_series_count_what_is_left_of_them() -> None:
    async with over(EVERYTHING) as assembled:
        result = await assembled.catalog.search(
            ANYONE, Query(level=Level.SERIES, study_uid="1.2.3")
        )
        [count] = [dj.text(r, dj.NUMBER_OF_SERIES_RELATED_INSTANCES) for r in result.items]
        assert count == "1"


async def test_rows_of_several_studies_are_those_of_what_is_left() -> None:
    async with over(EVERYTHING) as assembled:
        assert sorted(filter(None, await found(assembled, Level.INSTANCE))) == [
            B.instance,
            OTHERS[1].instance,
            OTHERS[2].instance,
        ]
        assert sorted(filter(None, await found(assembled, Level.SERIES))) == [
            B.series,
            OTHERS[1].series,
            OTHERS[2].series,
        ]


async def test_rows_that_tell_that_there_are_no_key_objects_cost_nothing() -> None:
    asked = []
    for show_rejected in (True, False):
        async with over([A, B, C], show_rejected=show_rejected) as assembled:
            await found(assembled, Level.SERIES, study_uid="1.2.3")
            await found(assembled, Level.INSTANCE, study_uid="1.2.3")
            await found(assembled, Level.STUDY)
            asked.append(assembled.asked)
    assert asked[0] == asked[1]


async def test_rejected_objects_are_listed_where_the_archive_says_so() -> None:
    async with over(EVERYTHING, show_rejected=True) as assembled:
        assert len(await found(assembled, Level.INSTANCE)) == len(EVERYTHING)
        assert len((await assembled.catalog.studies(ANYONE, Query(level=Level.STUDY))).items) == 4
