"""Bodies from the first archive that can give them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.errors import (
    ArchiveBadAnswer,
    ArchiveRefused,
    NotAcceptable,
    NotFound,
    Unavailable,
)
from gateway.model import ByteRange, Target
from gateway.rules.media import Form
from gateway.rules.retrieval import Fetch
from tests.assembled import Assembled, over
from tests.doubles import Held
from tests.fault_archive import Answer

ONE = Held(study="1.2.3", series="1.2.3.1", instance="1.2.3.1.1")
TARGET = Target(study_uid=ONE.study, series_uid=ONE.series, instance_uid=ONE.instance)
FETCH = Fetch(target=TARGET, archives=("north", "south"))
STORED = Form(is_multipart=False, types=("application/dicom",))
JPEG_LS = "1.2.840.10008.1.2.4.80"


async def content(assembled: Assembled, fetch: Fetch = FETCH, form: Form = STORED) -> list[bytes]:
    async with assembled.archives.delivery.opened(fetch, form) as parts:
        return [b"".join([c async for c in p.chunks]) async for p in parts]


@pytest.mark.parametrize("answer", [Answer(status=500), Answer(status=404), Answer(raw=b"")])
async def test_the_next_archive_gives_what_the_first_cannot(answer: Answer) -> None:
    async with over([ONE], [ONE]) as assembled:
        assembled.doubles[0].server.on(ONE.path, answer)
        assert await content(assembled) == [ONE.file]
        assert (await assembled.archives.metadata(FETCH))[0]


async def test_an_archive_that_failed_is_not_asked_first_again() -> None:
    async with over([ONE], [ONE]) as assembled:
        assembled.doubles[0].server.on(ONE.path, Answer(status=500))
        await content(assembled)
        asked = len(assembled.doubles[0].server.requests)
        await content(assembled)
        assert len(assembled.doubles[0].server.requests) == asked


async def test_the_first_failure_is_told_and_a_refusal_by_kind_before_it() -> None:
    async with over([ONE], [ONE]) as assembled:
        north, south = (d.server for d in assembled.doubles)
        north.on(ONE.path, Answer(status=401))
        south.on(ONE.path, Answer(status=500))
        with pytest.raises(ArchiveRefused):
            await content(assembled)
        south.on(ONE.path, Answer(status=406))
        with pytest.raises(NotAcceptable):
            await content(assembled)


async def test_absence_in_one_archive_does_not_hide_the_silence_of_another() -> None:
    async with over([ONE], [ONE]) as assembled:
        assembled.doubles[0].server.on(ONE.path, Answer(status=404))
        assembled.doubles[1].server.on(ONE.path, Answer(status=500))
        with pytest.raises(ArchiveBadAnswer):
            await content(assembled)
        assembled.doubles[1].server.on(ONE.path, Answer(status=404))
        with pytest.raises(NotFound):
            await content(assembled)


async def test_transfer_syntaxes_are_tried_in_the_callers_order() -> None:
    form = Form(
        is_multipart=False,
        types=("application/dicom",),
        transfer_syntaxes=(JPEG_LS, "1.2.840.10008.1.2.1"),
    )
    async with over([ONE]) as assembled:
        assert await content(assembled, form=form) == [ONE.file]
        with pytest.raises(NotAcceptable):
            await content(
                assembled,
                form=Form(
                    is_multipart=False, types=form.types, transfer_syntaxes=(JPEG_LS, "1.2.3")
                ),
            )


async def test_one_request_goes_out_unasked() -> None:
    async with over([ONE], [ONE]) as assembled:
        assert await assembled.archives.delivery.answering([FETCH]) == ([FETCH], ())
        assert assembled.asked == 0


def of_series(series: str, *archives: str) -> Fetch:
    return Fetch(target=Target(study_uid="1.2.3", series_uid=series), archives=archives)


async def test_what_nobody_can_answer_now_is_left_out_and_named() -> None:
    async with over([ONE], [ONE], [ONE]) as assembled:
        assembled.doubles[0].server.on("*", Answer(status=500))
        fetches = [
            of_series("1.2.3.1", "north"),
            of_series("1.2.3.2", "north", "south"),
            of_series("1.2.3.3", "east"),
        ]
        assert await assembled.archives.delivery.answering(fetches) == (fetches[1:], ("north",))


async def test_silence_of_all_is_said_before_the_first_byte() -> None:
    async with over([ONE], [ONE]) as assembled:
        for double in assembled.doubles:
            double.server.on("*", Answer(status=500))
        fetches = [of_series("1.2.3.1", "north"), of_series("1.2.3.2", "south")]
        with pytest.raises(Unavailable):
            await assembled.archives.delivery.answering(fetches)


async def test_ranges_are_of_the_only_copy() -> None:
    ranged = replace(STORED, byte_range=ByteRange(first=0, last=9))
    async with over([ONE], [ONE]) as assembled:
        assert await content(assembled, FETCH, ranged) == [ONE.file]
        await content(assembled, replace(FETCH, archives=("south",)), ranged)
        north, south = (d.server.requests for d in assembled.doubles)
        assert [r.header("Range") for r in north] == [None]
        assert [r.header("Range") for r in south] == ["bytes=0-9", None]
