"""One picture for everything: the ladder, its bounds, and what is remembered."""

from __future__ import annotations

import asyncio
import io

import pydicom
import pytest
from PIL import Image
from pydicom.uid import UID

from gateway.errors import NotAcceptable, NotFound
from gateway.model import Target
from gateway.pictures import Picture
from gateway.rules.rendering import Rendering
from tests.assembled import ANYONE, Assembled, over
from tests.doubles import Held
from tests.fault_archive import Answer, multipart_answer
from tests.samples import Sample

ONE = Held(study="1.2.3", series="1.2.3.1", instance="1.2.3.1.1")
REPORT = Held(study="1.2.3", series="1.2.3.2", instance="1.2.3.2.1", modality="SR")
TARGET = Target(study_uid=ONE.study, series_uid=ONE.series, instance_uid=ONE.instance)
STUDY = Target(study_uid="1.2.3")


def encoded(width: int, height: int, kind: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((width, height), 50).save(buffer, kind)
    return buffer.getvalue()


def own(body: bytes, kind: str = "image/jpeg") -> Answer:
    return Answer(body=body, content_type=kind)


def stored(sample: Sample) -> bytes:
    return sample.path.read_bytes()


def renamed(sample: Sample) -> bytes:
    """A sample's file under the UIDs of ONE."""
    dataset = pydicom.dcmread(sample.path)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = ONE.study, ONE.series
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = UID(ONE.instance)
    content = io.BytesIO()
    dataset.save_as(content, enforce_file_format=True)
    return content.getvalue()


async def thumbnail(
    assembled: Assembled,
    target: Target = TARGET,
    size: tuple[int, int] = (64, 64),
    kind: str = "image/jpeg",
) -> Picture:
    return await assembled.pictures.thumbnail(ANYONE, target, *size, kind)


def size_of(picture: Picture) -> tuple[int, int]:
    with Image.open(io.BytesIO(picture.body)) as image:
        assert Image.MIME[image.format or ""] == picture.media_type
        return image.size


async def test_a_picture_is_never_larger_than_asked_nor_in_another_format() -> None:
    """Archives ignore the viewport, and label JPEG as PNG."""
    async with over([ONE]) as assembled:
        assembled.doubles[0].server.on("*/thumbnail", own(encoded(400, 200), "image/png"))
        assert size_of(await thumbnail(assembled, size=(64, 64))) == (64, 32)
        assert size_of(await thumbnail(assembled, size=(50, 10), kind="image/png")) == (20, 10)


async def test_a_picture_is_made_once_for_all_who_ask() -> None:
    async with over([ONE]) as assembled:
        double = assembled.doubles[0]
        double.server.on("*/thumbnail", own(encoded(40, 40)))
        pictures = await asyncio.gather(*(thumbnail(assembled) for _ in range(20)))
        assert len({p.etag for p in pictures}) == 1
        assert len([r for r in double.server.requests if r.route.endswith("/thumbnail")]) == 1
        assembled.clock.now += 1000
        await thumbnail(assembled)
        assert len([r for r in double.server.requests if r.route.endswith("/thumbnail")]) == 1


@pytest.mark.parametrize(
    "answer",
    [
        Answer(status=404),
        Answer(status=500),
        own(b"\xff\xd8 no picture \xff\xd9"),
        own(encoded(40, 40)[:-30]),
        Answer(raw=b""),
    ],
    ids=["none", "failure", "nonsense", "cut", "hang up"],
)
async def test_what_the_archive_cannot_draw_is_drawn_here(
    answer: Answer, samples: tuple[Sample, ...]
) -> None:
    ct = next(s for s in samples if s.modality == "CT")
    content = stored(ct)
    one = Held(study=ct.study_uid, series=ct.series_uid, instance=ct.instance_uid)
    target = Target(study_uid=ct.study_uid, series_uid=ct.series_uid, instance_uid=ct.instance_uid)
    async with over([one]) as assembled:
        server = assembled.doubles[0].server
        server.on("*/thumbnail", answer)
        server.on("*/rendered", answer)
        server.on(one.path, multipart_answer([content]))
        picture = await thumbnail(assembled, target)
        width, height = size_of(picture)
        assert max(width, height) == 64
        with Image.open(io.BytesIO(picture.body)) as image:
            assert len(image.convert("L").getcolors() or []) > 20  # grey levels, not an icon


async def test_what_could_not_be_fetched_is_an_icon_that_is_tried_again(
    samples: tuple[Sample, ...],
) -> None:
    ct = next(s for s in samples if s.modality == "CT")
    async with over([ONE]) as assembled:
        server = assembled.doubles[0].server
        server.on(ONE.path, Answer(status=500))
        icon = await thumbnail(assembled)
        assert max(size_of(icon)) <= 64
        server.on(ONE.path, multipart_answer([renamed(ct)]))
        assert (await thumbnail(assembled)).body != icon.body


async def test_what_is_no_image_is_an_icon_that_is_not_asked_for_again() -> None:
    async with over([ONE]) as assembled:
        await thumbnail(assembled)
        asked = assembled.asked
        await thumbnail(assembled)
        assert assembled.asked == asked


async def test_a_study_is_shown_by_an_image_and_a_report_by_its_icon() -> None:
    async with over([REPORT, ONE]) as assembled:
        server = assembled.doubles[0].server
        server.on(f"{ONE.path}/thumbnail", own(encoded(20, 20)))
        report = Target(study_uid="1.2.3", series_uid=REPORT.series)
        assert (await thumbnail(assembled, STUDY)).body != (await thumbnail(assembled, report)).body
        asked = [r.route for r in server.requests if r.route.endswith("/thumbnail")]
        assert asked[:1] == [f"{ONE.path}/thumbnail"]


async def test_an_archive_is_not_asked_to_enlarge() -> None:
    async with over([ONE]) as assembled:  # 8 x 8
        assembled.doubles[0].server.on("*/thumbnail", own(encoded(8, 8)))
        await thumbnail(assembled, size=(500, 500))
        asked = [r.path for r in assembled.doubles[0].server.requests if "viewport" in r.path]
        assert asked == [f"{ONE.path}/thumbnail?viewport=8,8"]


async def test_what_does_not_exist_has_no_picture() -> None:
    async with over([ONE]) as assembled:
        for target in (
            Target(study_uid="1.2.9"),
            Target(study_uid="1.2.3", series_uid="1.2.9"),
            Target(study_uid="1.2.3", series_uid=ONE.series, instance_uid="1.2.9"),
        ):
            with pytest.raises(NotFound):
                await thumbnail(assembled, target)


async def test_a_caller_who_leaves_takes_nothing_from_the_others() -> None:
    async with over([ONE]) as assembled:
        server = assembled.doubles[0].server
        server.on("*/thumbnail", Answer(body=encoded(9, 9), content_type="image/jpeg", stall=True))
        asking = [asyncio.ensure_future(thumbnail(assembled)) for _ in range(5)]
        for count in range(1, 9):
            if any("/thumbnail" in r.route for r in await server.wait_for(count)):
                break
        for one in asking[:4]:
            one.cancel()
        server.release()
        assert size_of(await asking[4]) == (9, 9)
        await asyncio.gather(*asking, return_exceptions=True)


async def test_what_is_no_image_is_not_rendered() -> None:
    async with over([ONE]) as assembled:
        with pytest.raises(NotAcceptable):
            await assembled.pictures.rendered(ANYONE, TARGET, Rendering(media_type="image/png"))


def test_the_same_bytes_have_the_same_tag() -> None:
    one = Picture(body=b"x", media_type="image/png")
    assert one.etag == Picture(body=b"x", media_type="image/jpeg").etag
    assert one.etag != Picture(body=b"y", media_type="image/png").etag
    assert one.etag.startswith('"')
