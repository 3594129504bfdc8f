"""Who holds an instance is kept for whoever asks, as long as what it was made from is current."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.adapters.cache_names import Group
from gateway.disclosures import CURRENT, Disclosures
from gateway.errors import NotFound
from gateway.model import Policy, Rule, Target
from gateway.rules import media
from tests.assembled import ANYONE, over
from tests.dicom import row
from tests.doubles import Held, key_objects
from tests.fault_archive import json_answer

FIRST = Held(study="1.2.3", series="1.2.3.1", instance="1.2.3.1.1")
NOTE = key_objects("1.2.3", 9, "113000", FIRST)
FRAME = Target(study_uid="1.2.3", series_uid="1.2.3.1", instance_uid="1.2.3.1.1", frames=(2,))
BLIND = replace(
    ANYONE, id="blind", policy=Policy(name="blind", hide=(Rule(name="CT", modalities=("CT",)),))
)
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
        assert holders.way(kept.thing, FORM) is not None
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
