"""Frames that come at once are the parts that would come one after the other."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.adapters import dicomweb_bodies as bodies
from gateway.adapters.dicomweb_frames import (
    accept_of,
    frames_at_hand,
    only_at_hand,
    parts_at_hand,
    path_of,
)
from gateway.errors import ArchiveBadAnswer, GatewayError, NotFound
from gateway.model import Target
from tests.fault_archive import Answer, multipart_answer

OCTETS = "application/octet-stream"
INSTANCE = Target(study_uid="1.2", series_uid="1.3", instance_uid="1.4")
FRAMES = Target(study_uid="1.2", series_uid="1.3", instance_uid="1.4", frames=(1, 3))


def test_a_path_names_what_it_is_of() -> None:
    assert path_of(Target(study_uid="1.2")) == ("studies", "1.2")
    assert path_of(INSTANCE) == ("studies", "1.2", "series", "1.3", "instances", "1.4")
    assert path_of(FRAMES)[6:] == ("frames", "1,3")


def test_frames_are_accepted_as_octets_and_instances_as_files() -> None:
    assert accept_of(FRAMES, "*") == (
        'multipart/related; type="application/octet-stream"; transfer-syntax=*'
    )
    assert 'type="application/dicom"' in accept_of(INSTANCE, "1.2.840.10008.1.2.1")


@pytest.mark.parametrize(
    "answer",
    [
        multipart_answer([b"abc"], part_type=OCTETS),
        multipart_answer([b"abc"], part_type="image/jp2; transfer-syntax=1.2"),
        multipart_answer([b"abc", b"", b"d"], part_type=OCTETS),
        multipart_answer([], part_type=OCTETS),
        multipart_answer([b"abc"], part_type=OCTETS, closed=False),
        Answer(body=b"abc", content_type="image/jpeg"),
        Answer(body=b"abc", content_type="text/html"),
        Answer(body=b"abc", content_type="multipart/related"),
    ],
    ids=["one", "typed", "several", "none", "cut", "single", "a page", "no boundary"],
)
async def test_they_are_what_streams(answer: Answer) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield answer.body

    of = answer.content_type or ""
    expected: list[tuple[str, bytes]] | str
    try:
        streamed = bodies.parts(of, None, chunks(), kind=OCTETS, archive="north")
        expected = [
            (part.content_type, b"".join([c async for c in part.chunks])) async for part in streamed
        ]
    except GatewayError as error:
        expected = str(error)
    found: list[tuple[str, bytes]] | str
    only = None
    try:
        parts = parts_at_hand(of, answer.body, kind=OCTETS, archive="north", has_end=True)
        found = [(p.content_type, b"".join([c async for c in p.chunks])) for p in parts]
        only = only_at_hand(of, answer.body, kind=OCTETS, archive="north", has_end=True)
    except GatewayError as error:
        found = str(error)
    assert found == expected
    assert only is None or [only] == found


def test_there_are_as_many_as_were_asked_for() -> None:
    body = multipart_answer([b"abc"], part_type=OCTETS)
    of = body.content_type or ""
    found = parts_at_hand(of, body.body, kind=OCTETS, archive="north", has_end=True)
    with pytest.raises(ArchiveBadAnswer):
        frames_at_hand(found, FRAMES, "north")
    with pytest.raises(NotFound):
        frames_at_hand([], FRAMES, "north")
