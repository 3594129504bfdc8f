"""One picture for everything: the ladder, its bounds, and what is remembered."""

from __future__ import annotations

import asyncio
import io
import random
import signal
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import UID

from gateway.adapters import animation, icons
from gateway.adapters.thumbnail import PictureWorker, Subject
from gateway.catalog import Catalog
from gateway.errors import BadRequest, NotAcceptable, NotFound, Unavailable
from gateway.model import Level, Study, Target
from gateway.own_pictures import OwnPictures
from gateway.pictures import Picture, Pictures
from gateway.rules import media
from gateway.rules.qido import Query
from gateway.rules.rendering import Rendering
from tests import odd_images, worker_processes
from tests.assembled import ANYONE, Assembled, over
from tests.dicom import row
from tests.doubles import Held, key_objects
from tests.fault_archive import Answer, Seen, json_answer, multipart_answer
from tests.samples import Sample

ONE = Held(study="1.2.3", series="1.2.3.1", instance="1.2.3.1.1")
REPORT = Held(study="1.2.3", series="1.2.3.2", instance="1.2.3.2.1", modality="SR")
TARGET = Target(study_uid=ONE.study, series_uid=ONE.series, instance_uid=ONE.instance)
STUDY = Target(study_uid="1.2.3")
PNG = "image/png"


def encoded(width: int, height: int, kind: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((width, height), 50).save(buffer, kind)
    return buffer.getvalue()


def own(body: bytes, kind: str = "image/jpeg") -> Answer:
    return Answer(body=body, content_type=kind)


def stored(sample: Sample) -> bytes:
    return sample.path.read_bytes()


def renamed(file: bytes) -> bytes:
    """A file under the UIDs of ONE."""
    dataset = pydicom.dcmread(io.BytesIO(file))
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


@pytest.mark.parametrize("counts", [True, False])
async def test_a_picture_is_not_drawn_anew_while_its_study_is_the_same(*, counts: bool) -> None:
    """Neither where an archive tells by its counts that it is, nor where it has to be read."""
    async with over([ONE]) as assembled:
        double = assembled.doubles[0]
        double.counts = counts
        double.server.on("*/thumbnail", own(encoded(40, 40)))
        for looks in range(1, 5):
            await asyncio.wait_for(until_looked(assembled, looks), 5)
            assembled.clock.now += 100
        assert asked(assembled, "thumbnail") == 1


async def until_looked(assembled: Assembled, times: int) -> None:
    """Asks for a thumbnail until its archive was asked so often whether it still has the study."""
    while asked(assembled, "studies") < times:
        await thumbnail(assembled)
        await asyncio.sleep(0.01)


def asked(assembled: Assembled, last: str) -> int:
    """How often the first archive was asked for something whose path ends like this."""
    requests = assembled.doubles[0].server.requests
    return sum(r.route.endswith(f"/{last}") for r in requests)


async def test_what_stands_for_a_series_is_what_it_holds_now() -> None:
    two, three, nine = (replace(ONE, instance=f"1.2.3.1.{n}") for n in (2, 3, 9))
    async with over([ONE, two, three]) as assembled:
        double = assembled.doubles[0]
        double.server.on("*/thumbnail", own(encoded(40, 40)))
        series = Target(study_uid=ONE.study, series_uid=ONE.series)
        before = await assembled.catalog.shown(ANYONE, series)
        assert before.target.instance_uid == two.instance
        await thumbnail(assembled, series)
        for held in ([ONE, three], [ONE, three, nine]):
            double.held = held
            await assembled.archives.search(Query(level=Level.STUDY))
        after = await assembled.catalog.shown(ANYONE, series)
        assert after.target.instance_uid == three.instance
        with pytest.raises(NotFound):
            await thumbnail(assembled, before.target)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(status=404),
        Answer(status=500),
        own(b"\xff\xd8 no picture \xff\xd9"),
        own(encoded(40, 40)[:-30]),
        Answer(raw=b""),
        Answer(status=503),
        Answer(status=429),
        Answer(status=401),
    ],
    ids=["none", "failure", "nonsense", "cut", "hang up", "busy", "too many", "refused"],
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


async def test_what_an_archive_cannot_draw_costs_one_request_the_second_time(
    samples: tuple[Sample, ...],
) -> None:
    file = renamed(stored(next(s for s in samples if s.modality == "CT")))
    async with over([ONE]) as assembled:
        server = assembled.doubles[0].server
        server.on(ONE.path, multipart_answer([file]))
        for side, fetched in ((64, 1), (65, 2)):
            await thumbnail(assembled, size=(side, side))
            assert [asked(assembled, rung) for rung in ("thumbnail", "rendered")] == [1, 1]
            assert asked(assembled, ONE.instance) == fetched


async def test_an_icon_is_passing_where_the_archive_could_not_be_asked_for_its_own() -> None:
    """What only the archive can draw has a picture as soon as it answers again."""
    async with over([ONE], absent_seconds=5) as assembled:
        server = assembled.doubles[0].server
        server.on("*/thumbnail", Answer(status=503))
        assert (await thumbnail(assembled)).is_passing
        server.on("*/thumbnail", own(encoded(33, 22)))
        assembled.clock.now += 5
        assembled.archives.own_pictures = OwnPictures(assembled.fan_out)
        found = await thumbnail(assembled)
        assert (size_of(found), found.is_passing) == ((33, 22), False)


async def test_what_could_not_be_fetched_is_an_icon_that_is_tried_again(
    samples: tuple[Sample, ...],
) -> None:
    ct = next(s for s in samples if s.modality == "CT")
    async with over([ONE]) as assembled:
        server = assembled.doubles[0].server
        server.on(ONE.path, Answer(status=500))
        icon = await thumbnail(assembled)
        assert max(size_of(icon)) <= 64
        assert icon.is_passing
        server.on(ONE.path, multipart_answer([renamed(stored(ct))]))
        found = await thumbnail(assembled)
        assert found.body != icon.body
        assert not found.is_passing


async def test_an_icon_for_want_of_workers_is_passing(
    samples: tuple[Sample, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    ct = next(s for s in samples if s.modality == "CT")
    async with over([ONE]) as assembled:
        assembled.doubles[0].server.on(ONE.path, multipart_answer([renamed(stored(ct))]))
        for limits, workers in (
            (Subject(wall_seconds=0.0), PictureWorker()),
            (Subject(), PictureWorker(processes=0, turn_seconds=0.001)),
        ):
            monkeypatch.setattr("gateway.ladder.SMALL", limits)
            pictures = Pictures(assembled.catalog, assembled.archives, workers)
            assert (await pictures.thumbnail(ANYONE, TARGET, 64, 64, "image/jpeg")).is_passing
            await pictures.close()
        assert not (await thumbnail(assembled)).is_passing


async def test_what_is_no_image_is_an_icon_that_is_not_asked_for_again() -> None:
    async with over([ONE]) as assembled:
        assert not (await thumbnail(assembled)).is_passing
        asked = assembled.asked
        await thumbnail(assembled)
        assert assembled.asked == asked


async def test_a_broken_picture_falls_to_the_next_way(samples: tuple[Sample, ...]) -> None:
    async with over([ONE]) as assembled:
        server = assembled.doubles[0].server
        server.on("*/thumbnail", own(b"\xff\xd8 no picture \xff\xd9"))
        server.on("*/rendered", own(encoded(33, 22)))
        assert size_of(await thumbnail(assembled)) == (33, 22)
        server.requests.clear()
        await thumbnail(assembled, size=(20, 20))
        asked = {r.route.rpartition("/")[2] for r in server.requests}
        assert asked == {"rendered"}, "what is broken once is not asked for again"


def loop_of(count: int) -> bytes:
    """A file of many frames, all black but the middle one and the third."""
    frames = np.zeros((count, 64, 96), np.uint8)
    frames[[min(2, count - 1), count // 2]] = odd_images.base()
    return odd_images.native(frames, **odd_images.EIGHT, **odd_images.NARROW, NumberOfFrames=count)


def answers_for_frames(assembled: Assembled, content: bytes, count: int) -> None:
    """Lets the first archive hold `content` under ONE, and give its metadata and frames."""
    server = assembled.doubles[0].server
    dataset = pydicom.dcmread(io.BytesIO(content))
    pixels, size = dataset.PixelData, 64 * 96
    whole = renamed(content)
    del dataset.PixelData
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = ONE.study, ONE.series
    dataset.SOPInstanceUID = UID(ONE.instance)
    metadata = dataset.to_json_dict()
    told = row(
        StudyInstanceUID=ONE.study,
        SeriesInstanceUID=ONE.series,
        SOPInstanceUID=ONE.instance,
        SOPClassUID=str(dataset.SOPClassUID),
        NumberOfFrames=count,
    )
    server.on("/studies/*/instances", json_answer([told]))
    server.on(f"{ONE.path}/metadata", json_answer([metadata]))
    server.on(ONE.path, multipart_answer([whole]))

    def frame(seen: Seen) -> Answer:
        at = (int(seen.route.rpartition("/")[2]) - 1) * size
        return multipart_answer([pixels[at : at + size]], part_type="application/octet-stream")

    server.on(f"{ONE.path}/frames/*", frame)


def is_the_f(picture: Picture) -> bool:
    with Image.open(io.BytesIO(picture.body)) as image:
        found = np.asarray(image.convert("L")).astype(int)
    expected = np.asarray(Image.fromarray(odd_images.base()).resize(image.size)).astype(int)
    return bool(abs(found - expected).mean() < 12)


@pytest.mark.parametrize(("frames", "number"), [((), 6), ((3,), 3)])
async def test_of_many_frames_only_one_is_fetched(frames: tuple[int, ...], number: int) -> None:
    async with over([ONE]) as assembled:
        answers_for_frames(assembled, loop_of(10), 10)
        picture = await thumbnail(assembled, replace(TARGET, frames=frames), size=(96, 64))
        assert is_the_f(picture)
        asked = [r.route for r in assembled.doubles[0].server.requests]
        assert f"{ONE.path}/frames/{number}" in asked
        assert ONE.path not in asked


async def test_archive_without_frames_gives_the_whole_object() -> None:
    async with over([ONE]) as assembled:
        answers_for_frames(assembled, loop_of(10), 10)
        assembled.doubles[0].server.on(f"{ONE.path}/frames/*", Answer(status=501))
        assert is_the_f(await thumbnail(assembled, size=(96, 64)))


async def test_frame_beyond_the_last_is_not_found() -> None:
    async with over([ONE]) as assembled:
        answers_for_frames(assembled, loop_of(10), 10)
        with pytest.raises(NotFound, match="frame"):
            await thumbnail(assembled, replace(TARGET, frames=(11,)))


@pytest.mark.parametrize("level", ["study", "series"])
async def test_a_flagged_frame_that_the_object_lacks_leaves_the_picture_of_another(
    level: str,
) -> None:
    target = STUDY if level == "study" else replace(STUDY, series_uid=ONE.series)

    async def flagged(study: Study) -> list[Target]:
        return [replace(TARGET, frames=(9,))]

    for told in (3, 10):  # what it is said to have; it has three
        async with over([ONE]) as assembled:
            answers_for_frames(assembled, loop_of(3), told)
            assembled.doubles[0].server.on(f"{ONE.path}/frames/9", Answer(status=404))
            catalog = Catalog(assembled.archives, key_images=flagged)
            pictures = Pictures(catalog, assembled.archives, PictureWorker())
            shown = await pictures.thumbnail(ANYONE, target, 64, 64, "image/jpeg")
            named = replace(TARGET, frames=(9,))
            with pytest.raises(NotFound):
                await pictures.thumbnail(ANYONE, named, 64, 64, "image/jpeg")
            await pictures.close()
            assert not shown.is_passing


async def test_an_archive_is_not_asked_for_a_picture_of_a_frame_that_does_not_exist() -> None:
    async with over([ONE]) as assembled:
        answers_for_frames(assembled, loop_of(10), 10)
        server = assembled.doubles[0].server
        server.on("*/thumbnail", own(encoded(20, 20)))
        with pytest.raises(NotFound, match="frame"):
            await thumbnail(assembled, replace(TARGET, frames=(99,)))
        assert not [r for r in server.requests if r.route.endswith("/thumbnail")]


async def test_region_is_rendered_and_one_outside_is_refused_by_name() -> None:
    async with over([ONE]) as assembled:
        answers_for_frames(assembled, loop_of(1), 1)
        inside = Rendering(media_type="image/png", source=(10, 5, -40, 30))
        shown = await assembled.pictures.rendered(ANYONE, TARGET, inside)
        with Image.open(io.BytesIO(shown.body)) as image:
            assert image.size == (40, 30)
        outside = Rendering(media_type="image/png", source=(500, 0, 10, 10))
        with pytest.raises(BadRequest) as raised:
            await assembled.pictures.rendered(ANYONE, TARGET, outside)
        assert raised.value.parameter == "viewport"


async def test_an_instance_of_many_frames_moves_as_gif_and_a_frame_of_it_does_not() -> None:
    async with over([ONE]) as assembled:
        answers_for_frames(assembled, loop_of(4), 4)
        found = {}
        for name, target, kind in (
            ("instance", TARGET, "image/gif"),
            ("frame", replace(TARGET, frames=(2,)), "image/gif"),
            ("series", replace(TARGET, instance_uid=None), "image/gif"),
            ("still", TARGET, PNG),
        ):
            shown = await assembled.pictures.rendered(ANYONE, target, Rendering(media_type=kind))
            with Image.open(io.BytesIO(shown.body)) as image:
                found[name] = image.size, getattr(image, "n_frames", 1)

    assert found.pop("instance") == ((96, 64), 3), "the first two are alike, and shown as one"
    assert set(found.values()) == {((96, 64), 1)}


async def test_what_is_too_long_to_move_is_refused_and_its_frames_are_not() -> None:
    count = animation.MOST_PIXELS // (64 * 96) + 1
    async with over([ONE]) as assembled:
        answers_for_frames(assembled, loop_of(count), count)
        with pytest.raises(NotAcceptable, match="too long"):
            await assembled.pictures.rendered(ANYONE, TARGET, Rendering(media_type="image/gif"))
        still = Rendering(media_type="image/gif")
        assert await assembled.pictures.rendered(ANYONE, replace(TARGET, frames=(7,)), still)


async def test_a_report_is_an_icon_for_which_nothing_is_fetched() -> None:
    report = "1.2.840.10008.5.1.4.1.1.88.11"
    async with over([REPORT]) as assembled:
        server = assembled.doubles[0].server
        told = row(
            StudyInstanceUID=REPORT.study,
            SeriesInstanceUID=REPORT.series,
            SOPInstanceUID=REPORT.instance,
            SOPClassUID=report,
        )
        server.on("/studies/*/instances", json_answer([told]))
        target = Target(study_uid="1.2.3", series_uid=REPORT.series, instance_uid=REPORT.instance)
        await thumbnail(assembled, target)
        assert all("StudyInstanceUID" in r.path or "studies" in r.route for r in server.requests)
        asked = {r.route.rpartition("/")[2] for r in server.requests}
        assert not asked & {"thumbnail", "rendered", REPORT.instance}


async def test_localizers_do_not_stand_for_a_study_with_images() -> None:
    scout = replace(ONE, series="1.2.3.3", instance="1.2.3.3.1")
    async with over([scout, ONE]) as assembled:
        server = assembled.doubles[0].server
        told = row(
            StudyInstanceUID=scout.study,
            SeriesInstanceUID=scout.series,
            SOPInstanceUID=scout.instance,
            ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
        )
        server.on(f"/studies/1.2.3/series/{scout.series}/instances", json_answer([told]))
        server.on("*/thumbnail", own(encoded(20, 20)))
        await thumbnail(assembled, STUDY)
        asked = [r.route for r in server.requests if r.route.endswith("/thumbnail")]
        assert asked == [f"{ONE.path}/thumbnail"]


@pytest.mark.parametrize("level", ["study", "series"])
async def test_a_flagged_image_stands_for_its_study_and_series(level: str) -> None:
    held = [replace(ONE, instance=f"1.2.3.1.{n}") for n in range(1, 6)]
    gone, last = (replace(TARGET, instance_uid=f"1.2.3.1.{n}") for n in (9, 5))

    async def flagged(study: Study) -> list[Target]:
        return [gone, last]

    async with over(held) as assembled:
        server = assembled.doubles[0].server
        server.on("*/thumbnail", own(encoded(20, 20)))
        catalog = Catalog(assembled.archives, key_images=flagged)
        shown = Pictures(catalog, assembled.archives, PictureWorker())
        target = STUDY if level == "study" else replace(STUDY, series_uid=ONE.series)
        await shown.thumbnail(ANYONE, target, 64, 64, "image/jpeg")
        await shown.close()
        asked = [r.route for r in server.requests if r.route.endswith("/thumbnail")]
        assert asked == [f"{held[-1].path}/thumbnail"]


async def test_a_flagged_report_leaves_the_picture_to_an_image() -> None:
    images = [replace(ONE, instance=f"1.2.3.1.{n}") for n in range(1, 6)]
    state = replace(REPORT, series="1.2.3.5", instance="1.2.3.5.1", modality="PR")
    for points_at, shown in (([state, images[4]], images[4]), ([REPORT, state], images[2])):
        note = key_objects("1.2.3", 9, "113000", *points_at)
        async with over([*images, REPORT, state, note]) as assembled:
            server = assembled.doubles[0].server
            server.on("*/thumbnail", own(encoded(20, 20)))
            await thumbnail(assembled, STUDY)
            asked = [r.route for r in server.requests if r.route.endswith("/thumbnail")]
            assert asked == [f"{shown.path}/thumbnail"]


async def test_a_study_is_shown_by_an_image_and_a_report_by_its_icon() -> None:
    async with over([REPORT, ONE]) as assembled:
        server = assembled.doubles[0].server
        server.on(f"{ONE.path}/thumbnail", own(encoded(20, 20)))
        report = Target(study_uid="1.2.3", series_uid=REPORT.series)
        assert (await thumbnail(assembled, STUDY)).body != (await thumbnail(assembled, report)).body
        asked = [r.route for r in server.requests if r.route.endswith("/thumbnail")]
        assert asked[:1] == [f"{ONE.path}/thumbnail"]


async def test_the_label_of_a_slide_is_shown_to_who_asks_for_it_alone() -> None:
    label = replace(ONE, modality="SM", sop_class="1.2.840.10008.5.1.4.1.1.77.1.6")
    async with over([label]) as assembled:
        server = assembled.doubles[0].server
        told = row(
            StudyInstanceUID=ONE.study,
            SeriesInstanceUID=ONE.series,
            SOPInstanceUID=ONE.instance,
            SOPClassUID=label.sop_class,
            ImageType=["ORIGINAL", "PRIMARY", "LABEL", "NONE"],
        )
        server.on("/studies/*/instances", json_answer([told]))
        server.on("*/thumbnail", own(encoded(20, 20)))
        for target in (STUDY, replace(STUDY, series_uid=ONE.series)):
            icon = await thumbnail(assembled, target)
            assert (size_of(icon), icon.is_passing) == ((64, 64), False)
        assert size_of(await thumbnail(assembled)) == (20, 20)


async def test_an_archive_is_not_asked_to_enlarge() -> None:
    async with over([ONE]) as assembled:  # 64 x 64
        assembled.doubles[0].server.on("*/thumbnail", own(encoded(300, 200)))
        picture = await thumbnail(assembled, size=(500, 500))
        asked = [r.path for r in assembled.doubles[0].server.requests if "viewport" in r.path]
        assert asked == [f"{ONE.path}/thumbnail?viewport=64,64"]
        assert size_of(picture) == (64, 43), "what it enlarges all the same is made smaller again"


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


async def test_video_in_a_class_of_images_looks_like_one_and_is_given_as_one() -> None:
    """Its transfer syntax tells, not its SOP class."""
    stream = b"\0\0\0\x18ftypmp42" + b"\0" * 300
    about = {**odd_images.RGB, "NumberOfFrames": 30}
    content = renamed(odd_images.compressed(odd_images.JPEG + "102", stream, **about))
    accepted = media.accepted(("video/mp4",))
    async with over([ONE]) as assembled:
        server = assembled.doubles[0].server
        server.on("*/thumbnail", Answer(status=404))
        server.on("*/rendered", Answer(status=404))
        server.on(ONE.path, multipart_answer([content]))
        found = await thumbnail(assembled, size=(96, 96), kind=PNG)
        rendering = Rendering(media_type=PNG)
        given = await assembled.pictures.rendition(ANYONE, TARGET, rendering, accepted)

    assert found.body == icons.icon(icons.VIDEO, 96, 96, PNG)
    assert (given.media_type, given.body) == ("video/mp4", stream)


@pytest.mark.parametrize("kind", ["image/jpeg", PNG, "image/gif"])
async def test_icon_is_of_the_type_that_was_asked_for(kind: str) -> None:
    async with over([REPORT]) as assembled:
        assert size_of(await thumbnail(assembled, STUDY, kind=kind)) == (64, 64)


def test_the_same_bytes_have_the_same_tag() -> None:
    one = Picture(body=b"x", media_type="image/png")
    assert one.etag == Picture(body=b"x", media_type="image/jpeg").etag
    assert one.etag != Picture(body=b"y", media_type="image/png").etag
    assert one.etag.startswith('"')


async def ordinary(assembled: Assembled) -> None:
    """Lets the archive hold an image, and draw nothing itself."""
    server = assembled.doubles[0].server
    content = renamed(odd_images.native(odd_images.base(), **odd_images.EIGHT))
    server.on("*/thumbnail", Answer(status=404))
    server.on("*/rendered", Answer(status=404))
    server.on(ONE.path, multipart_answer([content]))


async def rendered(assembled: Assembled, rendering: Rendering) -> Picture | Unavailable:
    try:
        return await assembled.pictures.rendered(ANYONE, TARGET, rendering)
    except Unavailable as error:
        return error


async def test_renderings_that_are_under_way_are_shared_and_so_is_what_they_are_made_of() -> None:
    alike, sizes = Rendering(media_type=PNG, viewport=(32, 32)), range(20, 30)
    asked = [alike] * 20 + [Rendering(media_type=PNG, viewport=(n, n)) for n in sizes]
    async with over([ONE]) as assembled:
        await ordinary(assembled)
        found = await asyncio.gather(*(rendered(assembled, each) for each in asked))
        fetched = [r.route for r in assembled.doubles[0].server.requests]

    pictures = [one for one in found if isinstance(one, Picture)]
    assert len(pictures) == len(asked)
    assert len({id(one.body) for one in pictures}) == 1 + len(sizes)
    assert fetched.count(ONE.path) == 1


async def killed_meanwhile(asking: asyncio.Future[Any], seconds: float) -> int:
    """Ends all drawing processes some time after a request began; how many."""
    await asyncio.wait((asking,), timeout=seconds)
    found = worker_processes.started()
    for process in found:
        worker_processes.end(process, signal.SIGKILL)
    return len(found)


async def test_while_processes_are_killed_thumbnails_are_icons_and_renderings_come_later() -> None:
    """What is killed from outside says nothing of the object: never 406, and soon all is well."""
    moment = random.Random(3)  # noqa: S311  any sequence will do
    killed, outcomes = 0, set()
    latest, last = 0.0, time.monotonic()
    async with over([ONE]) as assembled:
        await ordinary(assembled)
        for number in range(8):
            rendering = Rendering(media_type=PNG, viewport=(30 + number, 64))
            while type(await rendered(assembled, rendering)) is Unavailable:
                latest, last = max(latest, time.monotonic() - last), time.monotonic()
            for wanted in (
                thumbnail(assembled, size=(30 + number, 64)),
                rendered(assembled, rendering),
            ):
                asking = asyncio.ensure_future(wanted)
                killed += await killed_meanwhile(asking, moment.random() * 0.01)
                outcomes.add(type(await asking))
                latest, last = max(latest, time.monotonic() - last), time.monotonic()

    assert outcomes == {Picture, Unavailable}
    assert killed >= 8
    assert latest < 5  # nobody waited for a process that was gone


async def test_an_object_that_crashed_a_process_is_not_tried_again() -> None:
    async with over([ONE]) as assembled:
        await ordinary(assembled)
        rendering = Rendering(media_type=PNG)
        await assembled.pictures.rendered(ANYONE, TARGET, rendering)
        (process,) = worker_processes.started()
        worker_processes.end(process, signal.SIGSTOP)
        asking = asyncio.ensure_future(assembled.pictures.rendered(ANYONE, TARGET, rendering))
        await asyncio.wait((asking,), timeout=0.1)
        worker_processes.end(process, signal.SIGSEGV)
        worker_processes.end(process, signal.SIGCONT)
        with pytest.raises(NotAcceptable, match="crashed"):
            await asking
        fetched = len(assembled.doubles[0].server.requests)
        with pytest.raises(NotAcceptable, match="before"):
            await assembled.pictures.rendered(ANYONE, TARGET, rendering)

        assert len(assembled.doubles[0].server.requests) == fetched
        assert worker_processes.started() == set()
        assert size_of(await thumbnail(assembled)) == (64, 64)  # its icon
