"""CapabilityStatements."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.rules import fhir_capabilities
from gateway.rules.fhir_versions import VERSIONS
from tests import fhir_oracles

each_version = pytest.mark.parametrize("version", VERSIONS)


def statement(version: str) -> dict[str, Any]:
    return fhir_capabilities.capability_statement(
        VERSIONS[version], "https://gateway.example.org/fhir", "2026-01-01"
    )


@each_version
def test_statement_is_valid(version: str) -> None:
    fhir_oracles.validate(statement(version), version)
    assert not list(fhir_oracles.empties(statement(version)))


if fhir_oracles.has_official_schema():

    @each_version
    def test_statement_fits_the_official_schema(version: str) -> None:
        assert not fhir_oracles.schema_errors(statement(version), version)

    @each_version
    def test_parameters_are_the_version_s_own(version: str) -> None:
        official = fhir_oracles.search_parameters(version, "ImagingStudy")
        studies = statement(version)["rest"][0]["resource"][0]
        named = {parameter["name"] for parameter in studies["searchParam"]}
        common = {"_filter", "_content", "_text", "_query", "_list", "_has", "_type", "_source"}
        if version == "r6":  # its definitions here file other types' parameters under Resource
            return
        assert set(official) - named - common <= {"_lastUpdated", "_language", "_in"}
        for parameter in studies["searchParam"]:
            assert official[parameter["name"]] == parameter["type"], parameter["name"]


@each_version
def test_statement_names_its_version_and_includes(version: str) -> None:
    found = statement(version)
    studies, endpoints = found["rest"][0]["resource"]
    assert found["fhirVersion"].startswith(VERSIONS[version].number)
    assert studies["searchInclude"] == ["ImagingStudy:endpoint"]
    assert "searchInclude" not in endpoints
