"""What archives send of a series, object by object."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.errors import ArchiveBadAnswer
from gateway.model import Part
from gateway.screening import screened
from tests.dicom import part10_file


async def chunked(content: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(content), size):
        yield content[at : at + size]


async def parts(*contents: bytes, size: int) -> AsyncIterator[Part]:
    for content in contents:
        yield Part(content_type="application/dicom", chunks=chunked(content, size))


@pytest.mark.parametrize("size", [7, 1000, 1 << 16])
async def test_only_what_is_known_passes_and_passes_whole(size: int) -> None:
    files = [part10_file(f"1.2.{n}", padding=3000) for n in range(4)]
    found = []
    async for part in screened(parts(*files, size=size), {"1.2.1", "1.2.3"}, "north"):
        found.append(b"".join([chunk async for chunk in part.chunks]))
    assert found == [files[1], files[3]]


@pytest.mark.parametrize("content", [b"", b"not DICOM", bytes(128) + b"DICM"])
async def test_what_does_not_say_what_it_is_breaks_the_answer(content: bytes) -> None:
    with pytest.raises(ArchiveBadAnswer, match="does not tell"):
        async for _ in screened(parts(content, size=100), {"1.2.1"}, "north"):
            pass
