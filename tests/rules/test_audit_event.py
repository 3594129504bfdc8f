from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest
from fhir.resources.R4B.auditevent import AuditEvent

from gateway.model import Identifier
from gateway.rules.audit_event import Access, events

READ = Access(
    recorded="2026-01-02T03:04:05.678Z",
    request_id="abcdefgh",
    consumer="metro-hie",
    user="dr-who",
    address="10.0.0.7",
    server="https://gw.example.org",
    asked="/dicom-web/studies/1.2/metadata",
    is_query=False,
)
ALICE = Identifier(value="A", system="urn:oid:1.2.3")


def codes(event: dict[str, Any]) -> list[str]:
    return [agent["type"]["coding"][0]["code"] for agent in event["agent"]]


def test_a_read_names_patient_study_client_and_user() -> None:
    (event,) = events(READ, {"1.2": ALICE})

    AuditEvent.model_validate(event)
    assert event["meta"]["profile"][0].endswith("IHE.BasicAudit.PatientRead")
    assert (event["action"], event["outcome"]) == ("R", "0")
    assert codes(event) == ["IRCP", "110152", "110153"]
    assert [a["requestor"] for a in event["agent"]] == [True, False, False]
    by_type = {e["type"]["code"]: e for e in event["entity"]}
    assert by_type["1"]["what"]["identifier"] == {"system": "urn:oid:1.2.3", "value": "A"}
    assert by_type["2"]["what"]["identifier"]["value"] == "urn:oid:1.2"
    assert by_type["XrequestId"]["what"]["identifier"]["value"] == "abcdefgh"


@pytest.mark.parametrize(
    ("issuer", "of"),
    [
        ("https://a.example.org", {"system": "https://a.example.org"}),
        ("our own", {"assigner": {"display": "our own"}}),
    ],
)
def test_client_and_user_are_those_of_an_issuer(issuer: str, of: dict[str, Any]) -> None:
    (event,) = events(replace(READ, issuer=issuer), {"1.2": ALICE})
    AuditEvent.model_validate(event)
    user, client = (agent["who"] for agent in event["agent"][:2])
    assert user == {"identifier": {**of, "value": "dr-who"}}
    assert client == {"display": "metro-hie", "identifier": {**of, "value": "metro-hie"}}


def test_a_query_is_one_event_for_each_patient_with_the_query_as_it_came() -> None:
    access = replace(READ, is_query=True, asked="/dicom-web/studies?PatientName=A*")

    found = events(access, {"1.2": ALICE, "1.3": Identifier(value="B"), "1.4": ALICE})

    assert len(found) == 2
    for event in found:
        AuditEvent.model_validate(event)
        assert event["meta"]["profile"][0].endswith("IHE.BasicAudit.PatientQuery")
        assert codes(event) == ["IRCP", "110153", "110152"]
        query = next(e["query"] for e in event["entity"] if "query" in e)
        assert base64.b64decode(query).decode() == access.asked
    studies = [
        e["what"]["identifier"]["value"]
        for e in found[0]["entity"]
        if e["type"]["code"] == "2" and "what" in e
    ]
    assert studies == ["urn:oid:1.2", "urn:oid:1.4"]


@pytest.mark.parametrize(
    ("is_query", "profile"), [(True, "IHE.BasicAudit.Query"), (False, "IHE.BasicAudit.Read")]
)
def test_without_a_patient_the_plain_profile_is_followed(*, is_query: bool, profile: str) -> None:
    for studies in ({}, {"1.2": None}):
        (event,) = events(replace(READ, is_query=is_query, user=None, address=None), studies)
        AuditEvent.model_validate(event)
        assert event["meta"]["profile"][0].endswith(f"/{profile}")
        assert event["agent"][0]["requestor"]


def test_what_was_denied_claims_no_success() -> None:
    (event,) = events(replace(READ, outcome="4", consumer=None, user=None), {"1.2": ALICE})
    AuditEvent.model_validate(event)
    assert "meta" not in event
    assert event["outcome"] == "4"
    assert event["agent"][0]["who"] == {"display": "unknown"}
