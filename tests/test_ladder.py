"""The rungs of a thumbnail: what they are asked for, and when they are asked again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.own_pictures import OwnPictures
from tests.assembled import over
from tests.dicom import row
from tests.fault_archive import Answer, json_answer
from tests.test_pictures import (
    ONE,
    STUDY,
    TARGET,
    answers_for_frames,
    encoded,
    loop_of,
    own,
    size_of,
    thumbnail,
)


@pytest.mark.parametrize(
    "answer",
    [Answer(status=500), Answer(body=b"<html>", content_type="text/html"), Answer(status=404)],
    ids=["failure", "page", "none"],
)
async def test_an_icon_is_kept_no_longer_than_the_archive_is_left_alone(answer: Answer) -> None:
    """What cannot be drawn here has its picture as soon as the archive is asked again."""
    async with over([ONE], absent_seconds=5) as assembled:
        assembled.archives.own_pictures = OwnPictures(assembled.fan_out, assembled.clock)
        server = assembled.doubles[0].server
        server.on("*/thumbnail", answer)
        icon = await thumbnail(assembled)
        is_failure = answer.status == 500
        assert (max(size_of(icon)), icon.is_passing) == (64, is_failure)
        server.on("*/thumbnail", own(encoded(33, 22)))
        assembled.clock.now += 30
        assert (await thumbnail(assembled)).body == icon.body
        assembled.clock.now += 30 if is_failure else 3570
        await thumbnail(assembled)  # what is kept is served while the archive is asked
        found = await thumbnail(assembled)
        assert (size_of(found), found.is_passing) == ((33, 22), False)


async def test_what_neither_can_draw_is_not_fetched_again_and_again() -> None:
    async with over([ONE]) as assembled:
        assembled.archives.own_pictures = OwnPictures(assembled.fan_out, assembled.clock)
        server = assembled.doubles[0].server
        server.on("*/rendered", Answer(status=500))
        for _ in range(3):
            assert (await thumbnail(assembled)).is_passing
            assembled.clock.now += 60
        asked = [r.route.removeprefix(ONE.path) for r in server.requests]
        assert (asked.count("/rendered"), asked.count("")) == (3, 1)


async def test_an_archive_that_is_slow_leaves_an_icon_that_is_passing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.own_pictures.RUNG_SECONDS", 0.05)
    async with over([ONE]) as assembled:
        server = assembled.doubles[0].server
        slow = Answer(body=encoded(9, 9), content_type="image/jpeg", stall=True)
        server.on("*/thumbnail", slow)
        assert (await thumbnail(assembled)).is_passing
        server.release()


async def test_an_archive_that_hangs_is_not_waited_for_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.ladder.THUMBNAIL_SECONDS", 0.3)
    images = [replace(ONE, series=f"1.2.3.{n}", instance=f"1.2.3.{n}.1") for n in range(1, 9)]
    async with over(images) as assembled:
        server = assembled.doubles[0].server
        server.on(images[0].path, Answer(body=b"", stall=True))
        for one in images:
            server.on(one.path, Answer(body=b"", stall=True))
            target = replace(STUDY, series_uid=one.series, instance_uid=one.instance)
            for size in (64, 65):
                assert (await thumbnail(assembled, target, size=(size, size))).is_passing
        fetched = [r.route for r in server.requests if r.route in {one.path for one in images}]
        assert fetched == [one.path for one in images[:3]]
        server.release()


async def test_an_archive_is_asked_for_the_middle_one_of_many_frames() -> None:
    async with over([ONE]) as assembled:
        answers_for_frames(assembled, loop_of(10), 10)
        server = assembled.doubles[0].server
        server.on("*/rendered", own(encoded(20, 20)))
        await thumbnail(assembled)
        await thumbnail(assembled, replace(TARGET, frames=(3,)))
        asked = [r.route for r in server.requests if r.route.endswith("/rendered")]
        assert asked == [f"{ONE.path}/frames/{n}/rendered" for n in (6, 3)]


@pytest.mark.parametrize(
    ("spacing", "asked"), [(["0.5", "0.5"], ["viewport=48,64"]), (["1.5", "0.5"], [])]
)
async def test_metadata_tell_the_size_that_rows_do_not(
    spacing: list[str], asked: list[str]
) -> None:
    """Archives draw pixels as squares, and enlarge."""
    async with over([ONE]) as assembled:
        server = assembled.doubles[0].server
        named = row(
            StudyInstanceUID=ONE.study, SeriesInstanceUID=ONE.series, SOPInstanceUID=ONE.instance
        )
        server.on("/studies/*/instances", json_answer([named]))
        told = named | row(Rows=64, Columns=48, PixelSpacing=spacing)
        server.on(f"{ONE.path}/metadata", json_answer([told]))
        server.on("*/thumbnail", own(encoded(48, 64)))
        picture = await thumbnail(assembled, size=(500, 500))
        requests = [r.path.rpartition("?")[2] for r in server.requests if "viewport" in r.path]
        assert requests == asked
        assert (size_of(picture) == (48, 64)) == bool(asked)
