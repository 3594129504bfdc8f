"""Patients whom a FHIR server knows, as callers of the whole gateway meet them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests import hie
from tests.ehr import Ehr
from tests.forked import ForkedGateway
from tests.gateways import Gateway
from tests.hie import ROOT, SYSTEMS, World

NORTH = (SYSTEMS["HOSP-A"], "P1")
OF_ANNA = {f"{ROOT}.{n}" for n in (1, 3, 5, 6)}
OF_BERT, OF_CLEO = {f"{ROOT}.2"}, {f"{ROOT}.4"}
FULL = {"X-API-Key": "key-of-full"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Path]:
    folder = tmp_path_factory.mktemp("world")
    return hie.build(folder), folder


@pytest.fixture
def ehr() -> Iterator[Ehr]:
    with Ehr() as made:
        yield made


@pytest.fixture
def gateway(world: tuple[World, Path], ehr: Ehr, tmp_path: Path) -> Iterator[Gateway]:
    _, folder = world
    folders = ({"type": "folder", "path": str(folder / n)} for n in ("north", "south"))
    with ForkedGateway(tmp_path, **hie.by_ehr(hie.sections(folder, *folders), ehr)) as made:
        yield made


def token(patient: str | None, **claims: Any) -> dict[str, str]:
    scope = "launch/patient patient/*.rs openid"
    return hie.bearer(scope=scope, **claims | ({} if patient is None else {"patient": patient}))


def get(gateway: Gateway, path: str, headers: dict[str, str]) -> requests.Response:
    return requests.get(f"{gateway.url}{path}", headers=headers, allow_redirects=False, timeout=30)


def rows(gateway: Gateway, headers: dict[str, str]) -> set[str]:
    answer = get(gateway, "/dicom-web/studies", headers)
    assert answer.status_code in {200, 204}
    return {r["0020000D"]["Value"][0] for r in answer.json()} if answer.content else set()


def studies(gateway: Gateway, query: str, headers: dict[str, str]) -> set[str]:
    answer = get(gateway, f"/fhir/r4/{query}", headers)
    assert answer.status_code == 200, answer.text
    entries = answer.json().get("entry", ())
    return {e["resource"]["id"] for e in entries if e["search"]["mode"] == "match"}


def test_a_token_sees_its_patient_everywhere_and_nobody_else(gateway: Gateway, ehr: Ehr) -> None:
    anna = token("anna")
    assert rows(gateway, anna) == OF_ANNA
    assert studies(gateway, "ImagingStudy", anna) == OF_ANNA
    assert studies(gateway, "ImagingStudy?patient=anna", anna) == OF_ANNA
    assert studies(gateway, "Patient/anna/ImagingStudy", anna) == OF_ANNA
    read = get(gateway, f"/fhir/r4/ImagingStudy/{ROOT}.1", anna).json()
    assert read["subject"]["reference"] == "Patient/anna"
    assert get(gateway, "/fhir/r4/Patient/anna", anna).json()["id"] == "anna"
    for study, status in ((f"{ROOT}.1", 200), (f"{ROOT}.2", 404), (f"{ROOT}.4", 404)):
        for path in ("", "/metadata", "/thumbnail", "/rendered", "/series"):
            answer = get(gateway, f"/dicom-web/studies/{study}{path}", anna)
            wanted = {status} if path != "/series" or status == 200 else {204}
            assert {answer.status_code} == wanted, path
        assert get(gateway, f"/fhir/r4/ImagingStudy/{study}", anna).status_code == status
    assert ehr.requests == ["/fhir/Patient/anna"]


@pytest.mark.parametrize(
    "path",
    [
        "/fhir/r4/ImagingStudy?patient=bert", "/fhir/r4/ImagingStudy?patient=Patient/cleo",
        "/fhir/r4/Patient/bert", "/fhir/r4/Patient/bert/ImagingStudy",
        "/dicom-web/studies?PatientID=P2", "/iid?requestType=PATIENT&patientID=P2",
    ],
)  # fmt: skip
def test_another_patient_may_not_be_named(gateway: Gateway, ehr: Ehr, path: str) -> None:
    assert get(gateway, path, token("anna")).status_code == 403
    assert ehr.requests == ["/fhir/Patient/anna"]


def test_whoever_the_server_does_not_tell_of_is_nobody(gateway: Gateway, ehr: Ehr) -> None:
    ehr.knows("merged", NORTH, link=[{"type": "replaced-by", "other": {"reference": "Patient/b"}}])
    ehr.knows("foreign", ("http://hl7.org/fhir/sid/us-ssn", "P1"))
    ehr.knows("bare")
    for patient in ("merged", "foreign", "bare", "unknown", "../Patient/anna", None):
        headers = token(patient)
        assert rows(gateway, headers) == set()
        assert studies(gateway, "ImagingStudy", headers) == set()
        answer = get(gateway, f"/dicom-web/studies/{ROOT}.1", headers)
        assert answer.status_code == 404
    assert not [path for path in ehr.requests if ".." in path]


def test_a_token_of_another_server_is_nobodys(gateway: Gateway, ehr: Ehr) -> None:
    assert rows(gateway, token("anna", fhirServer="https://other.example.org/fhir")) == set()
    assert ehr.requests == []
    assert rows(gateway, token("anna", fhirServer=f"{ehr.url}/")) == OF_ANNA


def test_while_the_server_is_away_nothing_is_shown_to_its_patients(
    gateway: Gateway, ehr: Ehr
) -> None:
    ehr.is_away = True
    for path in (
        "/dicom-web/studies",
        f"/fhir/r4/ImagingStudy/{ROOT}.1",
        f"/dicom-web/studies/{ROOT}.1",
    ):
        answer = get(gateway, path, token("anna"))
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10"), path
        assert ROOT not in answer.text.replace(path, "")
        assert str(ehr.url) not in answer.text
    assert rows(gateway, FULL) == OF_ANNA | OF_BERT | OF_CLEO
    assert get(gateway, "/fhir/r4/ImagingStudy?patient=anna", FULL).status_code == 503


def test_those_who_may_see_everybody_name_patients_as_the_server_does(
    gateway: Gateway, ehr: Ehr
) -> None:
    assert studies(gateway, "ImagingStudy?patient=anna", FULL) == OF_ANNA
    assert studies(gateway, "ImagingStudy?patient=anna,Patient/bert", FULL) == OF_ANNA | OF_BERT
    assert studies(gateway, "Patient/cleo/ImagingStudy", FULL) == OF_CLEO
    assert studies(gateway, "ImagingStudy?patient=unknown", FULL) == set()
    assert studies(gateway, "Patient?_id=anna,dora", FULL) == {"anna"}
    assert get(gateway, "/fhir/r4/Patient/bert", FULL).json()["identifier"][0] == {
        "system": SYSTEMS["HOSP-B"],
        "value": "P1",
    }
    assert get(gateway, "/fhir/r4/Patient/dora", FULL).status_code == 404
    many = ",".join(f"p{n}" for n in range(40))
    assert get(gateway, f"/fhir/r4/ImagingStudy?patient={many}", FULL).status_code == 403
