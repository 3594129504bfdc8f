from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote

import pydicom
import pytest
from pytest_aiohttp import AiohttpClient

from gateway.app import build_app
from gateway.config import Settings
from tests.hie import bearer, scoped
from tests.samples import Sample, TwoArchives, series_by_study
from tests.standing import Client, Standing

VIEWER = "https://viewer.example.org/viewer?StudyInstanceUIDs={study_uids}&root={dicom_web}"
OHIF = {"ohif": {"type": "template", "title": "OHIF", "url": VIEWER}}
PACS = {"pacs": {"type": "iid", "title": "PACS", "url": "https://pacs.example.org/IID"}}
ROOT = "https%3A%2F%2Fgw.example.org%2Fdicom-web"


def app_settings(folder: Path, viewers: dict[str, Any], **more: Any) -> Settings:
    return Settings.model_validate(
        {
            "server": {"public_url": "https://gw.example.org"},
            "archives": {"samples": {"type": "folder", "path": str(folder)}},
            "viewers": viewers,
            **more,
        }
    )


@pytest.fixture(scope="module")
def standing(sample_folder: Path) -> Iterator[Standing]:
    with Standing(build_app(app_settings(sample_folder, OHIF))) as one:
        yield one


@pytest.fixture
async def gateway(standing: Standing) -> AsyncIterator[Client]:
    async with standing.client() as client:
        yield client


@pytest.fixture
def study(samples: tuple[Sample, ...]) -> pydicom.Dataset:
    """The header of a sample: a study whose patient has other studies or none."""
    return pydicom.dcmread(samples[0].path, stop_before_pixels=True)


async def location(client: Client, query: str) -> str:
    answer = await client.get(f"/iid?{query}", allow_redirects=False)
    assert answer.status == 302, await answer.text()
    return answer.headers["Location"]


async def test_a_study_opens_in_the_viewer(gateway: Client, study: pydicom.Dataset) -> None:
    uid = study.StudyInstanceUID

    answer = await gateway.get(f"/iid?requestType=STUDY&studyUID={uid}", allow_redirects=False)

    assert answer.status == 302
    assert answer.headers["Location"] == (
        f"https://viewer.example.org/viewer?StudyInstanceUIDs={uid}&root={ROOT}"
    )
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"


async def test_head_and_form_answer_like_get(gateway: Client, study: pydicom.Dataset) -> None:
    fields = {"requestType": "STUDY", "studyUID": study.StudyInstanceUID}
    expected = await location(gateway, f"requestType=STUDY&studyUID={study.StudyInstanceUID}")

    head = await gateway.head("/iid", params=fields, allow_redirects=False)
    form = await gateway.post("/iid", data=fields, allow_redirects=False)

    assert [head.status, form.status] == [302, 302]
    assert head.headers["Location"] == form.headers["Location"] == expected


async def test_an_accession_number_opens_its_study(
    gateway: Client, samples: tuple[Sample, ...]
) -> None:
    headers = [pydicom.dcmread(one.path, stop_before_pixels=True) for one in samples]
    one = next(h for h in headers if h.get("AccessionNumber"))

    found = await location(
        gateway, f"requestType=STUDY&accessionNumber={quote(one.AccessionNumber)}"
    )

    assert one.StudyInstanceUID in found


async def test_a_patient_opens_with_all_studies(
    gateway: Client, samples: tuple[Sample, ...], study: pydicom.Dataset
) -> None:
    headers = [pydicom.dcmread(one.path, stop_before_pixels=True) for one in samples]
    theirs = {h.StudyInstanceUID for h in headers if h.PatientID == study.PatientID}
    patient = quote(f"{study.PatientID}^^^{study.IssuerOfPatientID}")

    every = await location(gateway, f"requestType=PATIENT&patientID={patient}")
    newest = await location(gateway, f"requestType=PATIENT&patientID={patient}&mostRecentResults=1")

    assert {uid for uid in series_by_study(samples) if uid in every} == theirs
    assert sum(uid in newest for uid in theirs) == 1


async def test_a_number_of_another_hospital_opens_nothing(
    gateway: Client, study: pydicom.Dataset
) -> None:
    patient = quote(f"{study.PatientID}^^^NOT-{study.IssuerOfPatientID}")

    answer = await gateway.get(f"/iid?requestType=PATIENT&patientID={patient}")

    assert answer.status == 404


async def test_a_viewer_that_speaks_iid_is_asked_in_its_words(
    aiohttp_client: AiohttpClient, sample_folder: Path, study: pydicom.Dataset
) -> None:
    chosen = app_settings(sample_folder, OHIF | PACS, iid={"default_viewer": "pacs"})
    client = await aiohttp_client(build_app(chosen))

    found = await location(
        client, f"requestType=STUDY&studyUID={study.StudyInstanceUID}&diagnosticQuality=true"
    )

    assert found == (
        f"https://pacs.example.org/IID?requestType=STUDY&studyUID={study.StudyInstanceUID}"
        "&diagnosticQuality=true"
    )


@pytest.mark.parametrize(
    "query",
    [
        "requestType=STUDY&studyUID=1.2.3.4.5",
        "requestType=STUDY&accessionNumber=NOBODY",
        "requestType=PATIENT&patientID=NOBODY%5E%5E%5EX",
    ],
)
async def test_what_nobody_has_is_a_page_without_what_was_asked(
    gateway: Client, query: str
) -> None:
    answer = await gateway.get(f"/iid?{query}", allow_redirects=False)

    assert answer.status == 404
    assert answer.content_type == "text/html"
    text = await answer.text()
    assert "NOBODY" not in text
    assert "1.2.3.4.5" not in text


@pytest.mark.parametrize(
    "query",
    [
        "",
        "requestType=study&studyUID=1.2",
        "requestType=STUDY",
        "requestType=STUDY&studyUID=1.2&accessionNumber=A",
        "requestType=STUDY&studyUID=1.2&studyUID=1.3",
        "requestType=STUDY&studyUID=..%2F..%2Fsystem",
        "requestType=STUDY&accessionNumber=*",
        "requestType=PATIENT",
        "requestType=PATIENT&patientID=*",
        "requestType=PATIENT&patientID=1&lowerDateTime=soon",
        "requestType=PATIENT&patientID=%3Cscript%3Ealert(1)%3C/script%3E&mostRecentResults=x",
    ],
)
async def test_a_bad_request_is_a_page_that_says_so(gateway: Client, query: str) -> None:
    answer = await gateway.get(f"/iid?{query}", allow_redirects=False)

    assert answer.status == 400
    assert answer.content_type == "text/html"
    assert "<script>" not in await answer.text()


async def test_two_patients_are_never_opened_together(
    gateway: Client, samples: tuple[Sample, ...], study: pydicom.Dataset
) -> None:
    headers = [pydicom.dcmread(one.path, stop_before_pixels=True) for one in samples]
    other = next(h for h in headers if h.PatientID != study.PatientID)
    uids = f"{study.StudyInstanceUID},{other.StudyInstanceUID}"

    answer = await gateway.get(f"/iid?requestType=STUDY&studyUID={uids}", allow_redirects=False)

    assert answer.status == 400


@pytest.mark.parametrize(
    "extra",
    [
        "url=https://evil.example.org/",
        "viewer=https://evil.example.org",
        "redirect_uri=//evil.example.org",
        "viewerType=https://evil.example.org/",
        "viewerType=%0d%0aLocation:%20https://evil.example.org",
        "dicom_web=https://evil.example.org",
        "RelayState=javascript:alert(1)",
    ],
)
async def test_nothing_in_the_request_changes_where_it_leads(
    gateway: Client, study: pydicom.Dataset, extra: str
) -> None:
    answer = await gateway.get(
        f"/iid?requestType=STUDY&studyUID={study.StudyInstanceUID}&{extra}", allow_redirects=False
    )

    assert answer.status in {302, 400}
    assert answer.headers.get("Location", "https://viewer.example.org/viewer?").startswith(
        "https://viewer.example.org/viewer?"
    )
    assert "evil" not in answer.headers.get("Location", "")


async def test_without_a_viewer_a_page_says_so_and_shows_the_study(
    aiohttp_client: AiohttpClient, sample_folder: Path, study: pydicom.Dataset
) -> None:
    client = await aiohttp_client(build_app(app_settings(sample_folder, {})))

    answer = await client.get(f"/iid?requestType=STUDY&studyUID={study.StudyInstanceUID}")

    assert answer.status == 200
    text = await answer.text()
    assert "No viewer is configured" in text
    assert f"dicom-web/studies/{study.StudyInstanceUID}/thumbnail" in text
    assert str(study.PatientName) not in text


async def test_a_form_of_another_kind_is_refused(gateway: Client) -> None:
    answer = await gateway.post("/iid", json={"requestType": "STUDY"})

    assert answer.status == 415


async def test_a_field_in_query_and_form_is_given_twice(gateway: Client) -> None:
    answer = await gateway.post(
        "/iid?requestType=STUDY", data={"requestType": "STUDY", "studyUID": "1.2"}
    )

    assert answer.status == 400


@pytest.fixture
async def over_two_archives(aiohttp_client: AiohttpClient, two_archives: TwoArchives) -> Client:
    archives = {
        name: {
            "type": "dicomweb",
            "qido_rs": f"{orthanc.url}/dicom-web",
            "connect_timeout_seconds": 1,
            "timeout_seconds": 2,
        }
        for name, orthanc in (("north", two_archives.north), ("south", two_archives.south))
    }
    chosen = {"server": {"public_url": "https://gw.example.org"}, "archives": archives}
    return await aiohttp_client(build_app(Settings.model_validate(chosen | {"viewers": OHIF})))


async def test_a_study_spread_over_archives_opens_once(
    over_two_archives: Client, two_archives: TwoArchives
) -> None:
    uid = two_archives.split_study

    found = await location(over_two_archives, f"requestType=STUDY&studyUID={uid}")

    assert found.startswith(f"https://viewer.example.org/viewer?StudyInstanceUIDs={uid}&")


async def test_a_silent_archive_is_said_and_what_it_may_hold_is_not_denied(
    over_two_archives: Client, two_archives: TwoArchives
) -> None:
    two_archives.south.kill()
    uids = (two_archives.shared_study, min(two_archives.south_studies))

    known, unknown = [
        await over_two_archives.get(f"/iid?requestType=STUDY&studyUID={uid}", allow_redirects=False)
        for uid in uids
    ]

    assert known.status == 302
    assert "south" in known.headers["Warning"]
    assert unknown.status == 503


@pytest.mark.parametrize(
    ("scope", "by_uid", "by_others"),
    [("system/ImagingStudy.r", 302, 403), ("system/ImagingStudy.rs", 302, 302)],
)
async def test_reading_lets_open_what_is_named_and_searching_lets_find(
    aiohttp_client: AiohttpClient,
    sample_folder: Path,
    study: pydicom.Dataset,
    tmp_path: Path,
    scope: str,
    by_uid: int,
    by_others: int,
) -> None:
    settings = app_settings(sample_folder, OHIF, **scoped(tmp_path))
    client: Client = await aiohttp_client(build_app(settings))
    expected = {
        f"requestType=STUDY&studyUID={study.StudyInstanceUID}": by_uid,
        f"requestType=STUDY&accessionNumber={quote(study.AccessionNumber)}": by_others,
        f"requestType=PATIENT&patientID={quote(study.PatientID)}": by_others,
    }
    caller = bearer(scope=scope)
    for query, status in expected.items():
        answer = await client.get(f"/iid?{query}", headers=caller, allow_redirects=False)
        assert answer.status == status
        form = dict(parse_qsl(query))
        answer = await client.post("/iid", data=form, headers=caller, allow_redirects=False)
        assert answer.status == status
