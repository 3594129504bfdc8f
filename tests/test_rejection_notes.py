"""Rejected objects do not exist, whoever asks for them and wherever."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from gateway.errors import NotFound
from gateway.model import Level, Target
from gateway.rules.media import ANY, Form
from gateway.rules.qido import Query
from tests.assembled import ANYONE, Assembled, over
from tests.doubles import Held, key_objects
from tests.fault_archive import Answer

A = Held(study="1.2.3", series="1.2.3.1", instance="1.2.3.1.1")
B = Held(study="1.2.3", series="1.2.3.1", instance="1.2.3.1.2")
C = Held(study="1.2.3", series="1.2.3.2", instance="1.2.3.2.1", modality="MR")
NOTE = key_objects("1.2.3", 9, "113001", A, C)
KEYS = key_objects("1.2.3", 8, "113000", B)
ALL_KINDS = Form(is_multipart=True, types=("application/dicom",), transfer_syntaxes=(ANY,))


def target(held: Held) -> Target:
    return Target(study_uid=held.study, series_uid=held.series, instance_uid=held.instance)


async def instances(assembled: Assembled, level: Level = Level.INSTANCE) -> list[str]:
    loaded = await assembled.catalog.study(ANYONE, "1.2.3", level)
    return [i.uid for s in loaded.study.series or () for i in s.instances or ()]


async def test_a_record_is_without_what_is_rejected() -> None:
    async with over([A, B, C, NOTE, KEYS]) as assembled:
        assert await instances(assembled) == [B.instance, KEYS.instance]
        study = (await assembled.catalog.study(ANYONE, "1.2.3", Level.SERIES)).study
        assert (study.number_of_series, study.number_of_instances) == (2, 2)
        assert [(s.uid, s.number_of_instances) for s in study.series or ()] == [
            (B.series, 1),
            (KEYS.series, 1),
        ]


async def test_a_note_in_one_archive_rejects_what_another_holds() -> None:
    async with over([A, B, C], [NOTE]) as assembled:
        assert await instances(assembled) == [B.instance]


async def test_studies_without_key_objects_pay_nothing() -> None:
    async with over([A, B, C]) as assembled:
        await assembled.catalog.study(ANYONE, "1.2.3", Level.INSTANCE)
        assert assembled.asked == 3


async def test_notes_are_read_once() -> None:
    async with over([A, B, C, NOTE]) as assembled:
        for _ in range(3):
            await assembled.catalog.study(ANYONE, "1.2.3", Level.INSTANCE)
        routes = [r.route for r in assembled.doubles[0].server.requests]
        assert routes.count(f"/studies/1.2.3/series/{NOTE.series}/metadata") <= 2
        assert len(routes) <= 5


@pytest.mark.parametrize("held", [A, C, NOTE], ids=["instance", "last of its series", "note"])
async def test_what_is_rejected_is_not_found(held: Held) -> None:
    async with over([A, B, C, NOTE]) as assembled:
        with pytest.raises(NotFound):
            await assembled.catalog.located(ANYONE, target(held))
        with pytest.raises(NotFound):
            async with assembled.catalog.retrieve(ANYONE, target(held), ALL_KINDS):
                pass
        with pytest.raises(NotFound):
            await assembled.pictures.thumbnail(ANYONE, target(held), 64, 64, "image/png")


async def test_a_rejected_series_is_not_looked_for_again() -> None:
    async with over([A, B, C, NOTE]) as assembled:
        gone = Target(study_uid="1.2.3", series_uid=C.series)
        for _ in range(2):
            with pytest.raises(NotFound):
                await assembled.archives.located(gone)
        asked = assembled.asked
        with pytest.raises(NotFound):
            await assembled.archives.located(gone)
        assert assembled.asked == asked


@pytest.mark.parametrize(
    "wanted",
    [Target(study_uid="1.2.3"), Target(study_uid="1.2.3", series_uid=B.series)],
    ids=["study", "series"],
)
async def test_what_is_left_is_all_that_is_retrieved(wanted: Target) -> None:
    async with over([A, B, C, NOTE]) as assembled:
        async with assembled.catalog.retrieve(ANYONE, wanted, ALL_KINDS) as found:
            bodies = [b"".join([c async for c in part.chunks]) async for part in found.parts]
        assert bodies == [B.file]
        async with assembled.catalog.metadata(ANYONE, wanted) as metadata:
            objects = [orjson.loads(o) async for batch in metadata.batches for o in batch]
        assert [o["00080018"]["Value"] for o in objects] == [[B.instance]]


async def test_a_picture_shows_what_is_left() -> None:
    async with over([A, B, C, NOTE]) as assembled:
        shown = await assembled.catalog.shown(ANYONE, Target(study_uid="1.2.3"))
        assert shown.target.instance_uid == B.instance


async def test_a_picture_shows_what_is_flagged() -> None:
    flags = key_objects("1.2.3", 8, "113000", C)
    async with over([A, B, C, flags]) as assembled:
        shown = await assembled.catalog.shown(ANYONE, Target(study_uid="1.2.3"))
        assert shown.target == target(C)


async def test_rejected_objects_are_shown_where_the_archive_says_so() -> None:
    async with over([A, B, C, NOTE], show_rejected=True) as assembled:
        assert len(await instances(assembled)) == 4


async def test_a_study_that_is_rejected_whole_is_absent() -> None:
    async with over([A, key_objects("1.2.3", 9, "113037", A)]) as assembled:
        for level in (Level.SERIES, Level.INSTANCE):
            with pytest.raises(NotFound):
                await assembled.catalog.study(ANYONE, "1.2.3", level)


async def test_notes_that_cannot_be_read_are_said_and_tried_again() -> None:
    async with over([A, B, C, NOTE]) as assembled:
        server = assembled.doubles[0].server
        server.on("*/metadata", Answer(status=500))
        loaded = await assembled.catalog.study(ANYONE, "1.2.3", Level.SERIES)
        assert loaded.study.number_of_instances == 4
        assert "rejected objects may be among what is shown" in loaded.study.warnings
        before = loaded.study.last_updated
        server.on("*/metadata", assembled.doubles[0].answer)
        assembled.clock.now += 20
        assert await instances(assembled) == [B.instance]
        after = (await assembled.catalog.study(ANYONE, "1.2.3", Level.SERIES)).study.last_updated
        assert before is not None
        assert after is not None
        assert before < after, "a change that nobody noticed"
        again = await assembled.catalog.study(ANYONE, "1.2.3", Level.INSTANCE)
        assert again.study.last_updated == after


async def test_rejection_notes_point_out_nothing() -> None:
    async with over([A, B, C, NOTE, KEYS]) as assembled:
        study = (await assembled.archives.record("1.2.3", Level.SERIES)).study
        assert await assembled.archives.rejected.key_images(study) == (target(B),)


@pytest.mark.parametrize("is_read_between", [True, False])
async def test_another_note_in_the_series_of_one_that_is_gone_rejects_what_it_says(
    *, is_read_between: bool
) -> None:
    other = replace(key_objects("1.2.3", 9, "113001", B), instance=f"{NOTE.series}.2")
    async with over([A, B, NOTE]) as assembled:
        assert await instances(assembled) == [B.instance]
        assembled.doubles[0].held = [A, B]
        await assembled.archives.search(Query(level=Level.STUDY))
        if is_read_between:
            assert await instances(assembled) == [A.instance, B.instance]
        assembled.doubles[0].held = [A, B, other]
        await assembled.archives.search(Query(level=Level.STUDY))
        assert await instances(assembled) == [A.instance]
