"""Whom a FHIR server's Patient stands for in archives."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.config_servers import FhirServer
from gateway.errors import BadRequest
from gateway.model import Identifier
from gateway.rules.foreign_patient import MOST_IDENTIFIERS, identifiers

HOSPITAL, OTHER = "urn:oid:2.999.1", "urn:oid:2.999.2"
NOW = datetime(2024, 6, 15, 12, tzinfo=UTC)
SERVER: dict[str, Any] = {"url": "https://ehr.example.org/fhir", "use": ["patients"]}


def read(answer: object, **server: Any) -> list[tuple[str | None, str]]:
    section = FhirServer.model_validate(SERVER | server)
    found = identifiers(answer, "p1", section, (HOSPITAL, OTHER), NOW)
    assert all(isinstance(one, Identifier) for one in found)
    return [(one.system, one.value) for one in found]


def patient(*identifiers: Any, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": "p1", "identifier": list(identifiers), **more}


def named(value: Any = "17", system: Any = HOSPITAL, **more: Any) -> dict[str, Any]:
    return {"system": system, "value": value, **more}


def test_identifiers_count_in_the_systems_of_archives() -> None:
    ssn = named("000-00", "http://hl7.org/fhir/sid/us-ssn")
    found = read(patient(named("17"), ssn, named("17", OTHER), named("17"), named("9", OTHER)))
    assert found == [(HOSPITAL, "17"), (OTHER, "17"), (OTHER, "9")]


def test_systems_may_be_written_otherwise_at_the_server() -> None:
    theirs = "https://hospital.example.org/mrn"
    assert read(patient(named("17", theirs))) == []
    assert read(patient(named("17", theirs)), identifier_systems={theirs: HOSPITAL}) == [
        (HOSPITAL, "17")
    ]


@pytest.mark.parametrize(
    "more",
    [
        {"use": "old"},
        {"period": {"end": "2024-06-14"}},
        {"period": {"end": "2024-05"}},
        {"period": {"end": "2023"}},
        {"period": {"end": "2024-06-15T11:59:59Z"}},
        {"period": {"start": "2024-06-16"}},
        {"period": {"end": "soon"}},
        {"period": {"start": 7}},
        {"period": "2024"},
    ],
)
def test_identifiers_of_another_time_do_not_count_unless_they_are_said_to(
    more: dict[str, Any],
) -> None:
    assert read(patient(named(**more), named("now"))) == [(HOSPITAL, "now")]
    old = read(patient(named(**more), named("now")), old_identifiers=True)
    assert old == [(HOSPITAL, "17"), (HOSPITAL, "now")]


@pytest.mark.parametrize(
    "more",
    [
        {"use": "official"},
        {"use": "usual", "period": {"start": "2020"}},
        {"period": {"end": "2024-06-15"}},
        {"period": {"end": "2024"}},
        {"period": {"start": "2024-06-15T12:00:00Z", "end": "2024-06-15T12:00:00Z"}},
        {"period": {}},
    ],
)
def test_identifiers_of_now_count(more: dict[str, Any]) -> None:
    assert read(patient(named(**more))) == [(HOSPITAL, "17")]


@pytest.mark.parametrize(
    "more",
    [
        {"active": False},
        {"active": "true"},
        {"active": None},
        {"link": [{"type": "replaced-by", "other": {"reference": "Patient/p2"}}]},
        {"link": [{"type": "replaces"}, {"type": "replaced-by"}]},
        {"link": [{"type": "replace"}]},
        {"link": [{}]},
        {"link": {"type": "replaced-by"}},
        {"link": ["replaced-by"]},
        {"modifierExtension": [{"url": "https://x", "valueBoolean": True}]},
        {"implicitRules": "https://x"},
    ],
)
def test_a_record_out_of_use_names_nobody(more: dict[str, Any]) -> None:
    assert read(patient(named(), **more), old_identifiers=True) == []


@pytest.mark.parametrize("kind", ["replaces", "seealso", "refer"])
def test_links_of_a_record_in_use_are_not_followed(kind: str) -> None:
    link = {"type": kind, "other": {"reference": "Patient/p2"}}
    assert read(patient(named(), link=[link], active=True)) == [(HOSPITAL, "17")]


@pytest.mark.parametrize(
    "one",
    [
        named(value=None), named(value=17), named(value=""), named(value=" 17"),
        named(value="a\\b"), named(value="a\nb"), named(system=None), named(system=7),
        {}, "17", None, 17,
    ],
)  # fmt: skip
def test_what_archives_cannot_be_asked_for_is_nobody(one: Any) -> None:
    assert read(patient(one)) == []
    assert read({"resourceType": "Patient", "id": "p1", "identifier": one}) == []


@pytest.mark.parametrize(
    "answer",
    [
        None, [], "Patient", {}, {"resourceType": "Patient"},
        {"resourceType": "Person", "id": "p1", "identifier": [named()]},
        {"resourceType": "Bundle", "id": "p1", "entry": [{"resource": patient(named())}]},
        {"resourceType": "OperationOutcome", "id": "p1"},
        patient(named(), id="p2"), patient(named(), id="P1"), patient(named(), id=["p1"]),
        patient(*(named(str(n)) for n in range(MOST_IDENTIFIERS + 1))),
    ],
)  # fmt: skip
def test_any_other_answer_is_refused(answer: object) -> None:
    with pytest.raises(BadRequest):
        read(answer)
