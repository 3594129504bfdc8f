"""Objects by WADO-URI alone: what is read of them, and what a bad archive does to it.

What a real one gives is compared byte for byte in `e2e/test_wado_uri_archive.py`.
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pydicom
import pytest
from pydicom.uid import UID

from gateway.adapters import wado_uri
from gateway.adapters.wado_uri import WadoUriObjects
from gateway.adapters.wado_uri_service import WadoUriService
from gateway.errors import ArchiveBadAnswer, ArchiveError, NotAcceptable, NotFound
from gateway.model import Found, Part, Target
from gateway.rules import dicom_json as dj
from gateway.rules.dicom_json import Dataset
from gateway.rules.qido import Query
from tests.adapters.clients import client
from tests.adapters.test_recent import same
from tests.dicom import part10_file, row
from tests.fault_archive import Answer, FaultArchive, Seen

FILES = Path(pydicom.__file__).parent / "data/test_files"
STUDY = Target(study_uid="1.2.3")
ONE = Target(study_uid="1.2.3", series_uid="1.2.3.4", instance_uid="1.2.3.4.1")
JPEG_LS = "1.2.840.10008.1.2.4.80"
EXPLICIT = "1.2.840.10008.1.2.1"


async def listed(query: Query, wanted: int | None = None) -> Found[Dataset]:
    """Two instances of one series."""
    rows = [
        row(
            StudyInstanceUID="1.2.3",
            SeriesInstanceUID="1.2.3.4",
            SOPInstanceUID=f"1.2.3.4.{n}",
            InstanceNumber=n,
        )
        for n in (2, 1)
    ]
    return Found(items=tuple(rows))


@asynccontextmanager
async def objects_of(
    fault_archive: FaultArchive, timeout_seconds: float = 5
) -> AsyncIterator[WadoUriObjects]:
    http = client(timeout_seconds=timeout_seconds)
    service = WadoUriService("north", f"{fault_archive.url}/wado", http)
    made = WadoUriObjects(service, listed, lambda: 0.0, same)
    yield made
    await made.close()
    await http.close()


@pytest.fixture
async def objects(fault_archive: FaultArchive) -> AsyncIterator[WadoUriObjects]:
    async with objects_of(fault_archive) as made:
        yield made


def file(body: bytes, **more: object) -> Answer:
    return Answer(body=body, content_type="application/dicom", **more)  # type: ignore[arg-type]  # what Answer takes


def image(frames: int = 2, rows: int = 64, padding: int = 0) -> bytes:
    """A native image of the instance ONE; `padding` bytes stand before its pixel data."""
    dataset = pydicom.dcmread(io.BytesIO(part10_file("1.2.3.4.1", padding=padding)))
    dataset.Rows = dataset.Columns = rows
    dataset.NumberOfFrames = frames
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelData = b"".join(bytes([n % 256]) * rows * rows for n in range(1, frames + 1))
    dataset["PixelData"].VR = "OB"
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


async def read(parts: AsyncIterator[Part]) -> list[tuple[str, bytes]]:
    return [(p.content_type, b"".join([c async for c in p.chunks])) async for p in parts]


async def retrieved(
    objects: WadoUriObjects, target: Target, syntax: str = "*"
) -> list[tuple[str, bytes]]:
    async with objects.retrieve(target, syntax) as parts:
        return await read(parts)


async def test_a_study_is_asked_for_instance_by_instance_in_their_order(
    objects: WadoUriObjects, fault_archive: FaultArchive
) -> None:
    def answer(seen: Seen) -> Answer:
        return file(
            part10_file("1.2.3.4.1" if "objectUID=1.2.3.4.1&" in seen.path else "1.2.3.4.2")
        )

    fault_archive.on("/wado", answer)
    assert [b for _, b in await retrieved(objects, STUDY)] == [
        part10_file("1.2.3.4.1"),
        part10_file("1.2.3.4.2"),
    ]
    assert fault_archive.requests[0].path == (
        "/wado?requestType=WADO&studyUID=1.2.3&seriesUID=1.2.3.4&objectUID=1.2.3.4.1"
        "&contentType=application/dicom"
    )
    found = await objects.metadata(STUDY)
    assert [dj.text(orjson.loads(o), dj.SOP_INSTANCE_UID) for o in found] == [
        "1.2.3.4.1",
        "1.2.3.4.2",
    ]


async def test_an_instance_that_is_gone_since_is_passed_over_and_none_is_not_found(
    objects: WadoUriObjects, fault_archive: FaultArchive
) -> None:
    fault_archive.on("/wado", Answer(status=404), file(part10_file("1.2.3.4.2")))
    assert [b for _, b in await retrieved(objects, STUDY)] == [part10_file("1.2.3.4.2")]
    fault_archive.on("/wado", Answer(status=404))
    with pytest.raises(NotFound):
        await retrieved(objects, STUDY)
    with pytest.raises(NotFound):
        await retrieved(objects, ONE)
    assert await objects.metadata(STUDY) == []


async def test_another_instance_than_asked_for_is_never_given(
    objects: WadoUriObjects, fault_archive: FaultArchive
) -> None:
    fault_archive.on("/wado", file(part10_file("1.9.9")))
    with pytest.raises(ArchiveBadAnswer):
        await retrieved(objects, ONE)
    foreign = part10_file("1.2.3.4.1", study_uid="1.9")
    fault_archive.on("/wado", file(foreign))
    assert await objects.metadata(ONE) == []


@pytest.mark.parametrize(
    "answer",
    [
        Answer(body=b"<html>login", content_type="text/html"),
        Answer(body=b"not DICOM at all" * 100, content_type="application/dicom"),
        Answer(status=302, headers={"Location": "http://127.0.0.1:1/"}),
        Answer(status=500),
        file(part10_file("1.2.3.4.1", padding=9000), cut_after=5000),
        file(part10_file("1.2.3.4.1", padding=9000), framing="close", cut_after=5000),
    ],
)
async def test_what_is_no_whole_object_is_an_error_of_the_archive(
    objects: WadoUriObjects, fault_archive: FaultArchive, answer: Answer
) -> None:
    fault_archive.on("/wado", answer)
    await check_that_it_is_no_object(objects)


async def test_an_object_whose_rest_does_not_come_is_an_error_of_the_archive(
    fault_archive: FaultArchive,
) -> None:
    fault_archive.on("/wado", file(part10_file("1.2.3.4.1"), length=10**6))
    async with objects_of(fault_archive, timeout_seconds=0.2) as objects:
        await check_that_it_is_no_object(objects)


async def check_that_it_is_no_object(objects: WadoUriObjects) -> None:
    with pytest.raises(ArchiveError):
        await retrieved(objects, ONE)
    with pytest.raises(ArchiveError):
        async with objects.bulk_data(ONE, ("00420011",)) as parts:
            await read(parts)


async def test_a_header_is_read_no_further_than_to_its_pixels(
    objects: WadoUriObjects, fault_archive: FaultArchive
) -> None:
    whole = image(frames=400, rows=512)
    fault_archive.on("/wado", file(whole))
    [found] = await objects.metadata(ONE)
    metadata = orjson.loads(found)
    assert metadata["7FE00010"]["BulkDataURI"] == "bulkdata/7FE00010"
    assert metadata[dj.NUMBER_OF_FRAMES]["Value"] == [400]
    [seen] = fault_archive.requests
    await seen.ended.wait()
    assert seen.sent < len(whole) / 4


async def test_a_long_header_is_read_to_its_end(
    objects: WadoUriObjects, fault_archive: FaultArchive
) -> None:
    fault_archive.on("/wado", file(image(padding=10 * wado_uri.FIRST_LOOK_BYTES)))
    [found] = await objects.metadata(ONE)
    assert orjson.loads(found)[dj.ROWS]["Value"] == [64]


async def test_frames_are_cut_from_one_object_that_is_fetched_once(
    objects: WadoUriObjects, fault_archive: FaultArchive
) -> None:
    fault_archive.on("/wado", file(image(frames=3)))
    frames = Target(
        study_uid="1.2.3", series_uid="1.2.3.4", instance_uid="1.2.3.4.1", frames=(3, 1)
    )
    found = await retrieved(objects, frames)
    assert [b for _, b in found] == [bytes([3]) * 4096, bytes([1]) * 4096]
    assert {k for k, _ in found} == {f"application/octet-stream; transfer-syntax={EXPLICIT}"}
    beyond = Target(study_uid="1.2.3", series_uid="1.2.3.4", instance_uid="1.2.3.4.1", frames=(4,))
    with pytest.raises(NotFound):
        await retrieved(objects, beyond)
    with pytest.raises(NotAcceptable, match=JPEG_LS):
        await retrieved(objects, frames, JPEG_LS)
    assert len(fault_archive.requests) == 1


async def test_an_object_that_is_too_large_to_be_held_is_refused_by_name(
    objects: WadoUriObjects, fault_archive: FaultArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wado_uri, "MAX_OBJECT_BYTES", 5000)
    fault_archive.on("/wado", file(image()))
    frame = Target(study_uid="1.2.3", series_uid="1.2.3.4", instance_uid="1.2.3.4.1", frames=(1,))
    with pytest.raises(NotAcceptable, match="too large"):
        await retrieved(objects, frame)
    assert len(await retrieved(objects, ONE)) == 1


async def test_a_transfer_syntax_is_asked_for_by_name_and_known_to_have_come(
    objects: WadoUriObjects, fault_archive: FaultArchive
) -> None:
    fault_archive.on("/wado", file(part10_file("1.2.3.4.1", JPEG_LS)))
    [(kind, _)] = await retrieved(objects, ONE, JPEG_LS)
    assert kind.endswith(JPEG_LS)
    assert f"transferSyntax={JPEG_LS}" in fault_archive.requests[0].path
    with pytest.raises(NotAcceptable, match=EXPLICIT):
        await retrieved(objects, ONE, EXPLICIT)
    fault_archive.on("/wado", Answer(status=400))
    with pytest.raises(NotAcceptable, match=JPEG_LS):
        await retrieved(objects, ONE, JPEG_LS)
    with pytest.raises(ArchiveBadAnswer):
        await retrieved(objects, ONE)


async def test_what_is_stored_in_implicit_vr_is_made_explicit_here(
    objects: WadoUriObjects, fault_archive: FaultArchive
) -> None:
    dataset = pydicom.dcmread(io.BytesIO(image()))
    dataset.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2")
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, implicit_vr=True, little_endian=True)
    fault_archive.on("/wado", file(buffer.getvalue()))
    [(kind, body)] = await retrieved(objects, ONE, EXPLICIT)
    assert kind == f"application/dicom; transfer-syntax={EXPLICIT}"
    assert pydicom.dcmread(io.BytesIO(body)).PixelData == dataset.PixelData


async def test_bulk_data_are_the_bytes_of_one_element(
    objects: WadoUriObjects, fault_archive: FaultArchive
) -> None:
    fault_archive.on("/wado", file(image(padding=2000)))
    for path, wanted in (
        (("00420011",), bytes(2000)),
        (("7FE00010",), bytes([1]) * 4096 + bytes([2]) * 4096),
    ):
        async with objects.bulk_data(ONE, path) as parts:
            assert [b for _, b in await read(parts)] == [wanted]
    with pytest.raises(NotFound):
        async with objects.bulk_data(ONE, ("00420099",)) as parts:
            await read(parts)
