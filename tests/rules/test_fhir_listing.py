"""Which archive holds what a FHIR server lists, and what that server is asked."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.config import Settings
from gateway.errors import BadRequest
from gateway.model import Level
from gateway.rules import dicom_json as dj
from gateway.rules import fhir_listing, qido
from gateway.rules.qido import Query

BASE = "https://ehr.example/fhir"


def settings(**server: Any) -> Settings:
    archives = {
        "north": {"type": "dicomweb", "qido_rs": "http://north/rs"},
        "south": {
            "type": "dicomweb",
            "qido_rs": None,
            "wado_uri": "http://south.internal/wado",
            "publish": {"dicom-wado-rs": "https://south.example/rs"},
        },
        "west": {"type": "dicomweb", "qido_rs": None, "wado_rs": "http://west/rs"},
    }
    ehr = {"url": BASE} | server
    return Settings.model_validate({"archives": archives, "fhir": {"servers": {"ehr": ehr}}})


def endpoint(name: str, address: str, kind: str = "dicom-wado-rs") -> dict[str, Any]:
    coding = {
        "system": "http://terminology.hl7.org/CodeSystem/endpoint-connection-type",
        "code": kind,
    }
    return {
        "resourceType": "Endpoint",
        "id": name,
        "status": "active",
        "connectionType": coding,
        "address": address,
    }


def bundle(study: dict[str, Any], *others: dict[str, Any]) -> dict[str, Any]:
    own = {
        "resourceType": "ImagingStudy",
        "id": "s",
        "identifier": [{"system": "urn:dicom:uid", "value": "urn:oid:1.2.3"}],
        "subject": {"reference": "Patient/p"},
    }
    entries = [
        {"fullUrl": f"{BASE}/{r['resourceType']}/{r['id']}", "resource": r}
        for r in (own | study, *others)
    ]
    return {"resourceType": "Bundle", "entry": entries}


def held(of: dict[str, Any], holder: str, **server: Any) -> list[str]:
    configured = settings(**server)
    ehr = configured.fhir.servers["ehr"]
    found = fhir_listing.studies(of, holder, configured, ehr)
    return [s.uid for study in found for s in study.series]


def refers(*names: str) -> dict[str, Any]:
    return {"endpoint": [{"reference": f"Endpoint/{n}"} for n in names]}


@pytest.mark.parametrize(
    "address",
    [
        "http://south.internal/wado",
        "https://south.example/rs",
        "https://south.example/rs/",
        "https://south.example/rs/studies",
    ],
)
def test_an_address_selects_the_archive_that_the_configuration_knows_it_of(address: str) -> None:
    one = bundle(refers("e") | {"series": [{"uid": "1.1"}]}, endpoint("e", address))
    assert held(one, "south") == ["1.1"]
    assert held(one, "west") == []


def test_the_endpoints_of_a_series_replace_the_studys_of_their_type() -> None:
    series = [{"uid": "1.1"}, {"uid": "1.2"} | refers("w"), {"uid": "1.3"} | refers("u")]
    one = bundle(
        refers("s") | {"series": series},
        endpoint("s", "https://south.example/rs"),
        endpoint("w", "http://west/rs"),
        endpoint("u", "http://south.internal/wado", "dicom-wado-uri"),
    )
    assert held(one, "south") == ["1.1", "1.3"]
    assert held(one, "west") == ["1.2"]


def test_what_no_address_selects_is_of_the_servers_own_archive_or_of_none() -> None:
    one = bundle(
        refers("e") | {"series": [{"uid": "1.1"}]}, endpoint("e", "https://elsewhere.example/rs")
    )
    assert held(one, "south") == []
    assert held(one, "south", archive="south") == ["1.1"]
    assert held(bundle({"series": [{"uid": "1.1"}]}), "west", archive="west") == ["1.1"]


def test_what_an_archive_with_its_own_search_holds_is_not_anothers() -> None:
    one = bundle(refers("n") | {"series": [{"uid": "1.1"}]}, endpoint("n", "http://north/rs"))
    assert held(one, "south", archive="south") == []


def test_the_subject_is_found_in_the_answer_or_in_the_resource() -> None:
    patient = {"resourceType": "Patient", "id": "p", "identifier": [{"value": "P1"}]}
    inside = {"subject": {"reference": "#p"}, "contained": [patient]}
    configured = settings(archive="south")
    for one in (
        bundle({"series": [{"uid": "1.1"}]}, patient),
        bundle({"series": [{"uid": "1.1"}]} | inside),
        bundle(
            {"series": [{"uid": "1.1"}], "subject": {"reference": f"{BASE}/Patient/p"}}, patient
        ),
    ):
        ehr = configured.fhir.servers["ehr"]
        [study] = fhir_listing.studies(one, "south", configured, ehr)
        assert dj.text(study.row, dj.PATIENT_ID) == "P1"


def test_what_is_no_bundle_is_refused() -> None:
    wrongs: list[Any] = [[], {"resourceType": "OperationOutcome"}, None]
    for wrong in wrongs:
        with pytest.raises(BadRequest):
            held(wrong, "south")


def query(**keys: str) -> Query:
    made = tuple(qido.key(getattr(dj, tag), value) for tag, value in keys.items())
    return Query(level=Level.STUDY, keys=made)


def test_studies_are_asked_for_by_their_uid_in_both_forms() -> None:
    [[way]] = fhir_listing.questions(query(STUDY_INSTANCE_UID="1.2.3")) or ()
    assert way[0] == ("identifier", "urn:dicom:uid|urn:oid:1.2.3,urn:dicom:uid|1.2.3")
    assert ("_include", "ImagingStudy:subject") in way
    below = Query(level=Level.SERIES, study_uid="1.2.3")
    assert fhir_listing.questions(below) == (((way),),)


def test_long_lists_of_uids_are_asked_for_in_parts() -> None:
    uids = ",".join(f"1.{n}" for n in range(25))
    assert len(fhir_listing.questions(query(STUDY_INSTANCE_UID=uids)) or ()) == 3


def test_identifiers_are_asked_for_in_each_way_that_servers_know_and_escaped() -> None:
    [ways] = fhir_listing.questions(query(PATIENT_ID="a|b,c", PATIENT_NAME="X")) or ()
    assert [way[0] for way in ways] == [
        ("patient.identifier", r"a\|b\,c"),
        ("patient:identifier", r"a\|b\,c"),
    ]
    [ways] = fhir_listing.questions(query(ACCESSION_NUMBER="A1")) or ()
    assert [way[0][0] for way in ways] == [
        "identifier",
        "basedon.identifier",
        "basedon:identifier",
    ]


@pytest.mark.parametrize(
    "asked", [query(), query(PATIENT_NAME="A*"), query(PATIENT_ID="A*"), query(STUDY_DATE="2020")]
)
def test_what_fhir_cannot_look_for_exactly_is_said(asked: Query) -> None:
    assert fhir_listing.questions(asked) is None


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        (f"{BASE}?_getpages=1&_offset=2", ("", "_getpages=1&_offset=2")),
        (f"{BASE}/ImagingStudy?page=2", ("ImagingStudy", "page=2")),
        (7, None),
    ],
)
def test_a_next_page_is_followed_on_its_own_server_only(
    url: object, wanted: tuple[str, str] | None
) -> None:
    links = {"link": [{"relation": "self", "url": BASE}, {"relation": "next", "url": url}]}
    assert fhir_listing.next_page(links, BASE) == wanted


@pytest.mark.parametrize(
    "url",
    ["https://elsewhere.example/fhir?page=2", f"{BASE}evil/ImagingStudy?page=2", "?page=2", ""],
)
def test_a_next_page_elsewhere_is_not_taken_for_the_end(url: str) -> None:
    with pytest.raises(BadRequest):
        fhir_listing.next_page({"link": [{"relation": "next", "url": url}]}, BASE)
