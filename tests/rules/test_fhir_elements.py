"""FHIR data types out of DICOM words."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.model import Code, Identifier, PersonName
from gateway.rules import fhir_elements
from tests.study_records import YAMADA

SNOMED = "http://snomed.info/sct"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (" a ", "a"),
        ("a\x00b\x1f", "ab"),
        ("tab\tstays", "tab\tstays"),
        ("\x07", None),
        (None, None),
    ],
)
def test_text_has_no_control_characters_and_is_never_empty(
    written: str | None, expected: str | None
) -> None:
    assert fhir_elements.text(written) == expected


@pytest.mark.parametrize(
    ("written", "expected"), [("  A   B ", "A B"), ("\t", None), ("CT", "CT"), (None, None)]
)
def test_code_has_single_spaces_only(written: str | None, expected: str | None) -> None:
    assert fhir_elements.code(written) == expected


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0, 0), (2147483647, 2147483647), (2147483648, None), (-1, None), (None, None)],
)
def test_numbers_beyond_unsigned_int_are_left_out(number: int | None, expected: int | None) -> None:
    assert fhir_elements.unsigned_int(number) == expected


@pytest.mark.parametrize(
    ("uid", "expected"),
    [("1.2.840.10008", True), ("2.25.1", True), ("1.02.3", False), ("3.1", False), ("1", False)],
)
def test_oids_have_no_leading_zeros_and_begin_with_0_to_2(*, uid: str, expected: bool) -> None:
    assert fhir_elements.is_oid(uid) is expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        pytest.param(
            Code(value="22298006", scheme="SCT", meaning="Infarct"),
            {
                "coding": [{"system": SNOMED, "code": "22298006", "display": "Infarct"}],
                "text": "Infarct",
            },
            id="SNOMED CT",
        ),
        pytest.param(
            Code(
                value="T-32000", scheme="SRT", scheme_uid="2.16.840.1.113883.6.96", meaning="Heart"
            ),
            {
                "coding": [{"system": SNOMED, "code": "80891009", "display": "Heart"}],
                "text": "Heart",
            },
            id="SNOMED-RT that has a known successor",
        ),
        pytest.param(
            Code(
                value="P5-0808E",
                scheme="SRT",
                scheme_uid="2.16.840.1.113883.6.96",
                meaning="CT of abdomen",
            ),
            {"text": "CT of abdomen"},
            id="SNOMED-RT is not SNOMED CT, whatever its UID says",
        ),
        pytest.param(
            Code(value="X1", scheme="99HOSP", scheme_uid="1.2.40.1"),
            {"coding": [{"system": "urn:oid:1.2.40.1", "code": "X1"}]},
            id="private scheme with a UID",
        ),
        pytest.param(Code(value="X1", scheme="99HOSP"), {"text": "X1"}, id="private scheme"),
        pytest.param(
            Code(value="X1", scheme="99ABC", scheme_uid="1.2.40.1"),
            {"coding": [{"system": "https://abc.example.org", "code": "X1"}]},
            id="configured scheme",
        ),
        pytest.param(Code(meaning="only words"), {"text": "only words"}, id="no code"),
        pytest.param(Code(scheme="SCT"), None, id="nothing"),
    ],
)
def test_concept_has_a_coding_only_in_a_known_system(
    code: Code, expected: dict[str, Any] | None
) -> None:
    assert fhir_elements.concept(code, {"99ABC": "https://abc.example.org"}) == expected


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (PersonName(alphabetic="Curie^Marie^Salomea^Dr^MD"), "Dr Marie Salomea Curie MD"),
        (YAMADA, "Tarou Yamada"),
        (PersonName(alphabetic="^^", ideographic="山田^太郎"), "太郎 山田"),
        (PersonName(alphabetic="Roentgen"), "Roentgen"),
        (PersonName(alphabetic="^^^^"), None),
        (PersonName(), None),
        (None, None),
    ],
    ids=["five parts", "first group", "empty first group", "one word", "carets", "empty", "none"],
)
def test_name_for_people_is_that_of_the_first_group_that_has_any(
    name: PersonName | None, shown: str | None
) -> None:
    assert fhir_elements.person_name(name) == shown


def test_each_name_group_is_a_human_name_marked_with_its_kind() -> None:
    names = fhir_elements.human_names(YAMADA)
    kinds = [name["extension"][0]["valueCode"] for name in names]
    assert kinds == ["ABC", "IDE", "SYL"]
    assert [name["family"] for name in names] == ["Yamada", "山田", "やまだ"]


def test_name_without_parts_is_text_and_family() -> None:
    (name,) = fhir_elements.human_names(PersonName(alphabetic="Roentgen"))
    assert (name["text"], name["family"]) == ("Roentgen", "Roentgen")


def test_issuer_without_a_system_is_the_assigner() -> None:
    found = fhir_elements.identifier(Identifier(value="1", assigner="WARD"), "ACSN")
    assert found == {
        "type": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "ACSN"}]
        },
        "value": "1",
        "assigner": {"display": "WARD"},
    }


def test_system_that_is_no_uri_is_the_assigner() -> None:
    found = fhir_elements.identifier(Identifier(value="1", system="Metro Hospital"))
    assert found == {"value": "1", "assigner": {"display": "Metro Hospital"}}


def test_person_is_identified_by_codes_in_their_own_scheme() -> None:
    codes = (
        Code(value="7", scheme="99HOSP", scheme_uid="1.2.40.7"),
        Code(value="8", scheme="99HOSP"),
        Code(value="9", scheme="99ABC"),
        Code(meaning="no value"),
    )
    assert fhir_elements.code_identifiers(codes, {"99ABC": "https://abc.example.org"}) == [
        {"system": "urn:oid:1.2.40.7", "value": "7"},
        {"value": "8", "assigner": {"display": "99HOSP"}},
        {"system": "https://abc.example.org", "value": "9"},
    ]
