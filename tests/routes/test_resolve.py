from __future__ import annotations

import io
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pytest_aiohttp import AiohttpClient

from gateway.app import build_app
from gateway.config import Settings
from tests.samples import Sample, TwoArchives
from tests.standing import Client, Standing

PUBLIC = "https://gw.example.org/images"
VIEWERS = {"v": {"type": "template", "title": "V", "url": "https://v.example.org/{study_uid}"}}


def settings(archives: Mapping[str, object], **more: Any) -> Settings:
    return Settings.model_validate(
        {"server": {"public_url": PUBLIC}, "archives": archives, "viewers": VIEWERS, **more}
    )


@pytest.fixture(scope="module")
def standing(sample_folder: Path) -> Iterator[Standing]:
    folder = {"type": "folder", "path": str(sample_folder)}
    with Standing(build_app(settings({"samples": folder}))) as one:
        yield one


@pytest.fixture
async def gateway(standing: Standing) -> AsyncIterator[Client]:
    async with standing.client() as client:
        yield client


def path_of(sample: Sample) -> str:
    return (
        f"/resolve/studies/{sample.study_uid}/series/{sample.series_uid}"
        f"/instances/{sample.instance_uid}"
    )


async def test_a_study_and_each_of_its_series_are_resolved(
    gateway: Client, samples: tuple[Sample, ...]
) -> None:
    study = samples[0].study_uid
    series = {one.series_uid for one in samples if one.study_uid == study}

    answer = await gateway.get(f"/resolve/studies/{study}")

    assert answer.status == 200
    assert answer.content_type == "application/json"
    found = await answer.json()
    assert found["study"] == study
    assert found["warnings"] == []
    assert {one["series"] for one in found["targets"]} == {None, *series}
    whole = found["targets"][0]
    assert whole["level"] == "study"
    assert whole["connection_type"] == "dicom-wado-rs"
    assert whole["decided_by"] == "study"
    assert whole["url"] == f"{PUBLIC}/dicom-web/studies/{study}"


async def test_an_instance_is_resolved_for_the_types_asked(
    gateway: Client, samples: tuple[Sample, ...]
) -> None:
    one = samples[0]
    query = [("type", "dicom-wado-uri"), ("type", "dicom-wado-rs")]

    answer = await gateway.get(path_of(one), params=query)

    targets = (await answer.json())["targets"]
    assert [t["connection_type"] for t in targets] == ["dicom-wado-uri", "dicom-wado-rs"]
    assert targets[0]["url"] == (
        f"{PUBLIC}/wado?requestType=WADO&studyUID={one.study_uid}"
        f"&seriesUID={one.series_uid}&objectUID={one.instance_uid}"
    )


async def test_rendering_parameters_are_appended(
    gateway: Client, samples: tuple[Sample, ...]
) -> None:
    query = {"resource": "rendered", "type": "dicom-wado-rs", "viewport": "400,400,0,0,1000,3000"}

    answer = await gateway.get(path_of(samples[0]), params=query)

    url = (await answer.json())["targets"][0]["url"]
    assert url.endswith(f"{samples[0].instance_uid}/rendered?viewport=400,400,0,0,1000,3000")


async def test_a_redirect_leads_to_the_first_url(
    gateway: Client, samples: tuple[Sample, ...]
) -> None:
    query = {"redirect": "true", "resource": "thumbnail", "type": "dicom-wado-rs"}
    study = samples[0].study_uid

    answer = await gateway.get(f"/resolve/studies/{study}", params=query, allow_redirects=False)

    assert answer.status == 302
    assert answer.headers["Location"] == f"{PUBLIC}/dicom-web/studies/{study}/thumbnail"
    assert answer.headers["Cache-Control"] == "no-store"


async def test_a_redirect_without_a_url_is_not_found(
    gateway: Client, samples: tuple[Sample, ...]
) -> None:
    query = {"redirect": "true", "type": "dicom-wado-uri"}

    answer = await gateway.get(f"/resolve/studies/{samples[0].study_uid}", params=query)

    assert answer.status == 404


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("colour=red", "colour"),
        ("type=x", "type"),
        ("resource=dicom&resource=dicom", "resource"),
        ("resource=rendered&viewport=0,0", "viewport"),
        ("redirect=1", "redirect"),
        ("series=1.2", "series"),
    ],
)
async def test_a_bad_query_is_refused_by_name(gateway: Client, query: str, parameter: str) -> None:
    answer = await gateway.get(f"/resolve/studies/1.2.3?{query}")

    assert answer.status == 400
    assert (await answer.json())["parameter"] == parameter


async def test_what_is_not_in_the_study_is_not_found(
    gateway: Client, samples: tuple[Sample, ...]
) -> None:
    one = samples[0]
    study = f"/resolve/studies/{one.study_uid}"

    for path in (
        "/resolve/studies/1.2.3.4.5",
        f"{study}/series/1.2.3.4.5",
        f"{study}/series/{one.series_uid}/instances/1.2.3.4.5",
        f"{path_of(one)}/frames/99999",
    ):
        assert (await gateway.get(path)).status == 404, path


@pytest.mark.parametrize("uid", ["..%2f..%2fsystem", "1.2%00", "1.2%0d%0a", "x", "1" * 65, "1.2;3"])
async def test_what_is_not_a_uid_is_refused(gateway: Client, uid: str) -> None:
    assert (await gateway.get(f"/resolve/studies/{uid}")).status in {400, 404}


@pytest.mark.parametrize("frames", ["0", "1,,2", "a", "-1", "1,0"])
async def test_frames_are_counted_from_one(
    gateway: Client, samples: tuple[Sample, ...], frames: str
) -> None:
    assert (await gateway.get(f"{path_of(samples[0])}/frames/{frames}")).status == 400


def posted(**more: Any) -> dict[str, Any]:
    return {
        "resourceType": "ImagingStudy",
        "identifier": [{"system": "urn:dicom:uid", "value": "urn:oid:1.2.3"}],
        "contained": [
            {
                "resourceType": "Endpoint",
                "id": "w",
                "status": "active",
                "connectionType": {
                    "system": "http://terminology.hl7.org/CodeSystem/endpoint-connection-type",
                    "code": "dicom-wado-rs",
                },
                "address": "https://pacs.example.org/wado-rs",
            }
        ],
        "endpoint": [{"reference": "#w"}],
        "series": [{"uid": "1.2.3.1", "endpoint": [{"reference": "Endpoint/elsewhere"}]}],
        **more,
    }


async def test_a_posted_study_is_resolved_from_its_own_words(gateway: Client) -> None:
    query = {"type": "dicom-wado-rs", "series": "1.2.3.1", "resource": "metadata"}

    answer = await gateway.post("/resolve", json=posted(), params=query)

    assert answer.status == 200
    (target,) = (await answer.json())["targets"]
    assert target["url"] == (
        "https://pacs.example.org/wado-rs/studies/1.2.3/series/1.2.3.1/metadata"
    )
    assert target["decided_by"] == "study"
    assert len(target["warnings"]) == 1


async def test_a_posted_study_lists_itself_and_its_series(gateway: Client) -> None:
    headers = {"Content-Type": "application/fhir+json; fhirVersion=4.0"}

    answer = await gateway.post(
        "/resolve?type=dicom-wado-rs", data=b'{"resourceType": "Bundle"}', headers=headers
    )
    listed = await gateway.post("/resolve?type=dicom-wado-rs", json=posted())

    assert answer.status == 400
    assert [t["series"] for t in (await listed.json())["targets"]] == [None, "1.2.3.1"]


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{}", "text/plain", 415),
        (b"{}", "application/fhir+xml", 415),
        (b"{", "application/json", 400),
        (b"", "application/json", 400),
        (b'{"a": "\xff"}', "application/json", 400),
        (b"[" * 100000, "application/json", 400),
        (b"{}", "application/json", 400),
        (b"null", "application/fhir+json", 400),
        (b"[]", "application/json", 400),
    ],
)
async def test_a_body_that_is_no_study_is_refused(
    gateway: Client, body: bytes, content_type: str, status: int
) -> None:
    answer = await gateway.post("/resolve", data=body, headers={"Content-Type": content_type})

    assert answer.status == status


async def test_a_body_too_large_is_refused(gateway: Client) -> None:
    headers = {"Content-Type": "application/json"}

    answer = await gateway.post("/resolve", data=io.BytesIO(b" " * (17 << 20)), headers=headers)

    assert answer.status == 413


async def test_a_compressed_body_is_refused(gateway: Client) -> None:
    answer = await gateway.post("/resolve", json=posted(), compress="gzip")

    assert answer.status == 415


async def test_a_posted_body_is_never_redirected_to(gateway: Client) -> None:
    assert (await gateway.post("/resolve?redirect=true", json=posted())).status == 400


@pytest.fixture
async def direct(aiohttp_client: AiohttpClient, two_archives: TwoArchives) -> Client:
    archives = {
        name: {
            "type": "dicomweb",
            "qido_rs": f"{orthanc.url}/dicom-web",
            "publish": {"dicom-wado-rs": f"https://{name}.example.org/rs"},
            "connect_timeout_seconds": 1,
            "timeout_seconds": 2,
        }
        for name, orthanc in (("north", two_archives.north), ("south", two_archives.south))
    }
    return await aiohttp_client(build_app(settings(archives, endpoints={"expose": "direct"})))


async def test_a_split_study_is_resolved_series_by_series(
    direct: Client, two_archives: TwoArchives
) -> None:
    study = two_archives.split_study

    answer = await direct.get(f"/resolve/studies/{study}?type=dicom-wado-rs")

    found = {one["series"]: one for one in (await answer.json())["targets"]}
    whole = found.pop(None)
    assert whole["url"] is None
    assert whole["warnings"]
    north = {uid for uid, one in found.items() if one["endpoint"]["id"] == "north-dicom-wado-rs"}
    assert north == two_archives.north_series
    for uid, one in found.items():
        name = "north" if uid in north else "south"
        assert one["decided_by"] == "series"
        assert one["url"] == f"https://{name}.example.org/rs/studies/{study}/series/{uid}"


async def test_a_study_held_twice_names_the_other_archive_as_alternative(
    direct: Client, two_archives: TwoArchives
) -> None:
    answer = await direct.get(f"/resolve/studies/{two_archives.shared_study}?type=dicom-wado-rs")

    whole = (await answer.json())["targets"][0]
    assert whole["endpoint"]["id"] == "north-dicom-wado-rs"
    assert [a["endpoint"]["id"] for a in whole["alternatives"]] == ["south-dicom-wado-rs"]


async def test_a_silent_archive_is_named(direct: Client, two_archives: TwoArchives) -> None:
    two_archives.south.kill()

    answer = await direct.get(f"/resolve/studies/{two_archives.shared_study}?type=dicom-wado-rs")

    assert answer.status == 200
    assert any("south" in warning for warning in (await answer.json())["warnings"])


async def test_a_series_on_a_silent_archive_is_not_said_to_be_absent(
    direct: Client, two_archives: TwoArchives
) -> None:
    two_archives.south.kill()
    series = min(two_archives.south_series)

    answer = await direct.get(f"/resolve/studies/{two_archives.split_study}/series/{series}")

    assert answer.status == 503
