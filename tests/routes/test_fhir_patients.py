"""Patients as clients meet them, over the demonstration's studies and real archives."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.config import DicomwebArchive, Fhir, FhirPatients, ListedPatient, Settings
from gateway.rules.fhir_versions import VERSIONS
from tests import fhir_oracles, fhir_structures
from tests.routes.test_fhir import json
from tests.routes.test_fhir_search import (
    ROOT,
    Open,
    client,
    each_version,
    found,
    issues,
    link,
    opened,
    search,
    settings,
    with_a_silent_archive,
)
from tests.samples import TwoArchives
from tests.standing import Client

__all__ = ["client", "opened", "settings", "with_a_silent_archive"]  # fixtures

PLAIN = "70011"
PLAIN_SYSTEM = "urn:oid:2.999.1"
BASE = "http://127.0.0.1:8080/fhir"


async def patients(client: Client, query: str, version: str = "r5", **more: Any) -> dict[str, Any]:
    return await json(await client.get(f"/fhir/{version}/Patient?{query}", **more))


def called(bundle: dict[str, Any], mode: str = "match") -> list[str]:
    """The ids of the Patients."""
    entries = [e for e in bundle.get("entry", ()) if e["search"]["mode"] == mode]
    resources = [e["resource"] for e in entries]
    return [r["id"] for r in resources if r["resourceType"] == "Patient"]


async def of_other_system(client: Client) -> str:
    """The id of the patient JP-0417, whose issuer has a system of its own."""
    (one,) = called(await patients(client, "identifier=urn:oid:2.999.3|JP-0417"))
    return one


@each_version
async def test_patient_that_a_study_refers_to_is_read(client: Client, version: str) -> None:
    bundle = await search(client, f"patient=Patient/{PLAIN}", version)
    (study,) = (e["resource"] for e in bundle["entry"])
    assert study["subject"]["reference"] == f"Patient/{PLAIN}"
    answer = await client.get(f"/fhir/{version}/{study['subject']['reference']}")
    patient = await json(answer)
    assert answer.headers["Content-Type"] == VERSIONS[version].content_type
    assert answer.headers["ETag"] == f'W/"{patient["meta"]["versionId"]}"'
    assert patient["identifier"] == [study["subject"]["identifier"]]
    assert (patient["gender"], patient["birthDate"]) == ("male", "1993-07-02")
    (name,) = patient["name"]
    assert (name["family"], name["given"]) == ("Okafor", ["Chidi"])
    fhir_oracles.validate(patient, version)
    fhir_oracles.validate(bundle, version)
    if fhir_oracles.has_official_schema():
        assert not fhir_structures.errors(patient, version)
        assert not fhir_oracles.schema_errors(patient, version)


async def test_version_is_negotiated_where_the_base_names_none(client: Client) -> None:
    accept = {"Accept": "application/fhir+json; fhirVersion=6.0"}
    answer = await client.get(f"/fhir/Patient/{PLAIN}", headers=accept)
    assert answer.status == 200
    assert answer.headers["Content-Type"].endswith("fhirVersion=6.0")
    assert (await client.get("/fhir/Patient?_id=x")).status == 200


async def test_unchanged_patient_is_not_sent_again_and_head_has_no_body(client: Client) -> None:
    url = f"/fhir/r4/Patient/{PLAIN}"
    answer = await client.get(url)
    again = await client.get(url, headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status, await again.read()) == (304, b"")
    head = await client.head(url)
    assert (head.status, await head.read()) == (200, b"")
    assert head.headers["ETag"] == answer.headers["ETag"]


async def test_ids_of_another_system_and_of_odd_patient_ids_lead_back(client: Client) -> None:
    everybody = called(await patients(client, "_count=100"))
    assert len(everybody) == len(set(everybody)) > 3
    assert PLAIN in everybody
    for one in everybody:
        patient = await json(await client.get(f"/fhir/r5/Patient/{one}"))
        assert called(await patients(client, f"_id={one}")) == [one]
        (known,) = patient["identifier"]
        by_identifier = await patients(client, f"identifier={known['system']}|{known['value']}")
        assert called(by_identifier) == [one]
        assert (await search(client, f"patient={one}"))["total"] > 0


@pytest.mark.parametrize(
    "path",
    ["unknown", "a_b", "..%2F", "1" * 65, f"{PLAIN}/_history/1", f"{PLAIN}/Endpoint", "plain.id.x"],
)
async def test_patient_that_is_not_there_is_not_found(client: Client, path: str) -> None:
    outcome = await json(await client.get(f"/fhir/r4/Patient/{path}"), 404)
    assert outcome["issue"][0]["code"] == "not-found"


@pytest.mark.parametrize(
    ("query", "is_found"),
    [
        ("patient=Patient/{id}", True),
        ("patient={id}", True),
        ("subject={id}", True),
        ("subject:Patient={id}", True),
        ("subject=Patient/{id}", True),
        ("patient=unknown,{id}", True),
        ("patient=http://127.0.0.1:8080/fhir/r5/Patient/{id}", True),
        ("patient=http://127.0.0.1:8080/fhir/Patient/{id}", True),
        ("patient=Patient/{id}&patient.family=yamada", True),
        ("patient=Patient/{id}&patient:identifier=JP-0417", True),
        ("patient=http://other.example.org/fhir/Patient/{id}", False),
        ("patient=Patient/unknown", False),
        ("patient=JP-0417", False),
        ("subject:Device={id}", False),
        ("subject:Device=Patient/{id}", False),
        ("subject=Device/{id}", False),
        ("patient=Patient/{id}&patient.family=curie", False),
        ("patient=Patient/{id}&patient=Patient/70011", False),
    ],
)
async def test_studies_are_found_by_the_patient_that_they_refer_to(
    client: Client, query: str, is_found: object
) -> None:
    asked = query.format(id=await of_other_system(client))
    bundle = await search(client, asked)
    assert set(found(bundle)) == ({"1", "2"} if is_found else set())
    assert bundle["total"] == len(found(bundle))


@each_version
@pytest.mark.parametrize("include", ["ImagingStudy:patient", "ImagingStudy:subject:Patient", "*"])
async def test_patients_are_included_once_as_a_read_gives_them(
    client: Client, version: str, include: str
) -> None:
    bundle = await search(client, f"modality:not=XX&_count=5&_include={include}", version)
    entries = [e for e in bundle["entry"] if e["resource"]["resourceType"] == "Patient"]
    studies = [e["resource"] for e in bundle["entry"] if e["search"]["mode"] == "match"]
    named = {s["subject"]["reference"] for s in studies if "reference" in s["subject"]}
    assert sorted(e["fullUrl"] for e in entries) == sorted(
        f"{BASE}/{version}/{reference}" for reference in named
    )
    for entry in entries:
        assert entry["search"]["mode"] == "include"
        read = await client.get(f"/fhir/{version}/Patient/{entry['resource']['id']}")
        assert await json(read) == entry["resource"]
    fhir_oracles.validate(bundle, version)


@each_version
async def test_studies_of_patients_are_included_as_a_read_gives_them(
    client: Client, version: str
) -> None:
    query = "family=yamada&_revinclude=ImagingStudy:patient"
    bundle = await patients(client, query, version)
    match, *included = bundle["entry"]
    assert match["resource"]["resourceType"] == "Patient"
    assert bundle["total"] == 1
    assert {e["resource"]["id"] for e in included} == {f"{ROOT}.1", f"{ROOT}.2"}
    for entry in included:
        assert entry["search"]["mode"] == "include"
        study = await client.get(f"/fhir/{version}/ImagingStudy/{entry['resource']['id']}")
        assert await json(study) == entry["resource"]
    fhir_oracles.validate(bundle, version)


@pytest.mark.parametrize(
    ("query", "family"),
    [
        ("name=tarou", "Yamada"),
        ("family:exact=Yamada", "Yamada"),
        ("given=chidi&gender=male", "Okafor"),
        ("birthdate=1993-07&gender=male,female", "Okafor"),
        ("identifier=70011", "Okafor"),
        ("identifier=US/5 5", "O'Brien"),
        ("family:contains=kafo", "Okafor"),
    ],
)
async def test_patients_are_found_by_what_studies_tell_of_them(
    client: Client, query: str, family: str
) -> None:
    bundle = await patients(client, query)
    assert bundle["total"] == 1
    assert bundle["entry"][0]["resource"]["name"][0]["family"] == family
    form = dict(pair.split("=") for pair in query.split("&"))
    posted = await json(await client.post("/fhir/r5/Patient/_search", data=form))
    assert posted["entry"] == bundle["entry"]


@pytest.mark.parametrize("query", ["_has:ImagingStudy:patient:_id=1", "gender:text=x", "_count=x"])
async def test_what_patients_cannot_be_searched_by_is_refused(client: Client, query: str) -> None:
    await json(await client.get(f"/fhir/r4/Patient?{query}"), 400)


async def test_patient_is_read_and_found_in_part(client: Client) -> None:
    for url in (f"/fhir/r4/Patient/{PLAIN}?_elements=gender", "/fhir/r4/Patient?_elements=gender"):
        answer = await json(await client.get(url))
        patient = answer["entry"][0]["resource"] if "entry" in answer else answer
        assert set(patient) <= {"resourceType", "id", "meta", "gender"}
        assert patient["meta"]["tag"][0]["code"] == "SUBSETTED"


async def test_total_of_patients_alone_can_be_asked_for(client: Client) -> None:
    everybody = called(await patients(client, "_count=100"))
    for query in ("_summary=count", "_count=0", "_count=2&_total=accurate"):
        assert (await patients(client, query))["total"] == len(everybody)


async def test_pages_of_patients_hold_each_once(client: Client) -> None:
    everybody = called(await patients(client, "_count=100"))
    pages: list[str] = []
    url: str | None = "/fhir/r5/Patient?_count=2"
    while url is not None:
        bundle = await json(await client.get(url))
        pages += called(bundle)
        url = link(bundle, "next")
    assert pages == everybody


async def test_compartment_holds_the_studies_of_the_patient(client: Client) -> None:
    one = await of_other_system(client)
    url = f"/fhir/r5/Patient/{one}/ImagingStudy"
    bundle = await json(await client.get(url))
    assert set(found(bundle)) == {"1", "2"}
    assert bundle["entry"][0]["fullUrl"].startswith(f"{BASE}/r5/ImagingStudy/")
    assert link(bundle, "self") == f"{url}?"
    posted = await json(await client.post(f"{url}/_search", data={"modality": "SR"}))
    assert found(posted) == found(await json(await client.get(f"{url}?modality=SR"))) == ["1"]
    others = await json(await client.get(f"/fhir/r5/Patient/unknown/ImagingStudy?_id={ROOT}.1"))
    assert others["total"] == 0
    await json(await client.get(f"{url}?_has:Observation:patient:code=1"), 400)


async def test_pages_of_a_compartment_stay_in_it(client: Client) -> None:
    one = await of_other_system(client)
    url = f"/fhir/r5/Patient/{one}/ImagingStudy"
    first = await json(await client.get(f"{url}?_count=1"))
    following = link(first, "next") or ""
    assert following.startswith(url)
    second = await json(await client.get(following))
    assert sorted(found(first) + found(second)) == ["1", "2"]
    elsewhere = following.replace(one, PLAIN)
    assert (await json(await client.get(elsewhere), 400))["issue"][0]["code"] == "invalid"


async def test_patient_that_a_silent_archive_might_know_is_unavailable(
    opened: Open, with_a_silent_archive: Settings
) -> None:
    client = await opened(with_a_silent_archive)
    unknown = await client.get("/fhir/r4/Patient/unknown")
    assert unknown.headers["Retry-After"]
    assert (await json(unknown, 503))["issue"][0]["code"] == "transient"
    known = await client.get(f"/fhir/r4/Patient/{PLAIN}")
    assert known.status == 200
    assert "south" in known.headers["Warning"]
    bundle = await patients(client, f"_id={PLAIN}")
    assert called(bundle) == [PLAIN]
    assert "total" not in bundle
    (issue,) = issues(bundle)
    assert issue["code"] == "incomplete"
    strict = {"Prefer": "handling=strict"}
    assert (await client.get(f"/fhir/r4/Patient?_id={PLAIN}", headers=strict)).status == 503


async def test_included_patient_of_a_partial_search_names_the_silent_archive_once(
    opened: Open, with_a_silent_archive: Settings
) -> None:
    client = await opened(with_a_silent_archive)
    bundle = await search(client, f"patient={PLAIN}&_include=ImagingStudy:patient")
    assert called(bundle, "include") == [PLAIN]
    assert [issue["code"] for issue in issues(bundle)] == ["incomplete"]


def choosing(settings: Settings, **patients: Any) -> Settings:
    chosen = FhirPatients.model_validate(patients)
    return settings.model_copy(update={"fhir": Fhir(patients=chosen)})


async def test_no_patient_is_a_resource_where_the_configuration_says_so(
    opened: Open, settings: Settings
) -> None:
    client = await opened(choosing(settings, by="none"))
    for path in (f"Patient/{PLAIN}", "Patient", f"Patient/{PLAIN}/ImagingStudy"):
        assert (await client.get(f"/fhir/r4/{path}")).status == 404
    (study,) = (await search(client, "patient:identifier=70011"))["entry"]
    assert "reference" not in study["resource"]["subject"]
    strict = {"Prefer": "handling=strict"}
    query = f"patient={PLAIN}&_include=ImagingStudy:patient"
    assert (await search(client, query, headers=strict))["total"] == 0
    statement = await json(await client.get("/fhir/r4/metadata"))
    assert [r["type"] for r in statement["rest"][0]["resource"]] == ["ImagingStudy", "Endpoint"]


async def test_listed_patients_are_resources_by_their_listed_ids(
    opened: Open, settings: Settings
) -> None:
    listed = {"ehr-1": ListedPatient(system=PLAIN_SYSTEM, value=PLAIN)}
    client = await opened(choosing(settings, by="listed", listed=listed))
    patient = await json(await client.get("/fhir/r5/Patient/ehr-1"))
    assert patient["identifier"] == [{"system": PLAIN_SYSTEM, "value": PLAIN}]
    assert (await client.get(f"/fhir/r5/Patient/{PLAIN}")).status == 404
    (entry,) = (await search(client, "patient=Patient/ehr-1"))["entry"]
    assert entry["resource"]["subject"]["reference"] == "Patient/ehr-1"
    assert called(await patients(client, "_count=100")) == ["ehr-1"]
    (other, *_) = (await search(client, "patient:identifier=JP-0417"))["entry"]
    assert "reference" not in other["resource"]["subject"]


async def test_search_for_patients_that_archives_cannot_narrow_can_be_forbidden(
    opened: Open, settings: Settings
) -> None:
    forbidden = settings.model_copy(update={"fhir": Fhir(allow_broad_searches=False)})
    client = await opened(forbidden)
    outcome = await json(await client.get("/fhir/r4/Patient?gender:not=male"), 403)
    assert outcome["issue"][0]["code"] == "too-costly"


async def test_patients_of_real_archives_lead_to_all_of_their_studies(
    opened: Open, settings: Settings, two_archives: TwoArchives
) -> None:
    archives = {
        name: DicomwebArchive(
            type="dicomweb", qido_rs=orthanc.dicom_web, patient_system="urn:oid:2.999.1"
        )
        for name, orthanc in (("north", two_archives.north), ("south", two_archives.south))
    }
    client = await opened(settings.model_copy(update={"archives": archives}))
    bundle = await patients(client, "_count=100&_revinclude=ImagingStudy:patient")
    samples = (*two_archives.in_north, *two_archives.in_south)
    included = [e["resource"] for e in bundle["entry"] if e["search"]["mode"] == "include"]
    assert {s["id"] for s in included} == {sample.study_uid for sample in samples}
    for one in called(bundle):
        assert called(await patients(client, f"_id={one}")) == [one]
        assert (await search(client, f"patient={one}"))["total"] > 0
