"""Searches for studies as clients meet them, over the demonstration's studies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pytest_aiohttp import AiohttpClient

from gateway import demo
from gateway.app import build_app
from gateway.config import DicomwebArchive, Endpoints, Fhir, Settings
from gateway.rules.fhir_versions import VERSIONS
from tests import fhir_oracles
from tests.doubles import Double, Held
from tests.fault_archive import Answer, FaultArchive
from tests.routes.test_fhir import json
from tests.samples import TwoArchives
from tests.servers import NOBODY
from tests.standing import Client

ROOT = demo.UID_ROOT
STUDY = f"{ROOT}.1"
ALL = "started=ge1900"
Open = Callable[[Settings], Awaitable[Client]]

each_version = pytest.mark.parametrize("version", VERSIONS)


@pytest.fixture
def settings(sample_folder: Path) -> Settings:
    return demo.settings(sample_folder, 8080)


@pytest.fixture
def opened(aiohttp_client: AiohttpClient) -> Open:
    """The gateway with settings of the test's own."""

    async def open_(settings: Settings) -> Client:
        client: Client = await aiohttp_client(build_app(settings))
        return client

    return open_


@pytest.fixture
def client(demo_client: Client) -> Client:
    return demo_client


@pytest.fixture
def with_a_silent_archive(settings: Settings) -> Settings:
    """The demonstration, and an archive at a port where nobody listens."""
    address = f"http://127.0.0.1:{NOBODY.number}/dicom-web"
    silent = DicomwebArchive(type="dicomweb", qido_rs=address)
    return settings.model_copy(update={"archives": {**settings.archives, "south": silent}})


async def search(client: Client, query: str, version: str = "r5", **more: Any) -> dict[str, Any]:
    return await json(await client.get(f"/fhir/{version}/ImagingStudy?{query}", **more))


def found(bundle: dict[str, Any]) -> list[str]:
    """The last component of the UIDs of the matches."""
    entries = [e for e in bundle.get("entry", ()) if e["search"]["mode"] == "match"]
    return [entry["resource"]["id"].removeprefix(f"{ROOT}.") for entry in entries]


def link(bundle: dict[str, Any], relation: str) -> str | None:
    """Path and query of a link."""
    for one in bundle["link"]:
        if one["relation"] == relation:
            parts = urlsplit(one["url"])
            return f"{parts.path}?{parts.query}"
    return None


def issues(bundle: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        issue
        for entry in bundle.get("entry", ())
        if entry["search"]["mode"] == "outcome"
        for issue in entry["resource"]["issue"]
    ]


@each_version
async def test_search_gives_what_a_read_gives(client: Client, version: str) -> None:
    bundle = await search(client, f"_id={STUDY}", version)
    read = await json(await client.get(f"/fhir/{version}/ImagingStudy/{STUDY}"))
    (entry,) = bundle["entry"]
    assert entry["resource"] == read
    assert entry["fullUrl"] == f"http://127.0.0.1:8080/fhir/{version}/ImagingStudy/{STUDY}"
    assert bundle["total"] == 1
    fhir_oracles.validate(bundle, version)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (f"_id={STUDY}", {"1"}),
        (f"_id={STUDY},{ROOT}.2,unknown", {"1", "2"}),
        ("_id=unknown", set()),
        (f"identifier=urn:dicom:uid|urn:oid:{STUDY}", {"1"}),
        (f"identifier=urn:oid:{STUDY}", {"1"}),
        (f"identifier=http://other|{STUDY}", set()),
        ("identifier=*", set()),
        ("patient.identifier=urn:oid:2.999.3|JP-0417", {"1", "2"}),
        ("patient:identifier=JP-0417", {"1", "2"}),
        ("patient.identifier=urn:oid:2.999.9|JP-0417", set()),
        ("patient.identifier=*", set()),
        ("patient=Patient/JP-0417", set()),
        ("subject.identifier=JP-0417&started=2024-09", {"2"}),
        ("subject.identifier=JP-0417&modality=SR", {"1"}),
        ("subject.identifier=JP-0417&modality=sr,us", {"1"}),
        ("subject.identifier=JP-0417&modality:not=SR", {"2"}),
        ("modality=*", set()),
        ("modality=http://other|CT", set()),
        ("basedon:identifier=urn:oid:2.999.2|A24-10001", {"1"}),
        ("based-on.identifier=A24-10001", {"1"}),
        (f"series={STUDY}.2", {"1"}),
        (f"series=urn:oid:{STUDY}.2&started=2023", set()),
        (f"series={ROOT}.99", set()),
        (f"instance={STUDY}.2.1", {"1"}),
        ("dicom-class=urn:oid:1.2.840.10008.5.1.4.1.1.88.59&patient:identifier=JP-0417", {"1"}),
        ("started=2024-09-18", {"2"}),
        ("started=2024-03-12T00:14:05Z", {"1"}),
        ("started=ge2024-03-01&started=le2024-03-31&patient:identifier=JP-0417", {"1"}),
        ("started=ge2025&started=lt2020", set()),
        ("started=2024-09-18,2024-03-12", {"1", "2"}),
        ("status=cancelled", set()),
        (f"_id={STUDY}&status=available", {"1"}),
        (f"_id={STUDY}&status:not=available", set()),
        (f"_id={STUDY}&started:missing=true", set()),
        (f"_id={STUDY}&endpoint=Endpoint/gateway-dicom-wado-rs", {"1"}),
        (f"_id={STUDY}&endpoint=Endpoint/none", set()),
        ("patient:identifier=JP-0417&bodysite=69536005", {"2"}),
        ("bodysite=69536005&started=2024-09-18", {"2"}),
        ("patient.name=yamada", {"1", "2"}),
        ("patient.family=\u5c71\u7530", {"1", "2"}),
        ("patient:Patient.given=taro&modality=SR", {"1"}),
        ("subject.name:exact=yamada", set()),
        ("patient.birthdate=ge1900&patient.name=yamada", {"1", "2"}),
        ("patient.birthdate=1890&patient.name=yamada", set()),
        ("patient.gender=female&patient.name=yamada", set()),
        (f"_id={STUDY}&_tag:not=x", {"1"}),
        (f"_id={STUDY}&_tag=x", set()),
        (f"_id={STUDY}&_profile=http://example.org/x", set()),
        (f"_id={STUDY}&body-structure:missing=true", {"1"}),
    ],
)
async def test_studies_are_found_by_exactly_what_they_are(
    client: Client, query: str, expected: set[str]
) -> None:
    bundle = await search(client, query)
    assert set(found(bundle)) == expected
    assert bundle["total"] == len(expected)
    assert ("entry" in bundle) is bool(expected)


@pytest.mark.parametrize("count", [1, 2, 4, 100])
async def test_pages_hold_every_study_once(client: Client, count: int) -> None:
    whole = found(await search(client, ALL))
    url: str | None = f"/fhir/r5/ImagingStudy?{ALL}&_count={count}&_elements=started"
    pages, back = [], []
    while url is not None:
        bundle = await json(await client.get(url))
        pages.append(found(bundle))
        back.append(link(bundle, "previous"))
        last, url = bundle, link(bundle, "next")
    assert [uid for page in pages for uid in page] == whole
    assert all(len(page) == count for page in pages[:-1])
    assert last["total"] == len(whole)
    for number, previous in enumerate(back[1:]):
        assert previous is not None
        assert found(await json(await client.get(previous))) == pages[number]


@pytest.mark.parametrize(
    "query", ["modality=CT", "patient:identifier=JP-0417", f"{ALL}&modality:not=CT"]
)
async def test_pages_of_a_filtered_search_hold_every_match_once(client: Client, query: str) -> None:
    whole = found(await search(client, query))
    assert whole
    uids, url = [], f"/fhir/r5/ImagingStudy?{query}&_count=1"
    while url:
        bundle = await json(await client.get(url))
        uids += found(bundle)
        url = link(bundle, "next") or ""
    assert uids == whole


@pytest.mark.parametrize("query", ["_count=0", "_summary=count", "_summary=count&_count=2"])
async def test_total_alone_can_be_asked_for(client: Client, query: str) -> None:
    bundle = await search(client, f"modality=CT&{query}")
    assert "entry" not in bundle
    assert bundle["total"] == len(found(await search(client, "modality=CT")))


async def test_total_is_given_only_where_it_is_exact(client: Client) -> None:
    count = len(found(await search(client, ALL)))
    assert "total" not in await search(client, f"{ALL}&_count=2")
    assert (await search(client, f"{ALL}&_count=2&_total=accurate"))["total"] == count
    assert "total" not in await search(client, f"{ALL}&_total=none")


async def test_sorted_pages_are_in_order_and_complete(client: Client) -> None:
    starts: list[str] = []
    url: str | None = f"/fhir/r5/ImagingStudy?{ALL}&_sort=-started&_count=4&_elements=started"
    while url is not None:
        bundle = await json(await client.get(url))
        starts += [entry["resource"].get("started", "")[:10] for entry in bundle["entry"]]
        url = link(bundle, "next")
    assert starts == sorted(starts, reverse=True)
    assert len(starts) == len(found(await search(client, ALL)))


async def test_token_of_another_search_is_refused(client: Client) -> None:
    following = link(await search(client, f"{ALL}&_count=2"), "next")
    assert following is not None
    other = following.replace("ge1900", "ge1901")
    assert (await json(await client.get(other), 400))["issue"][0]["code"] == "invalid"


@each_version
async def test_endpoints_are_included_once(client: Client, version: str) -> None:
    bundle = await search(client, f"{ALL}&_include=ImagingStudy:endpoint&_count=3", version)
    modes = [entry["search"]["mode"] for entry in bundle["entry"]]
    assert modes[:3] == ["match"] * 3
    included = [e["fullUrl"] for e in bundle["entry"] if e["search"]["mode"] == "include"]
    assert len(included) == len(set(included)) == len(modes) - 3 > 0
    references = {
        one["reference"] for e in bundle["entry"][:3] for one in e["resource"]["endpoint"]
    }
    assert {url.partition(f"/fhir/{version}/")[2] for url in included} == references
    fhir_oracles.validate(bundle, version)
    for one in bundle["entry"]:
        if one["search"]["mode"] == "include":
            read = await client.get(f"/fhir/{version}/Endpoint/{one['resource']['id']}")
            assert await json(read) == one["resource"]


async def test_summary_has_no_instances(client: Client) -> None:
    (entry,) = (await search(client, f"_id={STUDY}&_summary=true"))["entry"]
    resource = entry["resource"]
    assert resource["meta"]["tag"][0]["code"] == "SUBSETTED"
    assert not [series for series in resource["series"] if "instance" in series]
    assert resource["numberOfInstances"] == sum(s["numberOfInstances"] for s in resource["series"])


async def test_unknown_parameters_are_ignored_and_said_to_be(client: Client) -> None:
    bundle = await search(client, f"_id={STUDY}&colour=red")
    assert found(bundle) == ["1"]
    assert link(bundle, "self") == f"/fhir/r5/ImagingStudy?_id={STUDY}"
    assert [issue["code"] for issue in issues(bundle)] == ["not-supported"]


@pytest.mark.parametrize("query", ["colour=red", "modality=", "_sort=colour", "_elements=colour"])
async def test_strict_handling_refuses_what_is_not_known(client: Client, query: str) -> None:
    strict = {"Prefer": "handling=strict"}
    url = f"/fhir/r4/ImagingStudy?_id={STUDY}&{query}"
    outcome = await json(await client.get(url, headers=strict), 400)
    assert outcome["resourceType"] == "OperationOutcome"
    assert (await client.get(url)).status == 200


@pytest.mark.parametrize(
    "query",
    [
        "modality:text=CT",
        "started=2020-13",
        "started=xx2020",
        "_count=x",
        "_count=-1",
        "_summary=maybe",
        "patient.phone=1",
        "subject:Group.name=x",
        "performer:Device.name=x",
        "_has:Observation:patient:code=1",
        "_page=forged",
    ],
)
async def test_malformed_and_unsupported_parameters_are_refused(client: Client, query: str) -> None:
    await json(await client.get(f"/fhir/r4/ImagingStudy?{ALL}&{query}"), 400)


BROAD = pytest.mark.parametrize("query", ["", "status=available", "modality:not=CT", "reason=1"])


@BROAD
async def test_search_that_archives_cannot_narrow_looks_at_all_of_them(
    client: Client, query: str
) -> None:
    everything = set(found(await search(client, f"{ALL}&{query}&_count=100")))
    assert set(found(await search(client, f"{query}&_count=100"))) == everything


@BROAD
async def test_search_that_archives_cannot_narrow_can_be_forbidden(
    opened: Open, settings: Settings, query: str
) -> None:
    forbidden = settings.model_copy(update={"fhir": Fhir(allow_broad_searches=False)})
    client = await opened(forbidden)
    outcome = await json(await client.get(f"/fhir/r4/ImagingStudy?{query}"), 403)
    assert outcome["issue"][0]["code"] == "too-costly"


@pytest.mark.parametrize(
    "query", ["modality=%00", "identifier=%FF%FE", f"_id={'1' * 6000}", "patient.identifier=%5C%2A"]
)
async def test_bad_input_finds_nothing_and_breaks_nothing(client: Client, query: str) -> None:
    assert (await search(client, query))["total"] == 0


@pytest.fixture
def two_orthancs(settings: Settings, two_archives: TwoArchives) -> Settings:
    """Two real archives that publish their own addresses."""
    archives = {
        name: DicomwebArchive(
            type="dicomweb",
            qido_rs=orthanc.dicom_web,
            timezone="Europe/Paris",
            patient_system="urn:oid:2.999.1",
            publish={"dicom-wado-rs": orthanc.dicom_web},
        )
        for name, orthanc in (("north", two_archives.north), ("south", two_archives.south))
    }
    return settings.model_copy(
        update={"archives": archives, "endpoints": Endpoints(expose="direct")}
    )


@each_version
async def test_study_spread_over_archives_is_one_resource_with_the_endpoints_of_its_series(
    opened: Open, two_orthancs: Settings, two_archives: TwoArchives, version: str
) -> None:
    client = await opened(two_orthancs)
    uid = two_archives.split_study
    bundle = await search(client, f"_id={uid}&_include=ImagingStudy:endpoint", version)
    study, *included = (entry["resource"] for entry in bundle["entry"])
    held = {
        series["uid"]: series["endpoint"][0]["reference"].removeprefix("Endpoint/")
        for series in study["series"]
    }
    assert held == dict.fromkeys(two_archives.north_series, "north-dicom-wado-rs") | dict.fromkeys(
        two_archives.south_series, "south-dicom-wado-rs"
    )
    assert {endpoint["id"] for endpoint in included} == set(held.values())
    assert study == await json(await client.get(f"/fhir/{version}/ImagingStudy/{uid}"))
    fhir_oracles.validate(bundle, version)
    assert not fhir_oracles.broken_invariants(study, version)


@pytest.mark.parametrize("probe", ["series", "instance"])
async def test_real_archives_find_studies_by_what_is_in_them(
    opened: Open, two_orthancs: Settings, two_archives: TwoArchives, probe: str
) -> None:
    client = await opened(two_orthancs)
    sample = two_archives.in_south[0]
    value = sample.series_uid if probe == "series" else sample.instance_uid
    bundle = await search(client, f"{probe}={value}")
    assert [entry["resource"]["id"] for entry in bundle["entry"]] == [sample.study_uid]


async def test_pages_over_two_real_archives_hold_every_study_once(
    opened: Open, two_orthancs: Settings, two_archives: TwoArchives
) -> None:
    client = await opened(two_orthancs)
    uids: list[str] = []
    url: str | None = f"/fhir/r4/ImagingStudy?{ALL}&_count=2&_elements=started"
    while url is not None:
        bundle = await json(await client.get(url))
        uids += [entry["resource"]["id"] for entry in bundle["entry"]]
        url = link(bundle, "next")
    samples = (*two_archives.in_north, *two_archives.in_south)
    assert sorted(uids) == sorted({sample.study_uid for sample in samples})


async def test_silent_archive_is_named_and_the_total_withheld(
    opened: Open, with_a_silent_archive: Settings
) -> None:
    client = await opened(with_a_silent_archive)
    bundle = await search(client, "patient:identifier=JP-0417")
    assert set(found(bundle)) == {"1", "2"}
    assert "total" not in bundle
    (issue,) = issues(bundle)
    assert (issue["severity"], issue["code"]) == ("warning", "incomplete")
    assert "south" in issue["diagnostics"]
    assert "127.0.0.1" not in issue["diagnostics"]


async def test_strict_handling_refuses_a_partial_answer(
    opened: Open, with_a_silent_archive: Settings
) -> None:
    client = await opened(with_a_silent_archive)
    answer = await client.get(
        "/fhir/r4/ImagingStudy?patient:identifier=JP-0417", headers={"Prefer": "handling=strict"}
    )
    assert answer.headers["Retry-After"]
    await json(answer, 503)


async def test_too_many_candidates_give_a_partial_page_that_leads_on(
    opened: Open, settings: Settings
) -> None:
    narrow = settings.model_copy(update={"fhir": Fhir(max_candidates=2, default_count=2)})
    client = await opened(narrow)
    bundle = await search(client, f"{ALL}&modality:not=XX,CT,MR")
    assert [issue["code"] for issue in issues(bundle)] == ["too-costly"]
    uids, url = found(bundle), link(bundle, "next")
    while url is not None:
        bundle = await json(await client.get(url))
        uids += found(bundle)
        url = link(bundle, "next")
    assert uids == found(await search(await opened(settings), f"{ALL}&modality:not=XX,CT,MR"))
    strict = {"Prefer": "handling=strict"}
    answer = await client.get(f"/fhir/r5/ImagingStudy?{ALL}&modality:not=XX,CT,MR", headers=strict)
    assert (await json(answer, 403))["issue"][0]["code"] == "too-costly"


async def test_that_a_search_for_one_study_asks_its_archive_each_thing_once(
    opened: Open, settings: Settings, fault_archive: FaultArchive
) -> None:
    one = Held(study="1.2.3", series="1.2.3.1", instance="1.2.3.1.1")
    Double(fault_archive, [one])
    archive = DicomwebArchive(type="dicomweb", qido_rs=fault_archive.url)
    client = await opened(settings.model_copy(update={"archives": {"north": archive}}))
    assert (await search(client, "_id=1.2.3&_summary=true"))["total"] == 1
    asked = [seen.path.partition("?")[0] for seen in fault_archive.requests]
    assert sorted(asked) == ["/studies", "/studies/1.2.3/series"]
    assert (await search(client, "_id=1.2.3&_summary=true"))["total"] == 1
    more = [seen.path.partition("?")[0] for seen in fault_archive.requests[2:]]
    assert more == ["/studies"]  # what is known is held against it


@pytest.mark.parametrize(
    ("query", "calls"),
    [
        ("ImagingStudy?_summary=true", 1),
        ("ImagingStudy?_count=10", 2),
        ("ImagingStudy?_sort=started&_summary=true", 1),
        ("Patient?identifier=P1&_revinclude=ImagingStudy:patient", 2),
    ],
)
async def test_that_a_page_of_unknown_studies_asks_for_each_what_the_search_did_not_tell(
    opened: Open, settings: Settings, fault_archive: FaultArchive, query: str, calls: int
) -> None:
    many = [Held(study=f"1.2.{n}", series=f"1.2.{n}.1", instance=f"1.2.{n}.1.1") for n in range(9)]
    Double(fault_archive, many).counts_below = True
    archive = DicomwebArchive(type="dicomweb", qido_rs=fault_archive.url)
    client = await opened(settings.model_copy(update={"archives": {"north": archive}}))
    bundle = await json(await client.get(f"/fhir/r5/{query}"))
    told = [entry["resource"]["resourceType"] for entry in bundle["entry"]]
    assert told.count("ImagingStudy") == 9
    asked = [seen.path.partition("?")[0] for seen in fault_archive.requests]
    searches = asked.count("/studies")  # and whether there is more
    assert searches <= 2
    assert len(asked) - searches == calls * 9


@pytest.mark.parametrize(
    ("status", "query"),
    [
        (200, "_id=1.2.3"),
        (200, "_id=1.2.3&modality=CT"),
        (200, "_id=1.2.3&modality=MR"),
        (200, "identifier=urn:dicom:uid%7Curn:oid:1.2.3"),
        (200, "_id=1.2.3&_sort=started"),
        (200, "_id=1.2.9"),
        (404, "_id=1.2.3"),
        (500, "_id=1.2.3"),
    ],
)
async def test_that_a_study_is_found_by_its_record_as_by_a_search(
    opened: Open, settings: Settings, fault_archive: FaultArchive, status: int, query: str
) -> None:
    """Whoever names another study as well asks for a search. 404: no archive is at the address."""
    one = Held(study="1.2.3", series="1.2.3.1", instance="1.2.3.1.1")
    double = Double(fault_archive, [one])
    if status != 200:
        fault_archive.on("*", Answer(status=status))
    archive = DicomwebArchive(type="dicomweb", qido_rs=fault_archive.url)
    alone = settings.model_copy(update={"archives": {"north": archive}})
    told = []
    for wanted in (query, query.replace("1.2.", "1.9.9,1.2.") if "_id" in query else query):
        client = await opened(alone)
        for path in (f"{wanted}&_summary=true", wanted):
            answer = await client.get(f"/fhir/r5/ImagingStudy?{path}")
            body = await answer.json()
            entries = body.get("entry", body.get("issue"))
            told.append((answer.status, entries and _timeless(entries), body.get("total")))
    assert told[:2] == told[2:]
    assert double.server is fault_archive


def _timeless(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for entry in entries:
        entry.get("resource", {}).get("meta", {}).pop("lastUpdated", None)
        entry.get("resource", {}).get("meta", {}).pop("versionId", None)
    return entries


@pytest.mark.parametrize(
    ("study_level", "query", "calls"),
    [
        ("search", "_id=1.2.3", ["/studies", "/studies/1.2.3/series"]),
        ("series", "_id=1.2.3", ["/studies/1.2.3/series"]),
        ("series", "identifier=urn:dicom:uid%7Curn:oid:1.2.3", ["/studies/1.2.3/series"]),
        ("search", "_id=1.2.9", ["/studies", "/studies/1.2.9/series"]),
        ("series", "_id=1.2.9", ["/studies", "/studies/1.2.9/series"]),
    ],
)
async def test_that_a_study_of_which_nothing_is_known_is_not_searched_for_before_its_record(
    opened: Open,
    settings: Settings,
    fault_archive: FaultArchive,
    study_level: Any,
    query: str,
    calls: list[str],
) -> None:
    one = Held(study="1.2.3", series="1.2.3.1", instance="1.2.3.1.1")
    other = Held(study="1.2.4", series="1.2.4.1", instance="1.2.4.1.1")
    Double(fault_archive, [one, other]).counts_below = True
    archive = DicomwebArchive(type="dicomweb", qido_rs=fault_archive.url, study_level=study_level)
    client = await opened(settings.model_copy(update={"archives": {"north": archive}}))
    await client.get("/dicom-web/studies")  # a longer answer than that for series
    for expected in (calls, ["/studies"]):  # what is remembered is held against a search
        fault_archive.requests.clear()
        await search(client, f"{query}&_summary=true")
        asked = [seen.path.partition("?")[0] for seen in fault_archive.requests]
        assert sorted(asked) == expected


async def test_that_a_study_of_several_archives_is_searched_for_in_all_of_them(
    opened: Open, with_a_silent_archive: Settings
) -> None:
    """The record says who failed; a search, who may not have been asked."""
    bundle = await search(await opened(with_a_silent_archive), f"_id={STUDY}&_summary=true")
    assert found(bundle) == ["1"]
    assert [issue["diagnostics"] for issue in issues(bundle)] == ["archive south did not answer"]
    assert "total" not in bundle
