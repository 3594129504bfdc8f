"""A study with a rejection note on every surface of the gateway, over a folder and over Orthanc."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pytest_aiohttp import AiohttpClient

from gateway import demo
from gateway.app import build_app
from gateway.config import DicomwebArchive, FolderArchive, Settings
from gateway.rules.fhir_versions import VERSIONS
from tests import fhir_oracles
from tests.servers import Orthanc
from tests.standing import Client

STUDY = f"{demo.UID_ROOT}.1"
SLICES, NOTES = f"{STUDY}.2", f"{STUDY}.92"


@pytest.fixture
def rejected(sample_folder: Path, tmp_path: Path) -> tuple[Path, str]:
    """The demonstration's first study, its key image rejected; and the UID of that slice."""
    folder = Path(shutil.copytree(sample_folder / "study-1", tmp_path / "dicom"))
    [path] = folder.glob("*-ko-*.dcm")
    note = pydicom.dcmread(path)
    note.ConceptNameCodeSequence[0].CodeValue = "113037"
    note.ConceptNameCodeSequence[0].CodeMeaning = "Rejected for Patient Safety Reasons"
    note.save_as(path)
    item = note.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    return folder, str(item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)


@pytest.fixture(params=["folder", "orthanc"])
async def client(
    request: pytest.FixtureRequest,
    rejected: tuple[Path, str],
    aiohttp_client: AiohttpClient,
    empty_orthanc: Orthanc,
) -> Client:
    folder = rejected[0]
    if request.param == "folder":
        archive: Any = FolderArchive(type="folder", path=folder)
    else:
        for path in sorted(folder.glob("*.dcm")):
            empty_orthanc.upload(path)
        archive = DicomwebArchive(type="dicomweb", qido_rs=empty_orthanc.dicom_web)
    return await aiohttp_client(build_app(Settings(archives={"only": archive})))


async def json(client: Client, path: str, **parameters: str) -> Any:
    answer = await client.get(path, params=parameters)
    assert answer.status == 200, await answer.text()
    return await answer.json(content_type=None)


def values(rows: list[dict[str, Any]], tag: str) -> list[Any]:
    return [v for row in rows for v in row.get(tag, {}).get("Value", ())]


async def test_fhir_tells_of_what_is_left(client: Client, rejected: tuple[Path, str]) -> None:
    for version in VERSIONS:
        study = await json(client, f"/fhir/{version}/ImagingStudy/{STUDY}")
        by_uid = {s["uid"]: s for s in study["series"]}
        assert NOTES not in by_uid
        assert by_uid[SLICES]["numberOfInstances"] == 4
        assert rejected[1] not in {i["uid"] for i in by_uid[SLICES]["instance"]}
        assert not fhir_oracles.broken_invariants(study, version)
        for parameter, value in (("instance", rejected[1]), ("series", NOTES), ("modality", "KO")):
            bundle = await json(client, f"/fhir/{version}/ImagingStudy", **{parameter: value})
            assert bundle["total"] == 0, parameter
        bundle = await json(client, f"/fhir/{version}/ImagingStudy", identifier=f"urn:oid:{STUDY}")
        [entry] = [e for e in bundle["entry"] if e["search"]["mode"] == "match"]
        assert entry["resource"]["numberOfSeries"] == len(by_uid)


async def test_qido_lists_what_is_left(client: Client, rejected: tuple[Path, str]) -> None:
    [study] = await json(client, "/dicom-web/studies", StudyInstanceUID=STUDY)
    assert "KO" not in values([study], "00080061")
    series = await json(client, f"/dicom-web/studies/{STUDY}/series")
    assert NOTES not in values(series, "0020000E")
    assert values([study], "00201206") == [len(series)]
    [slices] = await json(client, f"/dicom-web/studies/{STUDY}/series", SeriesInstanceUID=SLICES)
    assert values([slices], "00201209") == [4]
    instances = await json(client, f"/dicom-web/studies/{STUDY}/instances")
    assert not {rejected[1], f"{NOTES}.1"} & set(values(instances, "00080018"))
    assert values([study], "00201208") == [len(instances)]
    assert len(await json(client, f"/dicom-web/studies/{STUDY}/series/{SLICES}/instances")) == 4


async def test_wado_gives_what_is_left(client: Client, rejected: tuple[Path, str]) -> None:
    series = f"/dicom-web/studies/{STUDY}/series"
    gone = f"{series}/{SLICES}/instances/{rejected[1]}"
    for path in (
        gone,
        f"{gone}/metadata",
        f"{gone}/frames/1",
        f"{gone}/rendered",
        f"{gone}/thumbnail",
        f"{gone}/bulkdata/7FE00010",
        f"{series}/{NOTES}",
        f"{series}/{NOTES}/metadata",
        f"{series}/{NOTES}/thumbnail",
        f"/resolve/studies/{STUDY}/series/{NOTES}",
        f"/resolve/studies/{STUDY}/series/{SLICES}/instances/{rejected[1]}",
    ):
        assert (await client.get(path)).status == 404, path
    wado = {
        "requestType": "WADO",
        "studyUID": STUDY,
        "seriesUID": SLICES,
        "objectUID": rejected[1],
    }
    assert (await client.get("/wado", params=wado)).status == 404
    for path in (f"/dicom-web/studies/{STUDY}", f"{series}/{SLICES}"):
        assert rejected[1].encode() not in b"".join(await parts(client, path))
        uids = values(await json(client, f"{path}/metadata"), "00080018")
        assert uids
        assert not {rejected[1], f"{NOTES}.1"} & set(uids)


async def parts(client: Client, path: str) -> list[bytes]:
    """The Media Storage SOP Instance UIDs' part of each object of a multipart answer."""
    answer = await client.get(path)
    assert answer.status == 200
    body = await answer.read()
    return [piece[:600] for piece in body.split(b"DICM")]
