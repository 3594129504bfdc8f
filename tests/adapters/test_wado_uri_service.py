"""A WADO-URI service: which pictures of it are believed, and what it is asked to do."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from PIL import Image

from gateway.adapters import wado_uri_service
from gateway.adapters.wado_uri_service import WadoUriService
from gateway.config import DicomwebArchive
from gateway.errors import ArchiveBadAnswer, NotAcceptable, NotFound, NotSupported
from gateway.model import Target
from tests.adapters.clients import client
from tests.dicom import part10_file
from tests.fault_archive import Answer, FaultArchive

ONE = Target(study_uid="1.2.3", series_uid="1.2.3.4", instance_uid="1.2.3.4.1")


@pytest.fixture
async def service(fault_archive: FaultArchive) -> AsyncIterator[WadoUriService]:
    http = client()
    yield WadoUriService("north", f"{fault_archive.url}/wado", http, ["annotation", "anonymize"])
    await http.close()


def _jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((40, 20), 50).save(buffer, "JPEG")
    return buffer.getvalue()


JPEG = _jpeg()


async def test_a_picture_is_asked_for_in_its_box(
    service: WadoUriService, fault_archive: FaultArchive
) -> None:
    fault_archive.on("/wado", Answer(body=JPEG, content_type="image/png"))
    assert await service.picture(ONE, 64, 32) == JPEG
    assert fault_archive.requests[0].path.endswith("&contentType=image/jpeg&rows=32&columns=64")


async def test_of_a_study_or_a_later_frame_no_picture_is_believed(
    service: WadoUriService, fault_archive: FaultArchive
) -> None:
    """Archives ignore frameNumber, and then show the first frame."""
    fault_archive.on("/wado", Answer(body=JPEG, content_type="image/jpeg"))
    for target in (Target(study_uid="1.2.3"), replace(ONE, frames=(2,))):
        with pytest.raises(NotSupported):
            await service.picture(target, 64, 64)
    assert fault_archive.requests == []
    assert await service.picture(replace(ONE, frames=(1,)), 64, 64) == JPEG


@pytest.mark.parametrize(
    "answer",
    [
        Answer(status=404),
        Answer(status=406),
        Answer(status=500),
        Answer(body=b"<html>", content_type="image/jpeg"),
        Answer(body=JPEG[:-20], content_type="image/jpeg"),
    ],
)
async def test_a_service_without_a_picture_has_none_to_give(
    service: WadoUriService, fault_archive: FaultArchive, answer: Answer
) -> None:
    fault_archive.on("/wado", answer)
    with pytest.raises((ArchiveBadAnswer, NotAcceptable, NotFound)):
        await service.picture(ONE, 64, 64)


async def test_only_what_it_does_is_asked_of_it(
    service: WadoUriService, fault_archive: FaultArchive
) -> None:
    fault_archive.on("/wado", Answer(body=JPEG, content_type="image/jpeg"))
    asked = (("annotation", "patient"), ("rows", "10"))
    async with service.own(ONE, "image/jpeg", asked) as parts:
        [part] = [p async for p in parts]
        assert part.content_type == "image/jpeg"
    assert "annotation=patient&rows=10" in fault_archive.requests[0].path
    states = (("presentationSeriesUID", "1.2"), ("presentationUID", "1.2.3"))
    with pytest.raises(NotAcceptable):
        async with service.own(ONE, "image/jpeg", states):
            pass
    assert len(fault_archive.requests) == 1


async def test_an_anonymous_object_may_have_other_uids_but_must_be_one(
    service: WadoUriService, fault_archive: FaultArchive
) -> None:
    other = part10_file("1.9.9.9")
    fault_archive.on("/wado", Answer(body=other, content_type="application/dicom"))
    async with service.own(ONE, "application/dicom", (("anonymize", "yes"),)) as parts:
        async for part in parts:
            assert b"".join([c async for c in part.chunks]) == other
    fault_archive.on("/wado", Answer(body=b"x" * 999, content_type="application/dicom"))
    with pytest.raises(ArchiveBadAnswer):
        async with service.own(ONE, "application/dicom", (("anonymize", "yes"),)) as parts:
            await anext(parts)


async def test_an_archive_without_an_address_has_no_service() -> None:
    http = client()
    section = DicomwebArchive(type="dicomweb", qido_rs="http://pacs/rs")
    assert wado_uri_service.of("north", section, http) is None
    await http.close()
