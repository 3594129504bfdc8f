"""Objects are fetched once for all who draw them, and no more at a time than there is room for."""

from __future__ import annotations

import asyncio

import pytest
from pydicom.uid import UID

from gateway.adapters.drawers import WorkersBusy
from gateway.errors import ArchiveError
from gateway.model import Target
from gateway.objects import FIRST_BYTES, Objects
from gateway.rules.retrieval import Fetch
from tests import odd_images
from tests.assembled import Assembled, over
from tests.doubles import Held
from tests.fault_archive import Answer, multipart_answer

DICOM = "application/dicom"
HELD = [Held(study="1.2.3", series="1.2.3.1", instance=f"1.2.3.1.{n}") for n in range(1, 7)]
LARGE = 3 * FIRST_BYTES


def fetch(held: Held) -> Fetch:
    target = Target(study_uid=held.study, series_uid=held.series, instance_uid=held.instance)
    return Fetch(target=target, archives=("north",))


def file(held: Held) -> bytes:
    sides = {"Rows": 1024, "Columns": LARGE // 2048}
    return odd_images.file(
        odd_images.EXPLICIT,
        b"\0" * LARGE,
        StudyInstanceUID=held.study,
        SeriesInstanceUID=held.series,
        SOPInstanceUID=UID(held.instance),
        **sides,
    )


SIZE = len(file(HELD[0]))


def hold(assembled: Assembled, *held: Held) -> None:
    for one in held:
        assembled.doubles[0].server.on(one.path, multipart_answer([file(one)]))


def fetched(assembled: Assembled, held: Held) -> int:
    """How often an object was asked for."""
    return len([r for r in assembled.doubles[0].server.requests if r.route == held.path])


async def size_of(objects: Objects, held: Held) -> int:
    async with objects.held(fetch(held), DICOM) as (content, content_type):
        assert content_type.startswith(DICOM)
        await asyncio.sleep(0)
        return len(content)


async def test_object_is_fetched_once_for_all_who_want_it_meanwhile() -> None:
    async with over(HELD) as assembled:
        hold(assembled, HELD[0])
        objects = Objects(assembled.archives.delivery)
        async with objects.held(fetch(HELD[0]), DICOM) as (content, _):
            found = await asyncio.gather(*(size_of(objects, HELD[0]) for _ in range(20)))
            assert len(content) == SIZE
        assert found == [SIZE] * 20
        assert fetched(assembled, HELD[0]) == 1

        assert await size_of(objects, HELD[0]) == SIZE  # it was let go of
        assert fetched(assembled, HELD[0]) == 2


async def test_objects_wait_for_room_and_all_come() -> None:
    """Some are dropped on the way and fetched again: there is room for one and a half."""
    most = LARGE * 3 // 2
    async with over(HELD) as assembled:
        hold(assembled, *HELD)
        objects = Objects(assembled.archives.delivery, most)
        found = await asyncio.gather(*(size_of(objects, one) for one in HELD))

        assert found == [SIZE] * len(HELD)
        assert objects.free_bytes == most


async def test_object_that_finds_no_room_in_time_is_told_so() -> None:
    async with over(HELD) as assembled:
        hold(assembled, *HELD)
        objects = Objects(assembled.archives.delivery, LARGE * 3 // 2, turn_seconds=0.05)
        async with objects.held(fetch(HELD[0]), DICOM):
            assert objects.free_bytes < LARGE
            with pytest.raises(WorkersBusy):
                await size_of(objects, HELD[1])
        assert await size_of(objects, HELD[1]) == SIZE


@pytest.mark.parametrize("answer", [Answer(status=500), Answer(body=b"x" * 99, cut_after=50)])
async def test_what_fails_takes_no_room(answer: Answer) -> None:
    async with over(HELD) as assembled:
        assembled.doubles[0].server.on(HELD[0].path, answer)
        objects = Objects(assembled.archives.delivery, LARGE)
        with pytest.raises(ArchiveError):
            await size_of(objects, HELD[0])

        assert objects.free_bytes == LARGE


async def test_who_leaves_stops_a_fetch_that_nobody_else_waits_for() -> None:
    async with over(HELD) as assembled:
        server = assembled.doubles[0].server
        server.on(HELD[0].path, Answer(stall=True))
        objects = Objects(assembled.archives.delivery, LARGE)
        asking = asyncio.ensure_future(size_of(objects, HELD[0]))
        await server.wait_for(1)
        asking.cancel()
        await asyncio.wait((asking,))
        await objects.close()

        assert asking.cancelled()
        assert objects.free_bytes == LARGE
