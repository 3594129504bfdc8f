from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.config import Settings
from gateway.errors import Forbidden
from gateway.model import Consumer, Identifier
from gateway.rules import fhir_dates, fhir_search, patient_context, patient_ids, tokens
from gateway.rules.fhir_requests import Sizes, read
from gateway.rules.fhir_results import IMAGING_STUDIES
from gateway.rules.fhir_search import Reading
from gateway.rules.imaging_study_chains import CHAINS
from gateway.rules.imaging_study_parameters import PARAMETERS

SYSTEM = "urn:oid:1.2.3"
BOUND = Consumer(id="app", patient="P1", patients=(Identifier(value="P1", system=SYSTEM),))
UNKNOWN = Consumer(id="app", patient="P9", patients=())


def settings(**of_archives: str | None) -> Settings:
    return Settings.model_validate(
        {
            "archives": {
                name: {"type": "folder", "path": "x", "patient_system": system}
                for name, system in of_archives.items()
            }
        }
    )


def check(consumer: Consumer, name: str, value: str) -> None:
    named = fhir_search.by_name((*PARAMETERS, *CHAINS), frozenset())
    reading = Reading(base="^x/", now=fhir_dates.instant(datetime(2024, 1, 1, tzinfo=UTC)))
    search = read([(name, value)], named, IMAGING_STUDIES, reading, Sizes(usual=9, largest=9))
    patient_context.check_search(consumer, search.criteria)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("patient", "Patient/P1"),
        ("patient", "P1"),
        ("subject", "Patient/P1"),
        ("subject:Device", "D1"),
        ("patient.identifier", f"{SYSTEM}|P1"),
        ("patient:identifier", "P1"),
        ("patient:missing", "true"),
        ("patient.family", "Curie"),
        ("modality", "CT"),
    ],
)
def test_the_patient_in_context_and_nobody_may_be_named(name: str, value: str) -> None:
    check(BOUND, name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("patient", "Patient/P2"),
        ("patient", "P1,P2"),
        ("subject", "Patient/P2"),
        ("subject", "P2"),
        ("patient.identifier", f"{SYSTEM}|P2"),
        ("patient:identifier", "urn:oid:9|P1"),
        ("patient", "https://elsewhere.example.org/Patient/P1"),
    ],
)
def test_another_patient_is_refused(name: str, value: str) -> None:
    with pytest.raises(Forbidden):
        check(BOUND, name, value)
    check(Consumer(id="free"), name, value)


def test_a_patient_who_is_not_known_here_may_be_named_and_has_nothing() -> None:
    check(UNKNOWN, "patient", "Patient/P9")
    with pytest.raises(Forbidden):
        check(UNKNOWN, "patient", "Patient/P1")
    patient_context.check(UNKNOWN, "P9")
    with pytest.raises(Forbidden):
        patient_context.check(UNKNOWN, "P1")


def test_patient_ids_of_others_are_refused_and_patterns_name_nobody() -> None:
    for value in ("P1", "P*", "*", "", "P?"):
        patient_context.check_patient_id(BOUND, value)
    with pytest.raises(Forbidden):
        patient_context.check_patient_id(BOUND, "P2")
    patient_context.check_patient_id(Consumer(id="free"), "P2")


@pytest.mark.parametrize(
    ("value", "issuer", "is_another"),
    [
        ("P1", "HOSP-A", False),
        ("P1", "HOSP-B", True),
        ("P1", "HOSP-C", False),
        ("P2", "HOSP-A", True),
        ("P*", "HOSP-B", False),
        ("P1", None, False),
        (None, "HOSP-B", False),
    ],
)
def test_a_patient_id_with_its_issuer_names_a_patient(
    value: str | None, issuer: str | None, *, is_another: bool
) -> None:
    known = {"HOSP-A": SYSTEM, "HOSP-B": "urn:oid:1.2.4"}
    north = {"type": "folder", "path": "x", "issuer_systems": known}
    configured = Settings.model_validate({"archives": {"north": north}})
    keys = {k: v for k, v in (("00100020", value), ("00100021", issuer)) if v is not None}
    patient_context.check_issuer(Consumer(id="free"), keys, configured)
    if is_another:
        with pytest.raises(Forbidden):
            patient_context.check_issuer(BOUND, keys, configured)
    else:
        patient_context.check_issuer(BOUND, keys, configured)


def test_an_id_stands_for_the_identifiers_in_the_systems_that_are_configured() -> None:
    one = settings(north=SYSTEM, south=SYSTEM)
    of_one = patient_context.identifiers(patient_ids.of(one), one, "P1")
    assert of_one == (Identifier(value="P1", system=SYSTEM),)
    none = settings(north=None)
    assert patient_context.identifiers(patient_ids.of(none), none, "P1") == ()
    two = settings(north=SYSTEM, south="urn:oid:4")
    ids = patient_ids.of(two)
    assert patient_context.identifiers(ids, two, "P1") == ()


EHR = {"url": "https://ehr.example.org/fhir", "use": ["patients"]}
OTHER = {"url": "https://other.example.org/fhir", "use": ["patients"]}


@pytest.mark.parametrize(
    ("servers", "issuers", "claims", "server"),
    [
        ({"ehr": EHR}, [{}], {}, "ehr"),
        ({"ehr": EHR}, [{}], {"fhirServer": "https://ehr.example.org/fhir/"}, "ehr"),
        ({"ehr": EHR}, [{}], {"fhirServer": "https://other.example.org/fhir"}, None),
        ({"ehr": EHR, "other": OTHER}, [{}], {}, None),
        ({"ehr": EHR, "other": OTHER}, [{}], {"fhirServer": EHR["url"]}, None),
        ({"ehr": EHR, "other": OTHER}, [{"fhir_server": "other"}], {}, "other"),
        (
            {"ehr": EHR, "other": OTHER},
            [{"fhir_server": "other"}],
            {"fhirServer": EHR["url"]},
            None,
        ),
        ({"ehr": EHR}, [{}, {}], {}, None),
        ({"ehr": EHR}, [{"fhir_server": "ehr"}, {}], {}, "ehr"),
        ({}, [{}], {}, None),
    ],
)
def test_only_the_server_of_its_issuer_knows_the_patient_of_a_token(
    servers: dict[str, Any], issuers: list[dict[str, Any]], claims: dict[str, Any], server: str
) -> None:
    found = Settings.model_validate(
        {
            "fhir": {"patients": {"by": "server"}, "servers": servers},
            "auth": {"issuers": [{"issuer": "i", **one} for one in issuers]},
        }
    )
    said = tokens.claims({"sub": "s", "patient": "p", **claims})
    assert patient_context.server_of(said, found.auth.issuers[0], found) == server
