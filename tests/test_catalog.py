"""All archives as one: each instance once, silence said, failures where they can be told."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from gateway.errors import ArchiveError, NotAcceptable, NotFound, Unavailable
from gateway.model import Consumer, Level, Part, Policy, Rule, Target
from gateway.rules.media import Form
from gateway.rules.qido import Query
from tests.assembled import ANYONE, Assembled, over
from tests.doubles import Held
from tests.fault_archive import Answer, json_answer, multipart_answer

A = Held(study="1.2.3", series="1.2.3.1", instance="1.2.3.1.1")
B = Held(study="1.2.3", series="1.2.3.1", instance="1.2.3.1.2")
C = Held(study="1.2.3", series="1.2.3.1", instance="1.2.3.1.3")
D = Held(study="1.2.3", series="1.2.3.2", instance="1.2.3.2.1", modality="SR")
STUDY = Target(study_uid="1.2.3")
MULTIPART = Form(is_multipart=True, types=("application/dicom",))


def target(held: Held, *frames: int) -> Target:
    return Target(
        study_uid=held.study, series_uid=held.series, instance_uid=held.instance, frames=frames
    )


async def retrieved(
    assembled: Assembled, wanted: Target, form: Form = MULTIPART
) -> tuple[list[bytes], tuple[str, ...]]:
    async with assembled.catalog.retrieve(ANYONE, wanted, form) as found:
        bodies = [b"".join([c async for c in p.chunks]) async for p in found.parts]
        return bodies, found.silent


@pytest.mark.parametrize(
    ("north", "south"),
    [
        ([A, B, C, D], []),
        ([A, B, C], [D]),
        ([A, B, C, D], [A, B, C, D]),
        ([A, B, D], [B, C]),
        ([A, B], [C, D]),
        ([A, D], [B, C, D]),
        ([D], [A, B, C, D]),
    ],
)
async def test_each_instance_of_a_study_comes_once(north: list[Held], south: list[Held]) -> None:
    async with over(north, south) as assembled:
        for wanted in (STUDY, Target(study_uid="1.2.3", series_uid="1.2.3.1")):
            bodies, silent = await retrieved(assembled, wanted)
            held = [A, B, C] if wanted.series_uid else [A, B, C, D]
            assert Counter(bodies) == Counter(h.file for h in held)
            assert silent == ()
            async with assembled.catalog.metadata(ANYONE, wanted) as metadata:
                batches = [b async for b in metadata.batches]
            assert sum(len(b) for b in batches) == len(held)


async def test_a_study_that_one_archive_holds_whole_is_one_request() -> None:
    async with over([A, B, D]) as assembled:
        await retrieved(assembled, STUDY)
        [seen] = [r for r in assembled.doubles[0].server.requests if r.route == "/studies/1.2.3"]
        assert seen


async def test_a_silent_archives_share_is_missing_and_said() -> None:
    async with over([A, B], [D]) as assembled:
        assembled.doubles[1].server.on("*", Answer(status=500))
        bodies, silent = await retrieved(assembled, STUDY)
        assert (set(bodies), silent) == ({A.file, B.file}, ("south",))
        async with assembled.catalog.metadata(ANYONE, STUDY) as metadata:
            assert metadata.silent == ("south",)


async def test_a_single_instance_is_whole_whoever_is_silent() -> None:
    async with over([A, B], [D]) as assembled:
        assembled.doubles[1].server.on("*", Answer(status=500))
        assert await retrieved(assembled, target(A)) == ([A.file], ())
        async with assembled.catalog.metadata(ANYONE, target(A)) as metadata:
            assert metadata.silent == ()


async def test_an_archive_that_falls_silent_after_it_was_remembered_is_said() -> None:
    async with over([A, B], [D]) as assembled:
        assert (await retrieved(assembled, STUDY))[1] == ()
        assembled.doubles[0].server.on("*", Answer(status=500))
        assembled.clock.now += 10
        assembled.archives._fan_out._faring._heard.clear()  # as if that were a while ago
        assert await retrieved(assembled, STUDY) == ([D.file], ("north",))
        with pytest.raises(Unavailable):
            await retrieved(assembled, target(A))


async def test_what_is_gone_since_it_was_remembered_is_passed_over() -> None:
    async with over([A, B], [D]) as assembled:
        await retrieved(assembled, STUDY)
        assembled.doubles[0].held.clear()
        bodies, _ = await retrieved(assembled, STUDY)
        assert bodies == [D.file]
        async with assembled.catalog.metadata(ANYONE, STUDY) as metadata:
            assert len([b async for b in metadata.batches]) == 1
        assembled.doubles[1].held.clear()
        with pytest.raises(NotFound):
            await retrieved(assembled, STUDY)


async def rest_of(parts: AsyncIterator[Part]) -> list[bytes]:
    return [b"".join([c async for c in p.chunks]) async for p in parts]


async def test_an_archive_that_fails_halfway_breaks_the_stream() -> None:
    async with over([A, B], [D]) as assembled:
        assembled.doubles[1].server.on("/studies/1.2.3/series/1.2.3.2", Answer(status=500))
        async with assembled.catalog.retrieve(ANYONE, STUDY, MULTIPART) as found:
            part = await anext(found.parts)
            assert await anext(part.chunks)
            with pytest.raises(ArchiveError):
                await rest_of(found.parts)


async def test_a_broken_copy_is_not_replaced_by_a_second_try_midway() -> None:
    async with over([A], [A]) as assembled:
        cut = multipart_answer([A.file + bytes(5000)], cut_after=3000)
        assembled.doubles[0].server.on(A.path, cut)
        with pytest.raises(ArchiveError):
            await retrieved(assembled, target(A))


async def test_frames_of_what_has_none_are_not_found() -> None:
    async with over([A]) as assembled:
        row = assembled.doubles[0].rows("instances", [A], {})[0]
        del row["00280010"]
        row["00080016"]["Value"] = ["1.2.840.10008.5.1.4.1.1.88.11"]
        assembled.doubles[0].server.on("*/instances", json_answer([row]))
        form = Form(is_multipart=True, types=("application/octet-stream",))
        with pytest.raises(NotFound):
            await retrieved(assembled, target(A, 1), form)


async def test_another_kind_than_asked_for_is_refused_before_the_first_byte() -> None:
    async with over([A]) as assembled:
        form = Form(is_multipart=True, types=("image/jls",))
        with pytest.raises(NotAcceptable, match="application/octet-stream"):
            await retrieved(assembled, target(A, 1), form)


async def test_records_and_rows_are_found_in_the_same_order() -> None:
    holdings = [[A, Held(study="1.2.1", series="1.2.1.1", instance="1.2.1.1.1")], [D]]
    async with over(*holdings) as assembled:
        query = Query(level=Level.STUDY)
        rows = (await assembled.catalog.search(ANYONE, query)).items
        studies = (await assembled.catalog.studies(ANYONE, query)).items
        assert [r["0020000D"]["Value"][0] for r in rows] == [s.uid for s in studies]


async def test_a_study_nobody_answers_for_is_unavailable() -> None:
    async with over([A], [D]) as assembled:
        for double in assembled.doubles:
            double.server.on("*", Answer(status=500))
        with pytest.raises(Unavailable):
            await assembled.catalog.study(ANYONE, "1.2.3", Level.SERIES)


async def test_a_consumer_who_stops_reading_lets_go_of_the_archive() -> None:
    async with over([A, B], [D]) as assembled:
        for _ in range(20):  # more often than the archive has turns
            async with assembled.catalog.retrieve(ANYONE, STUDY, MULTIPART) as found:
                part = await anext(found.parts)
                await anext(part.chunks)
        assert (await retrieved(assembled, STUDY))[1] == ()


async def test_a_picture_shows_the_middle_image_of_the_first_series_with_images() -> None:
    first = Held(study="1.2.3", series="1.2.3.0", instance="1.2.3.0.1", modality="SR")
    async with over([first, A, B, C]) as assembled:
        shown = await assembled.catalog.shown(ANYONE, STUDY)
        assert shown.target == target(B)
        assert (await assembled.catalog.shown(ANYONE, target(A, 3))).target == target(A, 3)
        with pytest.raises(NotFound):
            await assembled.catalog.shown(ANYONE, Target(study_uid="1.2.9"))


async def test_archives_that_take_one_request_at_a_time_hold_up_nobody_for_ever() -> None:
    async with over([A, B, D], [B, C], max_concurrency=1) as assembled:

        async def everything() -> int:
            bodies, _ = await retrieved(assembled, STUDY)
            async with assembled.catalog.metadata(ANYONE, STUDY) as metadata:
                objects = [o async for b in metadata.batches for o in b]
            async with assembled.catalog.bulk_data(ANYONE, target(A), ("7FE00010",)) as part:
                bulk = b"".join([c async for c in part.chunks])
            await assembled.pictures.thumbnail(ANYONE, target(A), 9, 9, "image/png")
            rows = await assembled.catalog.search(ANYONE, Query(level=Level.STUDY))
            return len(bodies) + len(objects) + len(bulk) + len(rows.items)

        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(everything()) for _ in range(12)]
        assert {task.result() for task in running} == {4 + 4 + len(b"bulk") + 1}


async def test_an_instance_is_located_without_the_list_of_its_study() -> None:
    async with over([A, B], [D]) as assembled:
        loaded = await assembled.catalog.located(ANYONE, target(B))
        instances = [i.uid for s in loaded.study.series or () for i in s.instances or ()]
        assert instances == [B.instance]
        asked = {r.route for d in assembled.doubles for r in d.server.requests}
        assert "/studies/1.2.3/instances" not in asked


SR_CLASS = "1.2.840.10008.5.1.4.1.1.88.11"


def hiding(
    *, denies: bool = False, modalities: tuple[str, ...] = (), sop_classes: tuple[str, ...] = ()
) -> Consumer:
    """Somebody from whom a rule hides something."""
    rules = (Rule(name="hide[0]", modalities=modalities, sop_classes=sop_classes),)
    return Consumer(id="hie", policy=Policy(name="p", hide=rules, denies_partial=denies))


async def told(assembled: Assembled, consumer: Consumer, wanted: Target) -> tuple[int, set[bytes]]:
    """How many metadata objects and which files somebody gets."""
    async with assembled.catalog.metadata(consumer, wanted) as metadata:
        objects = sum([len(b) async for b in metadata.batches])
    async with assembled.catalog.retrieve(consumer, wanted, MULTIPART) as found:
        return objects, {b"".join([c async for c in p.chunks]) async for p in found.parts}


async def test_what_arrived_since_a_study_was_looked_at_is_hidden_all_the_same() -> None:
    late = Held(study="1.2.3", series="1.2.3.1", instance="1.2.3.1.9", sop_class=SR_CLASS)
    for consumer in (hiding(modalities=("SR",)), hiding(sop_classes=(SR_CLASS,))):
        async with over([A, B]) as assembled:
            assert await told(assembled, consumer, STUDY) == (2, {A.file, B.file})
            new = [D] if consumer.policy and consumer.policy.hide[0].modalities else [late]
            assembled.doubles[0].held += new
            assert await told(assembled, consumer, STUDY) == (2, {A.file, B.file})


async def test_who_is_denied_a_part_is_denied_it_while_an_archive_is_silent() -> None:
    async with over([A, B], [D]) as assembled:
        assembled.doubles[1].server.on("*", Answer(status=500))
        strict = hiding(modalities=("SR",), denies=True)
        for wanted in (STUDY, Target(study_uid="1.2.3", series_uid="1.2.3.1")):
            with pytest.raises(Unavailable):
                await told(assembled, strict, wanted)
        assert await told(assembled, strict, target(A)) == (1, {A.file})
        assert await told(assembled, hiding(modalities=("SR",)), STUDY) == (2, {A.file, B.file})
