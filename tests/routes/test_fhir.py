"""The FHIR facade as clients meet it, over the demonstration's studies."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import ClientResponse

from gateway import demo
from gateway.rules.fhir_versions import VERSIONS
from tests import fhir_oracles, fhir_structures
from tests.standing import Client

STUDY = f"{demo.UID_ROOT}.1"

each_version = pytest.mark.parametrize("version", VERSIONS)


@pytest.fixture
def client(demo_client: Client) -> Client:
    return demo_client


async def json(answer: ClientResponse, status: int = 200) -> dict[str, Any]:
    body: dict[str, Any] = await answer.json(content_type=None)
    assert answer.status == status, body
    assert answer.content_type == "application/fhir+json"
    return body


@each_version
async def test_study_is_read_in_every_version(client: Client, version: str) -> None:
    answer = await client.get(f"/fhir/{version}/ImagingStudy/{STUDY}")
    resource = await json(answer)
    assert answer.headers["Content-Type"] == VERSIONS[version].content_type
    assert answer.headers["Vary"] == "Accept, Accept-Encoding"
    assert answer.headers["ETag"] == f'W/"{resource["meta"]["versionId"]}"'
    assert resource["id"] == STUDY
    assert resource["started"] == "2024-03-12T09:14:05+09:00"
    assert resource["numberOfSeries"] == len(resource["series"])
    fhir_oracles.validate(resource, version)
    assert not fhir_oracles.broken_invariants(resource, version)
    assert not fhir_oracles.dangling(resource)


@each_version
async def test_every_endpoint_that_a_study_names_can_be_read(client: Client, version: str) -> None:
    study = await json(await client.get(f"/fhir/{version}/ImagingStudy/{STUDY}"))
    assert study["endpoint"]
    for reference in study["endpoint"]:
        endpoint = await json(await client.get(f"/fhir/{version}/{reference['reference']}"))
        assert endpoint["address"].startswith("http://127.0.0.1:8080/")
        fhir_oracles.validate(endpoint, version)


async def test_unchanged_study_is_not_sent_again(client: Client) -> None:
    url = f"/fhir/r5/ImagingStudy/{STUDY}"
    tag = (await client.get(url)).headers["ETag"]
    answer = await client.get(url, headers={"If-None-Match": tag})
    assert (answer.status, await answer.read()) == (304, b"")
    assert answer.headers["ETag"] == tag
    other = await client.get(f"/fhir/r4/ImagingStudy/{STUDY}", headers={"If-None-Match": tag})
    assert other.status == 200


async def test_head_has_the_headers_of_get_without_the_body(client: Client) -> None:
    url = f"/fhir/r4/ImagingStudy/{STUDY}"
    got, head = await client.get(url), await client.head(url)
    assert (head.status, await head.read()) == (200, b"")
    for name in ("Content-Type", "Content-Length", "ETag", "Vary"):
        assert head.headers[name] == got.headers[name]


@pytest.mark.parametrize(
    "path",
    [
        "r4/ImagingStudy/1.2.3.4.5",
        "r4/ImagingStudy/not-a-uid",
        "r4/ImagingStudy/" + "1" * 65,
        "r5/ImagingStudy/%00",
        "r4/Endpoint/other",
        "r4/Observation/1",
        "r4/Observation",
        "r4",
        "r3/ImagingStudy",
        f"r4/ImagingStudy/{STUDY}/_history/1",
    ],
)
async def test_what_is_not_there_is_an_operation_outcome(client: Client, path: str) -> None:
    outcome = await json(await client.get(f"/fhir/{path}"), 404)
    assert outcome["resourceType"] == "OperationOutcome"
    assert outcome["issue"][0]["code"] == "not-found"


async def test_what_cannot_be_done_is_an_operation_outcome(client: Client) -> None:
    answer = await client.put(f"/fhir/r4/ImagingStudy/{STUDY}", json={})
    assert (await json(answer, 405))["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize(
    ("base", "accept", "number"),
    [
        ("/fhir", "*/*", "4.0"),
        ("/fhir", "application/fhir+json; fhirVersion=5.0", "5.0"),
        ("/fhir/r4b", "application/json", "4.3"),
        ("/fhir", "application/fhir+json;fhirVersion=6.0", "6.0"),
    ],
)
async def test_version_is_negotiated(client: Client, base: str, accept: str, number: str) -> None:
    answer = await client.get(f"{base}/ImagingStudy/{STUDY}", headers={"Accept": accept})
    assert answer.status == 200
    assert answer.headers["Content-Type"].endswith(f"fhirVersion={number}")


@pytest.mark.parametrize(
    ("path", "accept"),
    [
        ("/fhir/r4/metadata", "application/fhir+xml"),
        ("/fhir/r4/metadata?_format=xml", "*/*"),
        ("/fhir/r4/metadata", "application/fhir+json; fhirVersion=5.0"),
        ("/fhir/metadata", "application/fhir+json; fhirVersion=1.0"),
    ],
)
async def test_other_formats_and_versions_are_not_acceptable(
    client: Client, path: str, accept: str
) -> None:
    outcome = await json(await client.get(path, headers={"Accept": accept}), 406)
    assert outcome["issue"][0]["code"] == "not-supported"


async def test_format_beats_accept_and_pretty_is_indented(client: Client) -> None:
    answer = await client.get(
        "/fhir/r4/metadata?_format=json&_pretty=true", headers={"Accept": "application/fhir+xml"}
    )
    assert answer.status == 200
    assert (await answer.text()).startswith('{\n  "resourceType"')


IDS = {"ImagingStudy": STUDY, "Endpoint": "gateway-dicom-wado-rs", "Patient": "70011"}
STRICT = {"Prefer": "handling=strict"}


@each_version
async def test_every_promise_of_the_capability_statement_is_kept(
    client: Client, version: str
) -> None:
    statement = await json(await client.get(f"/fhir/{version}/metadata"))
    fhir_oracles.validate(statement, version)
    assert statement["implementation"]["url"].endswith(f"/fhir/{version}")
    for media_type in statement["format"]:
        asked = {"_format": media_type}
        await json(await client.get(f"/fhir/{version}/metadata", params=asked))
    for resource in statement["rest"][0]["resource"]:
        await keeps_its_interactions(client, f"/fhir/{version}/{resource['type']}", resource)
        await keeps_its_parameters(client, f"/fhir/{version}/{resource['type']}", resource)
    compartment = f"/fhir/{version}/Patient/{IDS['Patient']}/ImagingStudy"
    (patients,) = statement["rest"][0]["compartment"]
    assert patients == "http://hl7.org/fhir/CompartmentDefinition/patient"
    assert (await json(await client.get(compartment, headers=STRICT)))["total"] > 0


async def timed(client: Client, url: str) -> ClientResponse:
    """The answer to a read once the second is over in which its study was noticed."""
    async with asyncio.timeout(10):
        while True:
            answer = await client.get(url)
            if "Last-Modified" in answer.headers:
                return answer
            await asyncio.sleep(0.02)


async def keeps_its_interactions(client: Client, url: str, promised: dict[str, Any]) -> None:
    assert [one["code"] for one in promised["interaction"]] == ["read", "search-type"]
    is_timed = promised["conditionalRead"] == "full-support"
    asked = f"{url}/{IDS[promised['type']]}"
    read = await timed(client, asked) if is_timed else await client.get(asked)
    resource = await json(read)
    assert promised["versioning"] == "versioned"
    assert read.headers["ETag"] == f'W/"{resource["meta"]["versionId"]}"'
    known = {"If-None-Match": read.headers["ETag"]}
    again = await client.get(f"{url}/{resource['id']}", headers=known)
    assert again.status == 304
    late = {"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}
    again = await client.get(f"{url}/{resource['id']}", headers=late)
    assert again.status == (304 if is_timed else 200)
    assert ("Last-Modified" in read.headers) is is_timed
    found = await json(await client.post(f"{url}/_search", data={"_id": resource["id"]}))
    assert [entry["resource"] for entry in found["entry"]] == [resource]


async def keeps_its_parameters(client: Client, url: str, promised: dict[str, Any]) -> None:
    beside = {"_id": IDS[promised["type"]]}
    for parameter in promised["searchParam"]:
        value = "2024-01-01" if parameter["type"] == "date" else "x"
        for modifier in ("", ":missing"):
            asked = {parameter["name"] + modifier: "true" if modifier else value}
            answer = await client.get(url, params=beside | asked, headers=STRICT)
            assert answer.status == 200, parameter
            assert answer.headers["Preference-Applied"] == "handling=strict"
        refused = await client.get(url, params=beside | {f"{parameter['name']}:x": value})
        assert refused.status == 400
    included = [("_include", one) for one in promised.get("searchInclude", ())]
    included += [("_revinclude", one) for one in promised.get("searchRevInclude", ())]
    for name, include in included:
        answer = await client.get(url, params=beside | {name: include}, headers=STRICT)
        modes = [entry["search"]["mode"] for entry in (await json(answer))["entry"]]
        assert "include" in modes


@each_version
async def test_answers_fit_the_structure_definitions(client: Client, version: str) -> None:
    if not fhir_oracles.has_official_schema():
        return
    base = f"/fhir/{version}"
    for url in (
        f"{base}/metadata",
        f"{base}/ImagingStudy/{STUDY}",
        f"{base}/Endpoint",
        f"{base}/ImagingStudy?_include=*&colour=red&_count=3",
        f"{base}/Patient/{IDS['Patient']}",
        f"{base}/Patient?_revinclude=*&_count=3",
    ):
        assert not fhir_structures.errors(await json(await client.get(url)), version), url
    for url in (f"{base}/ImagingStudy/1.2.3", f"{base}/Endpoint/none"):
        outcome = await json(await client.get(url), 404)
        assert not fhir_structures.errors(outcome, version)


@each_version
async def test_names_of_other_versions_are_understood_and_their_own_parameters_are_not(
    client: Client, version: str
) -> None:
    url = f"/fhir/{version}/ImagingStudy"
    for name in ("basedon", "based-on", "bodysite", "body-site", "reason", "reason-concept"):
        answer = await client.get(url, params={"_id": STUDY, name: "x"}, headers=STRICT)
        assert answer.status == 200, name
    for name in VERSIONS[version].absent:
        answer = await client.get(url, params={"_id": STUDY, name: "x"}, headers=STRICT)
        assert (await json(answer, 400))["issue"][0]["code"] == "not-supported"


async def test_large_answers_are_compressed_for_whoever_takes_it(client: Client) -> None:
    url = f"/fhir/r5/ImagingStudy/{STUDY}"
    packed = await client.get(url, headers={"Accept-Encoding": "gzip"})
    bare = await client.get(url, headers={"Accept-Encoding": "identity"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in bare.headers
    assert packed.headers["ETag"] == bare.headers["ETag"]
    assert await packed.read() == await bare.read()
    head = await client.head(url, headers={"Accept-Encoding": "gzip"})
    assert (head.status, await head.read()) == (200, b"")


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [
        ("handling=strict", "handling=strict"),
        ('return=minimal, handling="lenient"', "handling=lenient"),
        ("return=minimal", None),
    ],
)
async def test_preference_that_is_honoured_is_said(
    client: Client, prefer: str, applied: str | None
) -> None:
    answer = await client.get(f"/fhir/r4/ImagingStudy?_id={STUDY}", headers={"Prefer": prefer})
    assert answer.headers.get("Preference-Applied") == applied


@pytest.mark.parametrize(
    ("query", "absent"),
    [("_summary=true", "contained"), ("_elements=started", "series"), ("_summary=text", "started")],
)
async def test_study_is_read_in_part(client: Client, query: str, absent: str) -> None:
    answer = await client.get(f"/fhir/r5/ImagingStudy/{STUDY}?{query}")
    resource = await json(answer)
    assert resource["meta"]["tag"][0]["code"] == "SUBSETTED"
    assert absent not in resource
    assert "ETag" not in answer.headers


async def test_endpoints_come_in_the_order_and_number_asked_for(client: Client) -> None:
    async def ids(query: str) -> list[str]:
        bundle = await json(await client.get(f"/fhir/r5/Endpoint?{query}"))
        return [entry["resource"]["id"] for entry in bundle["entry"]]

    everything = await ids("_sort=_id")
    assert everything == sorted(everything)
    assert await ids("_sort=-_id") == everything[::-1]
    assert await ids("_sort=_id&_count=1") == everything[:1]
    untold = await json(await client.get("/fhir/r5/Endpoint?_total=none"))
    assert "total" not in untold
    await json(await client.get("/fhir/r5/Endpoint?_page=forged"), 400)


@pytest.mark.parametrize(
    ("query", "is_found"),
    [
        ("ImagingStudy?status=http://hl7.org/fhir/imagingstudy-status|available&_count=0", True),
        ("ImagingStudy?status=available&_count=0", True),
        ("ImagingStudy?status=http://other.example.org|available&_count=0", False),
        ("Endpoint?status=http://hl7.org/fhir/endpoint-status|active&_count=0", True),
        ("Endpoint?status=http://other.example.org|active&_count=0", False),
    ],
)
async def test_codes_are_found_by_the_system_that_they_imply(
    client: Client, query: str, *, is_found: bool
) -> None:
    bundle = await json(await client.get(f"/fhir/r5/{query}"))
    assert bool(bundle["total"]) is is_found


@each_version
async def test_endpoints_are_searched_for(client: Client, version: str) -> None:
    answer = await client.get(f"/fhir/{version}/Endpoint?connection-type=dicom-wado-rs")
    bundle = await json(answer)
    assert [entry["resource"]["id"] for entry in bundle["entry"]] == ["gateway-dicom-wado-rs"]
    assert bundle["total"] == 1
    assert bundle["entry"][0]["fullUrl"] == (
        f"http://127.0.0.1:8080/fhir/{version}/Endpoint/gateway-dicom-wado-rs"
    )
    fhir_oracles.validate(bundle, version)
