"""Where the FHIR versions differ."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.rules import fhir_shapes
from gateway.rules.fhir_elements import UNKNOWN
from gateway.rules.fhir_shapes import R4, R5, R6, Scope, Shape

CT = {"coding": [{"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "CT"}]}
KNEE: dict[str, Any] = {"coding": [{"system": "s", "code": "72696002"}], "text": "Knee"}
LEFT: dict[str, Any] = {"coding": [{"system": "s", "code": "7771000"}], "text": "Left"}
PATIENT = {"type": "Patient", "display": "Jane Doe"}


def test_modality_is_a_coding_until_r4b_and_a_concept_from_r5_on() -> None:
    assert R4.coded(CT) == CT["coding"][0]
    assert R5.coded(CT) == R6.coded(CT) == CT


@pytest.mark.parametrize(
    ("shape", "uid", "written"),
    [
        (R4, "1.2.3", {"sopClass": {"system": "urn:ietf:rfc:3986", "code": "urn:oid:1.2.3"}}),
        (R5, "1.02", {"sopClass": {"system": "urn:ietf:rfc:3986", "code": "urn:oid:1.02"}}),
        (R5, None, {"sopClass": UNKNOWN}),
        (R6, "1.2.3", {"sopClass": "urn:oid:1.2.3"}),
        (R6, "1.02", {"_sopClass": UNKNOWN}),
        (R6, None, {"_sopClass": UNKNOWN}),
    ],
    ids=["r4", "r5 leading zero", "r5 unknown", "r6", "r6 leading zero", "r6 unknown"],
)
def test_sop_class_is_a_coding_until_r5_and_an_oid_in_r6(
    shape: Shape, uid: str | None, written: dict[str, Any]
) -> None:
    assert shape.sop_class(uid) == written


def test_procedure_is_a_code_a_concept_or_a_contained_resource() -> None:
    scope = Scope(PATIENT)
    assert R4.procedure([KNEE], scope) == {"procedureCode": [KNEE]}
    assert R5.procedure([KNEE], scope) == {"procedure": [{"concept": KNEE}]}
    assert not scope.contained
    assert R6.procedure([KNEE], scope)["procedure"][0]["reference"] == "#procedure-1"
    assert scope.contained[0]["code"] == KNEE
    assert scope.contained[0]["subject"] == PATIENT


def test_reason_is_a_code_or_a_concept() -> None:
    assert R4.reason([KNEE]) == {"reasonCode": [KNEE]}
    assert R5.reason([KNEE]) == R6.reason([KNEE]) == {"reason": [{"concept": KNEE}]}


def test_side_is_an_element_until_r5_and_part_of_the_body_site_in_r6() -> None:
    scope = Scope(PATIENT)
    assert R4.body_site(KNEE, LEFT, scope) == {
        "bodySite": {"system": "s", "code": "72696002"},
        "laterality": {"system": "s", "code": "7771000"},
    }
    assert R5.body_site(KNEE, LEFT, scope) == {"bodySite": {"concept": KNEE}, "laterality": LEFT}
    assert R6.body_site(KNEE, None, scope) == {"bodySite": {"concept": KNEE}}
    assert R6.body_site(KNEE, LEFT, scope)["bodySite"]["reference"]["display"] == "Left Knee"


@pytest.mark.parametrize("shape", [R4, R5, R6], ids=["r4", "r5", "r6"])
def test_unknown_site_and_side_are_left_out(shape: Shape) -> None:
    assert shape.body_site(None, None, Scope(PATIENT)) == {}


def test_words_alone_are_the_display_of_a_coding() -> None:
    assert fhir_shapes.as_coding({"text": "LEFT BIG TOE"}) == {"display": "LEFT BIG TOE"}


def test_equal_resources_are_contained_once() -> None:
    scope = Scope(PATIENT)
    first = scope.contain("Organization", {"name": "Metro"})
    second = scope.contain("Organization", {"name": "South"})
    assert [first, second] == ["#organization-1", "#organization-2"]
    assert scope.contain("Organization", {"name": "Metro"}) == first
    assert [one["id"] for one in scope.contained] == ["organization-1", "organization-2"]
