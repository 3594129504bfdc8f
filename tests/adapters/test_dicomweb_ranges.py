"""Ranges of bytes, from archives that know them, ignore them, or get them wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.adapters.archive_dicomweb import DicomwebArchive
from gateway.errors import RangeNotSatisfiable
from gateway.model import ByteRange, Part, Target
from gateway.rules import media
from tests.adapters.clients import archive as made_archive
from tests.dicom import part10_file
from tests.fault_archive import Answer, FaultArchive, Seen, json_answer, multipart_answer
from tests.test_catalog import A

ONE = Target(study_uid=A.study, series_uid=A.series, instance_uid=A.instance)
FILE = part10_file(A.instance, study_uid=A.study, series_uid=A.series, padding=1000)
FIRST = ByteRange(first=0, last=9)


@pytest.fixture
async def archive(fault_archive: FaultArchive) -> AsyncIterator[DicomwebArchive]:
    made = made_archive(fault_archive.url, max_concurrency=1)
    yield made
    await made.close()


async def read(parts: AsyncIterator[Part]) -> list[tuple[Part, bytes]]:
    return [(p, b"".join([c async for c in p.chunks])) async for p in parts]


async def retrieved(
    archive: DicomwebArchive, byte_range: ByteRange | None = FIRST, syntax: str = media.ANY
) -> tuple[Part, bytes]:
    async with archive.retrieve(ONE, syntax, byte_range) as parts:
        [one] = await read(parts)
        return one


def ranged(body: bytes, **more: str) -> Answer:
    """The first ten bytes, as they were asked for."""
    headers = {"Content-Range": f"bytes 0-9/{len(FILE)}"} | more
    return Answer(status=206, body=body, content_type="application/dicom", headers=headers)


async def test_a_range_passes_through(
    archive: DicomwebArchive, fault_archive: FaultArchive
) -> None:
    fault_archive.on(A.path, ranged(FILE[:10]))
    part, body = await retrieved(archive)
    assert body == FILE[:10]
    assert part.span is not None
    assert (part.span.first, part.span.last, part.span.total) == (0, 9, len(FILE))
    assert part.length == 10
    [seen] = fault_archive.requests
    assert seen.header("Range") == "bytes=0-9"
    assert seen.header("Accept") == "application/dicom; transfer-syntax=*"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(multipart_answer([FILE]), id="the whole, in multipart"),
        pytest.param(Answer(body=FILE, content_type="application/dicom"), id="the whole"),
        pytest.param(Answer(status=406), id="no single part"),
        pytest.param(Answer(status=400), id="not understood"),
        pytest.param(Answer(status=404), id="not found so"),
        pytest.param(ranged(FILE[:9]), id="too short"),
        pytest.param(ranged(FILE[:11]), id="too long"),
        pytest.param(
            ranged(FILE[5:15], **{"Content-Range": f"bytes 5-14/{len(FILE)}"}), id="another range"
        ),
        pytest.param(ranged(FILE[:10], **{"Content-Encoding": "gzip"}), id="encoded"),
        pytest.param(
            Answer(status=206, body=FILE[:10], content_type="application/dicom"), id="unsaid"
        ),
    ],
)
async def test_the_whole_is_sent_where_the_archive_gives_no_such_range(
    archive: DicomwebArchive, fault_archive: FaultArchive, answer: Answer
) -> None:
    def behave(seen: Seen) -> Answer:
        return multipart_answer([FILE]) if seen.header("Range") is None else answer

    fault_archive.on(A.path, behave)
    for _ in range(2):
        part, body = await retrieved(archive)
        assert body == FILE
        assert part.span is None
    asked = [s for s in fault_archive.requests if s.header("Range")]
    assert len(asked) == (2 if answer.status == 404 else 1)  # and not again for a while


async def test_outside_is_outside(archive: DicomwebArchive, fault_archive: FaultArchive) -> None:
    fault_archive.on(A.path, Answer(status=416))
    with pytest.raises(RangeNotSatisfiable):
        await retrieved(archive)


async def test_a_converted_object_is_not_asked_for_by_range(
    archive: DicomwebArchive, fault_archive: FaultArchive
) -> None:
    fault_archive.on(A.path, multipart_answer([FILE]))
    _, body = await retrieved(archive, syntax=media.EXPLICIT_VR_LITTLE_ENDIAN)
    assert body == FILE
    assert all(s.header("Range") is None for s in fault_archive.requests)


async def test_bulk_data_have_ranges_too(
    archive: DicomwebArchive, fault_archive: FaultArchive
) -> None:
    known = {"vr": "OW", "BulkDataURI": f"{A.path}/bulk/1"}
    uids = {"0020000D": A.study, "0020000E": A.series, "00080018": A.instance}
    row = {tag: {"vr": "UI", "Value": [uid]} for tag, uid in uids.items()}
    fault_archive.on("*/metadata", json_answer([row | {"7FE00010": known}]))
    headers = {"Content-Range": "bytes 2-4/9"}
    octets = "application/octet-stream"
    fault_archive.on(
        f"{A.path}/bulk/1", Answer(status=206, body=b"lkd", content_type=octets, headers=headers)
    )
    wanted = ByteRange(first=2, last=4)
    async with archive.bulk_data(ONE, ("7FE00010",), wanted) as parts:
        [(part, body)] = await read(parts)
    assert body == b"lkd"
    assert part.span is not None
    fault_archive.on(f"{A.path}/bulk/1", multipart_answer([b"bulk data"], part_type=octets))
    async with archive.bulk_data(ONE, ("7FE00010",), wanted) as parts:
        [(part, body)] = await read(parts)
    assert (body, part.span) == (b"bulk data", None)
