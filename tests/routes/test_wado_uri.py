"""`/wado`: one instance by its three UIDs."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pytest_aiohttp import AiohttpClient

from gateway.app import build_app
from gateway.config import Settings
from tests import wire
from tests.doubles import Double, Held
from tests.fault_archive import Answer, FaultArchive, Seen
from tests.samples import Sample
from tests.servers import Orthanc
from tests.standing import Client

ONE = Held(study="1.2.3", series="1.2.3.1", instance="1.2.3.1.1")
OTHER = Held(study="1.2.4", series="1.2.4.1", instance="1.2.4.1.1")
BASE = "/wado?requestType=WADO&studyUID=1.2.3&seriesUID=1.2.3.1&objectUID=1.2.3.1.1"
DICOM = f"{BASE}&contentType=application/dicom"


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
        "region=0,0,2,1",
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


@pytest.fixture
async def samples_gateway(aiohttp_client: AiohttpClient, sample_folder: Path) -> Client:
    archives = {"samples": {"type": "folder", "path": str(sample_folder)}}
    return await aiohttp_client(build_app(Settings.model_validate({"archives": archives})))


def uri(sample: Sample, **parameters: str) -> str:
    named = {
        "studyUID": sample.study_uid,
        "seriesUID": sample.series_uid,
        "objectUID": sample.instance_uid,
    }
    query = "&".join(f"{n}={v}" for n, v in (named | parameters).items())
    return f"/wado?requestType=WADO&{query}"


def rendered(sample: Sample) -> str:
    return (
        f"/dicom-web/studies/{sample.study_uid}/series/{sample.series_uid}"
        f"/instances/{sample.instance_uid}/rendered"
    )


async def pixels(client: Client, path: str) -> np.ndarray[Any, Any]:
    answer = await client.get(path)
    assert answer.status == 200, await answer.text()
    with Image.open(io.BytesIO(await answer.read())) as image:
        return np.asarray(image)


async def test_a_region_is_that_part_of_the_image(
    samples_gateway: Client, samples: tuple[Sample, ...]
) -> None:
    ct = next(s for s in samples if s.modality == "CT")
    png = {"contentType": "image/png", "windowCenter": "40", "windowWidth": "400"}
    whole = await pixels(samples_gateway, uri(ct, **png))
    height, width = whole.shape
    part = await pixels(samples_gateway, uri(ct, **png, region="0.25,0.5,0.75,1"))
    assert (part == whole[height // 2 :, width // 4 : 3 * width // 4]).all()
    small = await pixels(samples_gateway, uri(ct, **png, region="0,0,1,0.5", columns="32"))
    assert small.shape == (16, 32)


async def test_a_document_is_rendered_as_its_pdf_by_both_services(
    samples_gateway: Client, samples: tuple[Sample, ...]
) -> None:
    document = next(s for s in samples if s.modality == "DOC")
    browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
    for path, accept in (
        (uri(document, contentType="application/pdf"), "*/*"),
        (uri(document, contentType="image/jpeg;q=0.5,application/pdf;q=0.8"), "*/*"),
        (uri(document), "*/*"),
        (rendered(document), "application/pdf"),
        (rendered(document), browser),
    ):
        answer = await samples_gateway.get(path, headers={"Accept": accept})
        assert answer.status == 200
        assert answer.content_type == "application/pdf"
        assert (await answer.read()).startswith(b"%PDF-")
        head = await samples_gateway.head(path, headers={"Accept": accept})
        assert (head.status, head.content_type) == (200, "application/pdf")
    for refused in (uri(document, contentType="image/png"), uri(document, contentType="text/html")):
        assert (await samples_gateway.get(refused)).status == 406
    scaled = await samples_gateway.get(f"{rendered(document)}?viewport=10,10")
    assert scaled.status == 400


async def test_a_report_is_rendered_as_text_that_runs_nothing(
    samples_gateway: Client, samples: tuple[Sample, ...]
) -> None:
    report = next(s for s in samples if s.modality == "SR")
    plain = await samples_gateway.get(uri(report, contentType="text/plain"))
    assert plain.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert "Conclusion: No sign of disease" in await plain.text()
    page = await samples_gateway.get(rendered(report))
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "sandbox" in page.headers["Content-Security-Policy"]
    assert (await page.text()).startswith("<!doctype html>")


async def test_what_shows_nothing_comes_as_it_is_unless_a_type_is_named(
    samples_gateway: Client, samples: tuple[Sample, ...]
) -> None:
    plan = next(s for s in samples if s.modality == "RTPLAN")
    answer = await samples_gateway.get(uri(plan))
    assert answer.content_type == "application/dicom"
    assert await answer.read() == plan.path.read_bytes()
    assert (await samples_gateway.get(uri(plan, contentType="image/jpeg"))).status == 406
    ct = next(s for s in samples if s.modality == "CT")
    for kind in ("text/html", "application/pdf"):
        assert (await samples_gateway.get(uri(ct, contentType=kind))).status == 406
        refused = await samples_gateway.get(rendered(ct), headers={"Accept": kind})
        assert refused.status == 406


def doing(base: str, *options: str) -> Settings:
    own = {"type": "dicomweb", "qido_rs": base, "wado_uri": f"{base}/wado"}
    return Settings.model_validate({"archives": {"north": own | {"wado_uri_options": options}}})


async def test_what_only_the_archive_does_is_passed_on_to_it(
    aiohttp_client: AiohttpClient, fault_archive: FaultArchive
) -> None:
    """A JPEG labelled as PNG, as Orthanc does, is told for what it is."""
    state = Held(study="1.2.3", series="1.2.3.2", instance="1.2.3.2.1", modality="PR")
    Double(fault_archive, [ONE, state])
    picture = io.BytesIO()
    Image.new("L", (8, 8), 99).save(picture, "JPEG")

    def answer(seen: Seen) -> Answer:
        if "contentType=application/dicom" in seen.path:
            return Answer(body=ONE.file, content_type="application/dicom")
        return Answer(body=picture.getvalue(), content_type="image/png")

    fault_archive.on("/wado", answer)
    gateway = await aiohttp_client(
        build_app(doing(fault_archive.url, "anonymize", "annotation", "presentation"))
    )
    shown = await gateway.get(
        f"{BASE}&annotation=patient&presentationSeriesUID=1.2.3.2&presentationUID=1.2.3.2.1"
    )
    assert shown.status == 200
    assert shown.content_type == "image/jpeg"
    assert await shown.read() == picture.getvalue()
    asked = fault_archive.requests[-1].path
    assert "annotation=patient&presentationSeriesUID=1.2.3.2&presentationUID=1.2.3.2.1" in asked
    anonymous = await gateway.get(f"{DICOM}&anonymize=yes")
    assert (anonymous.content_type, await anonymous.read()) == ("application/dicom", ONE.file)
    assert "anonymize=yes" in fault_archive.requests[-1].path
    absent = await gateway.get(f"{BASE}&presentationSeriesUID=1.2.3.2&presentationUID=1.2.3.9")
    assert absent.status == 404


@pytest.mark.parametrize(
    "more", ["anonymize=yes&contentType=application/dicom", "annotation=patient"]
)
async def test_what_no_archive_does_is_refused_by_name(
    aiohttp_client: AiohttpClient, fault_archive: FaultArchive, more: str
) -> None:
    gateway = await aiohttp_client(build_app(doing(fault_archive.url, "presentation")))
    answer = await gateway.get(f"{BASE}&{more}")
    assert answer.status == 400
    problem = await answer.json(content_type=None)
    assert problem["parameter"] == more.partition("=")[0]
    assert problem["code"] == "not-supported"
    assert fault_archive.requests == []


async def test_an_archive_that_does_not_do_it_is_not_asked(
    aiohttp_client: AiohttpClient, fault_archive: FaultArchive
) -> None:
    """Another archive does, but does not hold the object."""
    Double(fault_archive, [ONE])
    async with FaultArchive() as other:
        Double(other, [OTHER])
        own = {"type": "dicomweb", "qido_rs": fault_archive.url}
        options = {"wado_uri": f"{other.url}/wado", "wado_uri_options": ["anonymize"]}
        south = {"type": "dicomweb", "qido_rs": other.url} | options
        archives = {"north": own, "south": south}
        gateway = await aiohttp_client(build_app(Settings.model_validate({"archives": archives})))
        assert (await gateway.get(f"{DICOM}&anonymize=yes")).status == 406
        assert not any(seen.route == "/wado" for seen in other.requests)


async def test_an_instance_is_given_by_wado_uri_where_wado_rs_fails(
    aiohttp_client: AiohttpClient, fault_archive: FaultArchive
) -> None:
    Double(fault_archive, [ONE])
    fault_archive.on("/wado", Answer(body=ONE.file, content_type="application/dicom"))
    gateway = await aiohttp_client(build_app(doing(fault_archive.url)))
    for status in (404, 500):
        fault_archive.on(ONE.path, Answer(status=status))
        answer = await gateway.get(f"/dicom-web{ONE.path}", headers={"Accept": "application/dicom"})
        assert (answer.status, await answer.read()) == (200, ONE.file)
        assert (await gateway.get(DICOM)).status == 200
