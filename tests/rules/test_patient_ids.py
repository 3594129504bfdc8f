"""Ids of Patient resources."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import (
    AnyArchive,
    Fhir,
    FhirPatients,
    FolderArchive,
    ListedPatient,
    Settings,
)
from gateway.config_types import FHIR_ID
from gateway.model import Identifier, Patient
from gateway.rules import fhir_elements, patient_ids
from gateway.rules.patient_ids import NOBODY, ByIdentity, Listed, PatientIds

HOSPITAL, OTHER = "urn:oid:2.999.1", "urn:oid:2.999.3"


def settings(*systems: str | None, **patients: object) -> Settings:
    archives: dict[str, AnyArchive] = {
        f"a{number}": FolderArchive(type="folder", path=Path(), patient_system=system)
        for number, system in enumerate(systems)
    }
    chosen = FhirPatients.model_validate(patients)
    return Settings(archives=archives, fhir=Fhir(patients=chosen))


def ids(*systems: str | None, **patients: object) -> PatientIds:
    return patient_ids.of(settings(*systems, **patients))


def named(value: str, system: str | None = HOSPITAL, assigner: str | None = None) -> Patient:
    return Patient(id=Identifier(value=value, system=system, assigner=assigner))


@pytest.mark.parametrize(
    ("systems", "system", "is_plain"),
    [
        ((HOSPITAL,), HOSPITAL, True),
        ((HOSPITAL, HOSPITAL), HOSPITAL, True),
        ((HOSPITAL, None), HOSPITAL, True),
        ((HOSPITAL, None), None, False),
        ((HOSPITAL,), OTHER, False),
        ((None, None), None, True),
        ((None,), HOSPITAL, False),
        ((HOSPITAL, OTHER), HOSPITAL, False),
        ((HOSPITAL, OTHER), OTHER, False),
    ],
)
def test_id_is_the_patient_id_itself_in_the_one_system_that_archives_have(
    systems: tuple[str | None, ...], system: str | None, is_plain: object
) -> None:
    found = ids(*systems)
    made = found.id_of(named("PID-4711.a", system))
    assert made is not None
    assert (made == "PID-4711.a") is is_plain
    assert found.identifier_of(made) == ("PID-4711.a",)


@pytest.mark.parametrize(
    ("patient", "form"),
    [
        (named("4711"), r"4711"),
        (named("HOSP_4711"), r"plain\.b32\.[a-z2-7]+"),
        (named(".."), r"plain\.b32\.[a-z2-7]+"),
        (named("plain.b32.mfrgg"), r"plain\.b32\.[a-z2-7]+"),
        (named("山田 1"), r"plain\.b32\.[a-z2-7]+"),
        (named("4711", OTHER), r"[a-z2-7]{16}\.id\.4711"),
        (named("HOSP_4711", OTHER), r"[a-z2-7]{16}\.b32\.[a-z2-7]+"),
        (named("4711", None, "WARD"), r"[a-z2-7]{16}\.id\.4711"),
        (named("4711", "no uri"), r"[a-z2-7]{16}\.id\.4711"),
        (named("1" * 64), r"1{64}"),
        (named("_" * 33), r"plain\.b32\.[a-z2-7]{53}"),
        (named("1" * 44, OTHER), r"[a-z2-7]{16}\.id\.1{44}"),
    ],
)
def test_ids_have_one_of_three_forms(patient: Patient, form: str) -> None:
    made = ids(HOSPITAL).id_of(patient)
    assert made is not None
    assert FHIR_ID.fullmatch(made)
    assert re.fullmatch(form, made)
    assert patient.id is not None
    assert ids(HOSPITAL).identifier_of(made) == (patient.id.value,)


@pytest.mark.parametrize(
    "patient",
    [
        Patient(),
        named("_" * 34),
        named("1" * 65),
        named("1" * 45, OTHER),
        named("A\\B"),
        named("A\x01B"),
        named("\u3000A"),
    ],
)
def test_patient_without_a_possible_id_is_no_resource(patient: Patient) -> None:
    assert ids(HOSPITAL).id_of(patient) is None


@pytest.mark.parametrize(
    "resource_id",
    [
        "",
        "a_b",
        ".",
        "..",
        "1" * 65,
        "plain.id.4711",
        "plain.b32.!",
        "plain.b32.GQ3TCMI",
        "plain.b32.gq3tcmi",
        "plain.b32.7777",
        "a" * 16 + ".id.a_b",
    ],
)
def test_what_no_patient_is_called_leads_to_none(resource_id: str) -> None:
    assert ids(HOSPITAL).identifier_of(resource_id) == ()


values = st.one_of(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=40),
    st.text("aAbB2-.", min_size=1, max_size=64),
    st.sampled_from(["1", ".", "..", "plain.b32.ge", "plain.id.1", "a" * 16 + ".id.1"]),
)
systems = st.sampled_from([None, HOSPITAL, OTHER, "urn:oid:2.999.30", "no uri", "\n"])
patients = st.builds(named, values, systems, st.sampled_from([None, "WARD", "no uri", "urn:x"]))


def identity(patient: Patient) -> object:
    """Who a patient is, as resources tell it."""
    return fhir_elements.identifier(patient.id)


@given(patient=patients, others=st.lists(patients, max_size=20))
def test_two_patients_never_share_an_id(patient: Patient, others: list[Patient]) -> None:
    for found in (ids(HOSPITAL), ids(), ids(HOSPITAL, OTHER)):
        called = found.id_of(patient)
        for other in others:
            if called is not None and found.id_of(other) == called:
                assert identity(other) == identity(patient)


@given(patient=patients)
def test_id_leads_back_to_the_patient_id(patient: Patient) -> None:
    """Whatever is made into an id can be read from it: so nothing else is made into the same."""
    found = ids(HOSPITAL)
    made = found.id_of(patient)
    written = fhir_elements.identifier(patient.id)
    if made is not None and written is not None:
        assert FHIR_ID.fullmatch(made)
        assert found.identifier_of(made) == (written["value"],)


@given(text=st.one_of(st.from_regex(FHIR_ID, fullmatch=True), values))
def test_every_id_that_leads_somewhere_is_the_one_that_is_made_there(text: str) -> None:
    plain = ByIdentity(plain=(HOSPITAL, None))
    for value in plain.identifier_of(text):
        spaces = [named(value, system) for system in (HOSPITAL, OTHER, None)]
        coded = {plain.id_of(one) for one in spaces}
        assert text in coded or text[16:].startswith((".id.", ".b32."))


def test_listed_patients_are_resources_and_no_others() -> None:
    found = ids(
        HOSPITAL,
        by="listed",
        listed={
            "p1": ListedPatient(system=HOSPITAL, value="4711"),
            "p2": ListedPatient(value="4711"),
        },
    )
    assert isinstance(found, Listed)
    assert found.id_of(named("4711")) == "p1"
    assert found.id_of(named("4711", None)) == "p2"
    assert found.id_of(named("4711", None, "WARD")) is None
    assert found.id_of(named("4712")) is None
    assert found.id_of(Patient()) is None
    assert found.identifier_of("p1") == found.identifier_of("p2") == ("4711",)
    assert found.identifier_of("4711") == ()


def test_nobody_is_a_resource_where_none_are_wanted() -> None:
    found = ids(HOSPITAL, by="none")
    assert found is NOBODY
    assert found.id_of(named("4711")) is None
    assert found.identifier_of("4711") == ()
