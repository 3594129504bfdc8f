"""What moved to another archive is found there before anybody is told that it is gone."""

from __future__ import annotations

import pytest

from gateway.errors import ArchiveError, NotFound
from gateway.model import Level, Target
from gateway.rules.media import DICOM, OCTET_STREAM, Form
from tests.assembled import ANYONE, Assembled, over
from tests.doubles import Held
from tests.fault_archive import Answer

A = Held(study="1.2.3", series="1.2.3.1", instance="1.2.3.1.1")
B = Held(study="1.2.3", series="1.2.3.1", instance="1.2.3.1.2")
OTHER = Held(study="1.2.4", series="1.2.4.1", instance="1.2.4.1.1")
STUDY = Target(study_uid="1.2.3")
SERIES = Target(study_uid="1.2.3", series_uid="1.2.3.1")
FRAME = Target(study_uid=A.study, series_uid=A.series, instance_uid=A.instance, frames=(1,))
FORM = Form(is_multipart=True, types=(DICOM, OCTET_STREAM))


def of(held: Held) -> Target:
    return Target(study_uid=held.study, series_uid=held.series, instance_uid=held.instance)


async def retrieved(assembled: Assembled, wanted: Target) -> list[bytes]:
    async with assembled.catalog.retrieve(ANYONE, wanted, FORM) as found:
        return [b"".join([c async for c in p.chunks]) async for p in found.parts]


def move(assembled: Assembled) -> None:
    """All goes from the first archive to the second one, and nobody says so."""
    north, south = assembled.doubles
    north.held, south.held = [OTHER], [A, B]


@pytest.mark.parametrize(
    ("wanted", "count"),
    [(STUDY, 2), (SERIES, 2), (of(A), 1), (FRAME, 1)],
    ids=["study", "series", "instance", "frame"],
)
@pytest.mark.parametrize("is_located", [True, False])
async def test_what_moved_is_retrieved_from_where_it_is(
    wanted: Target, count: int, *, is_located: bool
) -> None:
    async with over([A, B], [OTHER], absent_seconds=60) as assembled:
        await assembled.archives.record("1.2.3", Level.SERIES)
        if is_located:
            assert len(await retrieved(assembled, wanted)) == count
        move(assembled)
        assert len(await retrieved(assembled, wanted)) == count


async def test_what_nobody_has_is_looked_for_once_in_a_while() -> None:
    """It was there when it was asked for first; nor does anything that is remembered end."""
    async with over([A, B], [OTHER], absent_seconds=60) as assembled:
        assert await retrieved(assembled, of(A))
        assembled.doubles[0].held = [B]
        with pytest.raises(NotFound):
            await retrieved(assembled, of(A))
        asked = len(assembled.doubles[1].server.requests)
        for _ in range(3):
            with pytest.raises(NotFound):
                await retrieved(assembled, of(A))
        assert len(assembled.doubles[1].server.requests) == asked
        before = assembled.asked
        await assembled.archives.record("1.2.3", Level.SERIES)
        assert assembled.asked == before


async def test_nobody_else_is_asked_while_the_holder_is_silent_or_alone() -> None:
    async with over([A], [OTHER], absent_seconds=60) as assembled:
        assert await retrieved(assembled, of(A))
        assembled.doubles[0].server.on("/studies/*/instances/*", Answer(status=500))
        asked = len(assembled.doubles[1].server.requests)
        with pytest.raises(ArchiveError):
            await retrieved(assembled, of(A))
        assert len(assembled.doubles[1].server.requests) == asked
    async with over([A, B], absent_seconds=60) as assembled:
        assert await retrieved(assembled, of(A))
        assembled.doubles[0].held = [B]
        before = assembled.asked
        with pytest.raises(NotFound):
            await retrieved(assembled, of(A))
        assert assembled.asked == before + 1
