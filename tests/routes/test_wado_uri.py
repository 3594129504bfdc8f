"""`/wado`: one instance by its three UIDs."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from pytest_aiohttp import AiohttpClient

from gateway.app import build_app
from gateway.config import Settings
from tests import wire
from tests.doubles import Double, Held
from tests.fault_archive import FaultArchive
from tests.samples import Sample
from tests.servers import Orthanc

ONE = Held(study="1.2.3", series="1.2.3.1", instance="1.2.3.1.1")
OTHER = Held(study="1.2.4", series="1.2.4.1", instance="1.2.4.1.1")
BASE = "/wado?requestType=WADO&studyUID=1.2.3&seriesUID=1.2.3.1&objectUID=1.2.3.1.1"
DICOM = f"{BASE}&contentType=application/dicom"
Client = TestClient[Any, Any]


def settings(base: str) -> Settings:
    return Settings.model_validate({"archives": {"north": {"type": "dicomweb", "qido_rs": base}}})


@pytest.fixture
async def gateway(aiohttp_client: AiohttpClient, fault_archive: FaultArchive) -> Client:
    Double(fault_archive, [ONE, OTHER])
    return await aiohttp_client(build_app(settings(fault_archive.url)))


async def test_the_object_comes_as_it_is_stored(gateway: Client) -> None:
    for accept in ("*/*", 'multipart/related; type="application/dicom"', "text/html"):
        answer = await gateway.get(DICOM, headers={"Accept": accept})
        assert answer.status == 200
        assert answer.content_type == "application/dicom"
        assert await answer.read() == ONE.file
    head = await gateway.head(DICOM)
    assert (head.status, await head.read()) == (200, b"")


async def test_any_transfer_syntax_is_the_stored_one(gateway: Client) -> None:
    assert (await gateway.get(f"{DICOM}&transferSyntax=*")).status == 200
    same = await gateway.get(f"{DICOM}&transferSyntax=1.2.840.10008.1.2.1")
    assert same.status == 200
    other = await gateway.get(f"{DICOM}&transferSyntax=1.2.840.10008.1.2.4.80")
    assert other.status == 406


@pytest.mark.parametrize("name", ["requestType", "studyUID", "seriesUID", "objectUID"])
async def test_all_three_uids_are_needed(
    gateway: Client, fault_archive: FaultArchive, name: str
) -> None:
    """With objectUID alone, some archives give any object away."""
    path, _, query = DICOM.partition("?")
    without = "&".join(p for p in query.split("&") if not p.startswith(f"{name}="))
    twice = f"{query}&{name}=1.2.4"
    empty = f"{without}&{name}="
    wrong_case = f"{without}&{name.lower()}=1.2.3"
    for bad in (without, twice, empty, wrong_case):
        answer = await gateway.get(f"{path}?{bad}")
        assert answer.status == 400
        problem = await answer.json(content_type="application/problem+json")
        assert problem["parameter"] == name
    assert fault_archive.requests == []


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ("requestType=wado", "requestType"),
        ("studyUID=..%2f..%2fsystem", "studyUID"),
        ("seriesUID=" + "1" * 65, "seriesUID"),
        ("objectUID=1.2.%D9%A3", "objectUID"),
        ("objectUID=1.2.3%0d%0aX:y", "objectUID"),
        ("objectUID=1.2.3,1.2.4", "objectUID"),
        ("objectUID=*", "objectUID"),
    ],
)
async def test_what_is_no_uid_never_reaches_an_archive(
    gateway: Client, fault_archive: FaultArchive, more: str, named: str
) -> None:
    query = "&".join(
        [p for p in DICOM.split("?")[1].split("&") if not p.startswith(f"{named}=")] + [more]
    )
    reply = await wire.get(gateway.make_url("/"), f"/wado?{query}".encode())
    assert reply.status == 400
    assert f'"parameter":"{named}"'.encode() in reply.body
    assert fault_archive.requests == []


@pytest.mark.parametrize(
    "more",
    [
        "nonsense=1",
        "anonymize=yes",
        "annotation=patient",
        "region=0,0,1,1",
        "frameNumber=0",
        "frameNumber=1,2",
        "rows=-1",
        "windowCenter=1",
        "imageQuality=101",
        "contentType=nonsense",
        "rows=10&rows=20",
        "frameNumber=%D9%A1",
    ],
)
async def test_parameters_that_are_no_good_or_not_offered_are_refused(
    gateway: Client, fault_archive: FaultArchive, more: str
) -> None:
    answer = await gateway.get(f"{BASE}&{more}")
    assert answer.status in {400, 406}
    assert answer.content_type == "application/problem+json"
    assert fault_archive.requests == []


async def test_what_is_not_in_the_study_is_not_found(
    gateway: Client, fault_archive: FaultArchive
) -> None:
    Double(fault_archive, [ONE, OTHER], ignores_parents=True)
    for wrong in ("objectUID=1.2.4.1.1", "seriesUID=1.2.4.1", "studyUID=1.2.4"):
        name = wrong.partition("=")[0]
        query = [p for p in DICOM.split("?")[1].split("&") if not p.startswith(name)]
        answer = await gateway.get("/wado?" + "&".join([*query, wrong]))
        assert answer.status == 404


async def test_a_real_image_is_windowed_scaled_and_labelled_as_it_is(
    aiohttp_client: AiohttpClient, orthanc_north: Orthanc, two_archives: Any
) -> None:
    """Orthanc's own WADO-URI ignores all of that, and labels JPEG as PNG."""
    sample: Sample = next(s for s in two_archives.in_north if s.modality == "CT")
    gateway = await aiohttp_client(build_app(settings(orthanc_north.dicom_web)))
    base = (
        f"/wado?requestType=WADO&studyUID={sample.study_uid}&seriesUID={sample.series_uid}"
        f"&objectUID={sample.instance_uid}"
    )
    jpeg = await gateway.get(f"{base}&columns=32&rows=32")
    assert jpeg.content_type == "image/jpeg"
    assert (await jpeg.read()).startswith(b"\xff\xd8")
    png = await gateway.get(f"{base}&contentType=image/png&windowCenter=40&windowWidth=400")
    assert png.content_type == "image/png"
    assert (await png.read()).startswith(b"\x89PNG")
    again = await gateway.get(
        f"{base}&columns=32&rows=32", headers={"If-None-Match": jpeg.headers["ETag"]}
    )
    assert again.status == 304
    assert (await gateway.get(f"{base}&frameNumber=99")).status in {404, 406}
