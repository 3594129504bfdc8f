"""A real archive without QIDO-RS whose studies a FHIR server lists: found, resolved, retrieved."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import pytest
from PIL import Image
from pytest_aiohttp import AiohttpClient, AiohttpServer

from gateway.app import build_app
from gateway.config import Settings
from gateway.rules import dicom_json as dj
from tests.e2e.test_two_archives import stored, uid_of
from tests.fhir_holder import FhirHolder
from tests.samples import TwoArchives
from tests.servers import Orthanc
from tests.standing import Client

VERSIONS = ("r4", "r4b", "r5", "r6")


def settings(orthanc: Orthanc, **fhir: Any) -> Settings:
    own: dict[str, Any] = {
        "type": "dicomweb",
        "qido_rs": orthanc.dicom_web,
        "patient_system": "urn:oid:2.999.1",
    }
    if fhir:
        own |= {"qido_rs": None, "wado_uri": orthanc.wado_uri}
    return Settings.model_validate({"archives": {"north": own}, "fhir": {"servers": fhir}})


async def resources(
    aiohttp_client: AiohttpClient, orthanc: Orthanc, version: str, uids: Sequence[str]
) -> list[dict[str, Any]]:
    """The archive's ImagingStudy resources, each with its Patient as a resource of its own."""
    client = await aiohttp_client(build_app(settings(orthanc)))
    found = []
    for number, uid in enumerate(uids):
        study = await (await client.get(f"/fhir/{version}/ImagingStudy/{uid}")).json()
        del study["id"]
        for each in (study, *study.get("series", ())):
            each.pop("endpoint", None)
        patient = next(
            (r for r in study.get("contained", ()) if r["resourceType"] == "Patient"), None
        )
        own = {**(patient or {"identifier": [study["subject"]["identifier"]]})}
        own |= {"resourceType": "Patient", "id": f"p{number}"}
        study |= {"id": f"s{number}", "subject": {"reference": f"Patient/p{number}"}}
        found += [study, own]
    return found


@pytest.fixture
def uids(two_archives: TwoArchives) -> list[str]:
    return sorted({s.study_uid for s in two_archives.in_north})


@pytest.fixture(params=VERSIONS)
async def holder(
    request: pytest.FixtureRequest,
    aiohttp_client: AiohttpClient,
    orthanc_north: Orthanc,
    uids: list[str],
) -> FhirHolder:
    return FhirHolder(await resources(aiohttp_client, orthanc_north, request.param, uids), page=2)


async def listed(
    holder: FhirHolder,
    orthanc: Orthanc,
    aiohttp_server: AiohttpServer,
    aiohttp_client: AiohttpClient,
) -> Client:
    """A gateway over the archive by WADO-URI alone, listed by the holder."""
    server = await aiohttp_server(holder.app)
    ehr = {"url": f"http://{server.host}:{server.port}/fhir", "archive": "north"}
    return await aiohttp_client(build_app(settings(orthanc, ehr=ehr)))


async def json(client: Client, path: str) -> Any:
    answer = await client.get(path)
    assert answer.status == 200, await answer.text()
    return await answer.json(content_type=None)


STUDY_TAGS = (
    dj.STUDY_INSTANCE_UID,
    dj.PATIENT_ID,
    dj.STUDY_DATE,
    dj.ACCESSION_NUMBER,
    dj.NUMBER_OF_STUDY_RELATED_SERIES,
    dj.NUMBER_OF_STUDY_RELATED_INSTANCES,
)
SERIES_TAGS = (
    dj.SERIES_INSTANCE_UID,
    dj.MODALITY,
    dj.SERIES_NUMBER,
    dj.NUMBER_OF_SERIES_RELATED_INSTANCES,
)
INSTANCE_TAGS = (dj.SOP_INSTANCE_UID, dj.SOP_CLASS_UID, dj.INSTANCE_NUMBER)
"""What FHIR tells of a row exactly."""


def comparable(row: dict[str, Any], tags: Sequence[str]) -> list[str | None]:
    return [dj.text(row, t) for t in tags] + sorted(dj.texts(row, dj.MODALITIES_IN_STUDY))


async def test_what_the_server_lists_is_found_as_the_archive_would_tell_it(
    holder: FhirHolder,
    uids: list[str],
    orthanc_north: Orthanc,
    aiohttp_server: AiohttpServer,
    aiohttp_client: AiohttpClient,
) -> None:
    mine = await listed(holder, orthanc_north, aiohttp_server, aiohttp_client)
    theirs = await aiohttp_client(build_app(settings(orthanc_north)))
    for uid in uids:
        for path, tags in (
            (f"/dicom-web/studies?StudyInstanceUID={uid}", STUDY_TAGS),
            (f"/dicom-web/studies/{uid}/series", SERIES_TAGS),
            (f"/dicom-web/studies/{uid}/instances", INSTANCE_TAGS),
        ):
            found, wanted = await json(mine, path), await json(theirs, path)
            as_told = sorted(str(comparable(r, tags)) for r in wanted)
            assert sorted(str(comparable(r, tags)) for r in found) == as_told, path


async def test_searches_by_what_fhir_can_look_for_are_exact_and_others_are_said(
    holder: FhirHolder,
    uids: list[str],
    orthanc_north: Orthanc,
    aiohttp_server: AiohttpServer,
    aiohttp_client: AiohttpClient,
) -> None:
    mine = await listed(holder, orthanc_north, aiohttp_server, aiohttp_client)
    theirs = await aiohttp_client(build_app(settings(orthanc_north)))
    everything = await json(theirs, "/dicom-web/studies")
    for tag, name in ((dj.PATIENT_ID, "PatientID"), (dj.ACCESSION_NUMBER, "AccessionNumber")):
        for value in {dj.text(r, tag) for r in everything} - {None}:
            path = f"/dicom-web/studies?{name}={value}"
            found = {dj.text(r, dj.STUDY_INSTANCE_UID) for r in await json(mine, path)}
            assert found == {
                dj.text(r, dj.STUDY_INSTANCE_UID) for r in everything if dj.text(r, tag) == value
            }
    for path in ("/dicom-web/studies", "/dicom-web/studies?PatientName=A*"):
        answer = await mine.get(path)
        assert answer.status == 204
        assert "north cannot be searched" in answer.headers["Warning"]
    bundle = await json(mine, "/fhir/r4/ImagingStudy?started=ge2000")
    assert "north cannot be searched" in str(bundle["entry"])
    assert "total" not in bundle
    one = await json(mine, f"/fhir/r4/ImagingStudy?identifier=urn:dicom:uid|urn:oid:{uids[0]}")
    assert [e["resource"]["id"] for e in one["entry"]] == [uids[0]]


async def test_its_objects_come_by_wado_uri_and_every_surface_serves_them(
    uids: list[str],
    two_archives: TwoArchives,
    orthanc_north: Orthanc,
    aiohttp_server: AiohttpServer,
    aiohttp_client: AiohttpClient,
) -> None:
    holder = FhirHolder(await resources(aiohttp_client, orthanc_north, "r4", uids))
    mine = await listed(holder, orthanc_north, aiohttp_server, aiohttp_client)
    originals = stored(orthanc_north)
    ct = next(s for s in two_archives.in_north if s.modality == "CT")
    held = [s for s in two_archives.in_north if s.study_uid == ct.study_uid]
    whole = await (await mine.get(f"/dicom-web/studies/{ct.study_uid}")).read()
    assert all(originals[s.instance_uid] in whole for s in held)
    uri = (
        f"/wado?requestType=WADO&studyUID={ct.study_uid}&seriesUID={ct.series_uid}"
        f"&objectUID={ct.instance_uid}&contentType=application/dicom"
    )
    assert uid_of(await (await mine.get(uri)).read()) == ct.instance_uid
    picture = await (await mine.get(f"/dicom-web/studies/{ct.study_uid}/thumbnail")).read()
    with Image.open(io.BytesIO(picture)) as image:
        assert max(image.size) <= 256
    study = await json(mine, f"/fhir/r5/ImagingStudy/{ct.study_uid}")
    assert study["numberOfInstances"] == len(held)
    resolved = await json(mine, f"/resolve/studies/{ct.study_uid}?type=dicom-wado-rs")
    assert resolved["targets"][0]["url"].endswith(f"/dicom-web/studies/{ct.study_uid}")
    metadata = await json(mine, f"/dicom-web/studies/{ct.study_uid}/metadata")
    assert len(metadata) == len(held)
    assert [a["status"] for a in (await json(mine, "/archives"))["archives"]] == ["reachable"]
