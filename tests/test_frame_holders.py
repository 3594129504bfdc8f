"""Who holds an instance is kept for whoever asks, as long as what it was made from is current."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.adapters.cache_names import Group
from gateway.asked_instances import LEAST_ASKED
from gateway.disclosures import CURRENT, Disclosures
from gateway.errors import NotFound
from gateway.model import Consumer, Policy, Rule, Target
from gateway.rules import media
from tests.assembled import ANYONE, Assembled, over
from tests.dicom import row
from tests.doubles import Held, key_objects
from tests.fault_archive import json_answer

FIRST = Held(study="1.2.3", series="1.2.3.1", instance="1.2.3.1.1")
NOTE = key_objects("1.2.3", 9, "113000", FIRST)
FRAME = Target(study_uid="1.2.3", series_uid="1.2.3.1", instance_uid="1.2.3.1.1", frames=(2,))
SERIES = [
    Held(study="1.2.5", series="1.2.5.1", instance=f"1.2.5.1.{n}", modality="MR")
    for n in range(1, 8)
]
REPORT = Held(
    study="1.2.5",
    series="1.2.5.1",
    instance="1.2.5.1.8",
    modality="MR",
    sop_class="1.2.840.10008.5.1.4.1.1.88.11",
)
BLIND = replace(
    ANYONE, id="blind", policy=Policy(name="blind", hide=(Rule(name="CT", modalities=("CT",)),))
)
NO_REPORTS = replace(
    ANYONE,
    id="no reports",
    policy=Policy(name="some", hide=(Rule(name="SR", sop_classes=(REPORT.sop_class,)),)),
)
NO_SOUTH = replace(
    ANYONE, id="no south", policy=Policy(name="north", hide=(Rule(name="s", archives=("south",)),))
)
NO_CT = replace(BLIND, id="no CT")
FORM = media.for_frames(media.accepted(()), single=True)


async def test_frame_after_frame_nobody_is_asked_who_has_it() -> None:
    async with over([FIRST], [FIRST]) as made:
        holders = made.catalog.frames
        fetch = await holders.fetch(ANYONE, FRAME)
        assert (fetch.target, fetch.archives) == (FRAME, ("north", "south"))
        asked = made.asked
        third = replace(FRAME, frames=(3,))
        assert (await holders.fetch(ANYONE, third)).target == third
        kept = holders.known(ANYONE, FRAME.instance)
        assert kept is not None
        assert kept.thing is not None
        assert holders.way(kept.thing.archives[FIRST.instance], FORM) is not None
        assert holders.is_good(kept)
        assert made.asked == asked
        await made.archives.cache.forget(Group())
        assert not holders.is_good(kept)
        assert holders.known(ANYONE, FRAME.instance) is None
        await holders.fetch(ANYONE, FRAME)
        assert made.asked > asked


async def test_what_is_kept_for_one_is_not_for_another() -> None:
    async with over([FIRST]) as made:
        holders = made.catalog.frames
        await holders.fetch(ANYONE, FRAME)
        assert holders.known(BLIND, FRAME.instance) is None
        with pytest.raises(NotFound):
            await holders.fetch(BLIND, FRAME)
        assert holders.known(BLIND, FRAME.instance) is None


async def test_what_has_no_frames_is_not_kept() -> None:
    async with over([FIRST, NOTE]) as made:
        holders = made.catalog.frames
        told = row(
            StudyInstanceUID=NOTE.study,
            SeriesInstanceUID=NOTE.series,
            SOPInstanceUID=NOTE.instance,
            SOPClassUID=NOTE.sop_class,
        )
        made.doubles[0].server.on("*/instances", json_answer([told]))
        note = replace(FRAME, series_uid=NOTE.series, instance_uid=NOTE.instance)
        with pytest.raises(NotFound, match="no frames"):
            await holders.fetch(ANYONE, note)
        assert holders.known(ANYONE, note.instance) is None


async def test_each_frame_is_told_to_the_audit_trail() -> None:
    async with over([FIRST]) as made:
        told = []
        for _ in range(2):
            token = CURRENT.set(noted := Disclosures())
            await made.catalog.frames.fetch(ANYONE, FRAME)
            CURRENT.reset(token)
            told.append(noted)
        assert told[0] == told[1]
        assert list(told[0].shown) == ["1.2.3"]


def frame_of(held: Held) -> Target:
    return Target(
        study_uid=held.study, series_uid=held.series, instance_uid=held.instance, frames=(1,)
    )


async def scrolled(made: Assembled, consumer: Consumer) -> None:
    """Asks for the first instances of the series, until it is listed."""
    for held in SERIES[: LEAST_ASKED + 1]:
        await made.catalog.frames.fetch(consumer, frame_of(held))


@pytest.mark.parametrize("consumer", [ANYONE, NO_CT, NO_SOUTH], ids=lambda one: one.id)
async def test_who_scrolls_through_a_series_is_soon_told_without_asking(consumer: Consumer) -> None:
    async with over([*SERIES]) as made:
        await scrolled(made, consumer)
        asked, last = made.asked, frame_of(SERIES[-1])
        kept = made.catalog.frames.known(consumer, last.instance)
        assert kept is not None
        assert kept.thing is not None
        assert kept.thing.archives == {held.instance: ("north",) for held in SERIES}
        fetch = await made.catalog.frames.fetch(consumer, last)
        assert (fetch.target, fetch.archives) == (last, ("north",))
        assert made.asked == asked
        assert made.catalog.frames.known(BLIND, last.instance) is None
        await made.archives.cache.forget(Group())
        assert not made.catalog.frames.is_good(kept)
        assert made.catalog.frames.known(consumer, last.instance) is None


@pytest.mark.parametrize("consumer", [NO_REPORTS, NO_SOUTH], ids=lambda one: one.id)
async def test_who_is_judged_copy_by_copy_is_told_of_each_by_itself(consumer: Consumer) -> None:
    async with over([*SERIES, REPORT], [*SERIES]) as made:
        await scrolled(made, ANYONE)
        await scrolled(made, consumer)
        last = frame_of(SERIES[-1])
        assert made.catalog.frames.known(ANYONE, last.instance) is not None
        assert made.catalog.frames.known(consumer, last.instance) is None
        expected = ("north",) if consumer is NO_SOUTH else ("north", "south")
        assert (await made.catalog.frames.fetch(consumer, last)).archives == expected
        with pytest.raises(NotFound):
            await made.catalog.frames.fetch(NO_REPORTS, frame_of(REPORT))


async def test_whatever_is_scrolled_through_is_told_to_the_audit_trail() -> None:
    async with over([*SERIES]) as made:
        told = []
        for held in SERIES:
            token = CURRENT.set(noted := Disclosures())
            await made.catalog.frames.fetch(ANYONE, frame_of(held))
            CURRENT.reset(token)
            told.append(noted)
        assert told == [told[0]] * len(SERIES)
        kept = made.catalog.frames.known(ANYONE, frame_of(SERIES[-1]).instance)
        assert kept is not None
        assert kept.thing is not None
        assert (kept.thing.disclosed, kept.thing.is_series) == (told[0], True)
