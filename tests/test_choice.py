"""Which instance stands for a study, out of what archives tell."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.model import Target
from tests.assembled import ANYONE, Assembled, over
from tests.dicom import CT_IMAGE, row
from tests.doubles import Held
from tests.fault_archive import Answer, json_answer

STORAGE = "1.2.840.10008.5.1.4.1.1."
STUDY = Target(study_uid="1.2.3")
LOCALIZER = row(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])


def held(series: int, instance: int = 1, modality: str = "CT", sop_class: str = CT_IMAGE) -> Held:
    uid = f"1.2.3.{series}"
    return Held(
        study="1.2.3",
        series=uid,
        instance=f"{uid}.{instance}",
        modality=modality,
        sop_class=sop_class,
    )


def tells(assembled: Assembled, one: Held, **more: object) -> None:
    """Lets the archive tell of a series that it holds this instance alone, and no rows of it."""
    told = row(
        StudyInstanceUID=one.study,
        SeriesInstanceUID=one.series,
        SOPInstanceUID=one.instance,
        SOPClassUID=one.sop_class,
        **more,
    )
    path = f"/studies/{one.study}/series/{one.series}/instances"
    assembled.doubles[0].server.on(path, json_answer([told]))


async def shown(assembled: Assembled) -> str | None:
    return (await assembled.catalog.shown(ANYONE, STUDY)).target.instance_uid


@pytest.mark.parametrize(
    ("sop_class", "modality"),
    [
        (f"{STORAGE}104.1", "OT"),
        (f"{STORAGE}66", "MR"),
        (f"{STORAGE}4.2", "MR"),
        ("1.3.12.2.1107.5.9.1", "MR"),
        (f"{STORAGE}77.1.1.1", "ES"),
        (f"{STORAGE}7", "CT"),
    ],
    ids=["PDF", "raw data", "spectra", "private", "video", "screen"],
)
async def test_an_image_stands_for_a_study_whatever_comes_first(
    sop_class: str, modality: str
) -> None:
    first, second = held(1, sop_class=sop_class, modality=modality), held(2)
    async with over([first, second]) as assembled:
        tells(assembled, first)
        assert await shown(assembled) == second.instance
    async with over([first]) as assembled:
        tells(assembled, first)
        assert await shown(assembled) == first.instance, "there is nothing else"


async def test_a_segmentation_stands_for_a_study_of_reports() -> None:
    report = held(1, modality="SR", sop_class=f"{STORAGE}88.22")
    mask = held(2, modality="SEG", sop_class=f"{STORAGE}66.4")
    async with over([report, mask]) as assembled:
        assert await shown(assembled) == mask.instance


async def test_a_large_series_of_localizers_is_known_by_one_of_its_instances() -> None:
    localizers = [replace(held(1, n), more=LOCALIZER) for n in range(1, 41)]
    image = held(2)
    async with over([*localizers, image]) as assembled:
        for _ in range(3):
            assert await shown(assembled) == image.instance
        asked = [r.route for r in assembled.doubles[0].server.requests]
        assert len([a for a in asked if a.endswith("/metadata")]) == 1
    async with over(localizers) as assembled:
        await shown(assembled)
        asked = [r.route for r in assembled.doubles[0].server.requests]
        assert not [a for a in asked if a.endswith("/metadata")], "there is no choice"


async def test_a_large_series_of_which_nothing_tells_is_asked_about_once() -> None:
    images = [held(1, n) for n in range(1, 41)]
    async with over([*images, held(2)], absent_seconds=30) as assembled:
        server = assembled.doubles[0].server
        server.on("*/metadata", Answer(status=501))
        for _ in range(3):
            assert await shown(assembled) == sorted(i.instance for i in images)[20]
        assert len([r for r in server.requests if r.route.endswith("/metadata")]) == 1


async def test_the_image_behind_many_localizers_is_found() -> None:
    localizers = [held(n) for n in range(1, 12)]
    image = held(20)
    async with over([*localizers, image]) as assembled:
        for one in localizers:
            tells(assembled, one, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
        assert await shown(assembled) == image.instance


async def test_the_series_of_most_instances_is_looked_at_before_many_others() -> None:
    localizers = [held(n) for n in range(1, 30)]
    images = [held(40, n) for n in range(1, 6)]
    async with over([*localizers, *images]) as assembled:
        for one in localizers:
            tells(assembled, one, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
        assert await shown(assembled) == images[2].instance
        asked = {r.route for r in assembled.doubles[0].server.requests}
        assert len([a for a in asked if a.endswith("/instances")]) == 5


async def test_an_archive_that_tells_nothing_of_series_is_not_asked_for_all_of_them() -> None:
    async with over([held(n) for n in range(1, 12)]) as assembled:
        server = assembled.doubles[0].server
        await assembled.catalog.located(ANYONE, STUDY)
        server.on("/studies/1.2.3/series/*/instances", Answer(status=500))
        assert await shown(assembled) is None
        asked = {r.route for r in server.requests if r.route.endswith("/instances")}
        assert len(asked) == 4
