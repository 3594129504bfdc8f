"""FHIR resources on their way out: validators, preconditions, encodings."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path

import pytest
from pytest_aiohttp import AiohttpClient

from gateway import demo
from gateway.app import build_app
from gateway.config import DicomwebArchive
from gateway.rules.preconditions import last_modified
from tests.routes.test_fhir import STRICT, STUDY, each_version, json, timed
from tests.servers import NOBODY
from tests.standing import Client

ENDPOINT = "/fhir/r4/Endpoint/gateway-dicom-wado-rs"
READ = f"/fhir/r4/ImagingStudy/{STUDY}"
PAST = "Thu, 01 Jan 1998 00:00:00 GMT"


@pytest.fixture
def client(demo_client: Client) -> Client:
    return demo_client


def later(written: str, seconds: int = 2) -> str:
    return format_datetime(parsedate_to_datetime(written) + timedelta(seconds=seconds), usegmt=True)


@each_version
async def test_read_tells_when_its_content_changed_and_when_not(
    client: Client, version: str
) -> None:
    url = f"/fhir/{version}/ImagingStudy/{STUDY}"
    read = await timed(client, url)
    resource, told = await json(read), read.headers["Last-Modified"]
    changed = datetime.fromisoformat(resource["meta"]["lastUpdated"])
    assert timedelta() <= parsedate_to_datetime(told) - changed < timedelta(seconds=1)
    assert parsedate_to_datetime(told) <= datetime.now(UTC)
    for method, since in itertools.product(("GET", "HEAD"), (told, later(told))):
        known = await client.request(method, url, headers={"If-Modified-Since": since})
        assert (known.status, await known.read()) == (304, b"")
        assert known.headers["ETag"] == read.headers["ETag"]
        assert known.headers["Vary"] == "Accept, Accept-Encoding"
        anew = await client.request(method, url, headers={"If-Modified-Since": PAST})
        assert anew.status == 200


async def test_time_told_is_that_of_the_content_however_it_is_asked_for(client: Client) -> None:
    """From the first read on: there is none while it is to come, and then the one that stays."""
    told: list[str] = []
    async with asyncio.timeout(10):
        while len(told) < 20:
            begun = datetime.now(UTC)
            accept = f"application/fhir+json; q=0.{len(told) % 3 + 1}"
            read = await client.get(READ, headers={"Accept": accept})
            changed = datetime.fromisoformat((await json(read))["meta"]["lastUpdated"])
            told += read.headers.getall("Last-Modified", [])
            if not told:
                assert last_modified(changed, begun) is None
                await asyncio.sleep(0.02)
    (one,) = set(told)
    assert parsedate_to_datetime(one) == last_modified(changed, datetime.now(UTC))
    assert (await client.get(READ, headers={"If-Modified-Since": one})).status == 304


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("conditions", "status"),
    [
        ({"If-Match": "{tag}"}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": 'W/"other"'}, 412),
        ({"If-Unmodified-Since": PAST}, 412),
        ({"If-Unmodified-Since": "{later}"}, 200),
        ({"If-Unmodified-Since": "yesterday"}, 200),
        ({"If-Modified-Since": "yesterday"}, 200),
        ({"If-None-Match": 'W/"other"', "If-Modified-Since": "{later}"}, 200),
        ({"If-None-Match": "{tag}", "If-Modified-Since": PAST}, 304),
        ({"If-Match": 'W/"other"', "If-None-Match": "{tag}"}, 412),
        ({"If-Match": "{tag}", "If-None-Match": "{tag}"}, 304),
    ],
)
async def test_preconditions_of_a_read(
    client: Client, conditions: dict[str, str], status: int, method: str
) -> None:
    read = await timed(client, READ)
    told = {"tag": read.headers["ETag"], "later": later(read.headers["Last-Modified"])}
    headers = {name: value.format(**told) for name, value in conditions.items()}
    answer = await client.request(method, READ, headers=headers)
    assert answer.status == status
    if status == 412 and method == "GET":
        outcome = await json(answer, 412)
        assert outcome["issue"][0]["code"] == "conflict"


async def test_endpoint_has_a_version_and_no_time(client: Client) -> None:
    read = await client.get(ENDPOINT)
    assert list((await json(read))["meta"]) == ["versionId"]
    assert "Last-Modified" not in read.headers
    tag = read.headers["ETag"]
    assert (await client.get(ENDPOINT, headers={"If-Match": tag})).status == 200
    await json(await client.get(ENDPOINT, headers={"If-Match": 'W/"other"'}), 412)
    assert (await client.get(ENDPOINT, headers={"If-None-Match": tag})).status == 304
    late = {"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}
    assert (await client.get(ENDPOINT, headers=late)).status == 200


async def test_part_of_a_resource_has_its_time_and_no_version(client: Client) -> None:
    whole = await json(await client.get(READ))
    part = await timed(client, f"{READ}?_elements=started")
    assert (await json(part))["meta"]["lastUpdated"] == whole["meta"]["lastUpdated"]
    late = {"If-Modified-Since": later(part.headers["Last-Modified"])}
    assert (await client.get(f"{READ}?_elements=started", headers=late)).status == 304
    named = {"If-Match": f'W/"{whole["meta"]["versionId"]}"'}
    await json(await client.get(f"{READ}?_elements=started", headers=named), 412)


async def test_what_an_archive_is_missing_from_is_never_taken_for_unchanged(
    aiohttp_client: AiohttpClient, sample_folder: Path
) -> None:
    settings = demo.settings(sample_folder, 8080)
    address = f"http://127.0.0.1:{NOBODY.number}/dicom-web"
    silent = DicomwebArchive(type="dicomweb", qido_rs=address)
    archives = {**settings.archives, "south": silent}
    client: Client = await aiohttp_client(
        build_app(settings.model_copy(update={"archives": archives}))
    )
    late = {"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}
    answer = await client.get(READ, headers=late)
    assert answer.status == 200
    assert "Last-Modified" not in answer.headers
    assert "south" in answer.headers["Warning"]


@pytest.mark.parametrize("path", [READ, "/fhir/r5/ImagingStudy", "/fhir/r6/metadata", ENDPOINT])
@pytest.mark.parametrize(
    ("accepted", "coding"),
    [("gzip, deflate, br, zstd", "zstd"), ("gzip", "gzip"), ("br", None), ("identity", None)],
)
async def test_answers_are_compressed_as_their_caller_likes_best(
    client: Client, path: str, accepted: str, coding: str | None
) -> None:
    packed = await client.get(path, headers={"Accept-Encoding": accepted})
    assert packed.headers.get("Content-Encoding") == coding
    assert packed.headers["Vary"] == "Accept, Accept-Encoding"
    assert (await json(packed))["resourceType"]
    head = await client.head(path, headers={"Accept-Encoding": accepted})
    assert head.headers.get("Content-Encoding") == coding
    assert (head.status, await head.read()) == (200, b"")


async def test_nothing_is_sent_in_a_coding_that_is_refused(client: Client) -> None:
    refused = {"Accept-Encoding": "identity;q=0, br"}
    outcome = await json(await client.get(READ, headers=refused), 406)
    assert outcome["issue"][0]["code"] == "not-supported"


@pytest.mark.parametrize("accepted", ["zstd", "gzip"])
async def test_objects_and_pictures_go_out_as_they_are(client: Client, accepted: str) -> None:
    headers = {"Accept-Encoding": accepted}
    for path in (f"/dicom-web/studies/{STUDY}", f"/dicom-web/studies/{STUDY}/thumbnail"):
        answer = await client.get(path, headers=headers)
        assert answer.status == 200
        assert "Content-Encoding" not in answer.headers
        await answer.read()


@pytest.mark.parametrize("prefer", ["return=minimal", "return=representation", "respond-async"])
async def test_other_preferences_are_ignored(client: Client, prefer: str) -> None:
    for path in (READ, "/fhir/r4/ImagingStudy?_count=1"):
        answer = await client.get(path, headers={"Prefer": prefer})
        assert (await json(answer))["resourceType"]
        assert "Preference-Applied" not in answer.headers


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/fhir+json;charset=utf-8", 200),
        ('application/fhir+json; fhirVersion="4.0"', 200),
        ("APPLICATION/JSON", 200),
        ("text/html, application/xhtml+xml, application/xml;q=0.9, */*;q=0.8", 200),
        ("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", 200),
        ("application/*;q=0.1", 200),
        ("application/fhir+xml, application/fhir+json;q=0.1", 200),
        ("application/fhir+json;q=0", 406),
        ("application/fhir+json;q=0, */*", 406),
        ("application/fhir+xml", 406),
        ("text/html", 406),
        ("nonsense", 406),
    ],
)
async def test_unusual_forms_of_accept(client: Client, accept: str, status: int) -> None:
    for path in (READ, "/fhir/r4/ImagingStudy?_count=1", "/fhir/r4/metadata", ENDPOINT):
        answer = await client.get(path, headers={"Accept": accept} | STRICT)
        assert (await json(answer, status))["resourceType"]
