"""Endpoint in every version."""

from __future__ import annotations

import pytest

from gateway.model import ConnectionType, Endpoint
from gateway.rules import fhir_endpoint, fhir_search
from gateway.rules.fhir_dates import moment
from gateway.rules.fhir_search import Reading
from gateway.rules.fhir_versions import VERSIONS
from tests import fhir_oracles

NOW = moment("2026-01-01") or pytest.fail("a date")


def endpoint(kind: str) -> Endpoint:
    return Endpoint(
        id=f"gateway-{kind}",
        address="https://gateway.example.org/dicom-web",
        connection_types=(kind,),
        name="WADO-RS of the gateway",
        period_start="2024",
    )


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", [k.value for k in ConnectionType] + ["hl7-fhir-rest"])
def test_endpoints_are_valid_in_every_version(kind: str, version: str) -> None:
    resource = VERSIONS[version].endpoint(endpoint(kind))
    fhir_oracles.validate(resource, version)
    assert not list(fhir_oracles.empties(resource))
    if fhir_oracles.has_official_schema():
        assert not fhir_oracles.schema_errors(resource, version)


def test_r4_has_one_connection_type_and_a_payload_type() -> None:
    resource = VERSIONS["r4"].endpoint(endpoint("dicom-wado-rs"))
    assert resource["connectionType"]["code"] == "dicom-wado-rs"
    assert resource["payloadType"] == [{"text": "DICOM"}]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("connection-type", "dicom-wado-rs", True),
        ("connection-type", f"{fhir_endpoint.CONNECTION_TYPE}|dicom-wado-rs", True),
        ("connection-type", "http://other.example.org|dicom-wado-rs", False),
        ("name", "wado", True),
        ("name", "gateway", False),
        ("name:contains", "Gateway", True),
        ("name:exact", "WADO-RS of the gateway", True),
        ("name:exact", "wado-rs of the gateway", False),
        ("status", "active", True),
        ("payload-type:missing", "true", True),
    ],
)
def test_endpoints_are_found_by_what_they_are(
    *, name: str, value: str, expected: bool, version: str
) -> None:
    parameters = fhir_search.by_name(fhir_endpoint.PARAMETERS)
    found = fhir_search.criterion(name, value, parameters, Reading(base="^x/", now=NOW))
    assert found is not None
    resource = VERSIONS[version].endpoint(endpoint("dicom-wado-rs"))
    assert fhir_search.meets(resource, [found], 0, NOW) is expected
