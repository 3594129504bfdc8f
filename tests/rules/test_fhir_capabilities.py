"""CapabilityStatements."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gateway.rules import fhir_capabilities, fhir_patient
from gateway.rules.fhir_results import IMAGING_STUDIES, PATIENTS
from gateway.rules.fhir_versions import VERSIONS, Version
from gateway.rules.imaging_study_chains import CHAINS
from gateway.rules.imaging_study_parameters import PARAMETERS
from tests import fhir_oracles, fhir_structures

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
        assert not fhir_structures.errors(statement(version), version)

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
    def test_parameters_of_patients_are_the_version_s_own(version: str) -> None:
        official = fhir_oracles.search_parameters(version, "Patient")
        patients = statement(version)["rest"][0]["resource"][2]
        for parameter in patients["searchParam"]:
            assert official[parameter["name"]] == parameter["type"], parameter["name"]


@each_version
def test_statement_names_its_version_and_includes(version: str) -> None:
    found = statement(version)
    (rest,) = found["rest"]
    studies, endpoints, patients = rest["resource"]
    to_patient = ["ImagingStudy:patient", "ImagingStudy:subject"]
    assert found["fhirVersion"].startswith(VERSIONS[version].number)
    assert studies["searchInclude"] == ["ImagingStudy:endpoint", *to_patient]
    assert "searchInclude" not in endpoints
    assert patients["searchRevInclude"] == to_patient
    assert rest["compartment"] == ["http://hl7.org/fhir/CompartmentDefinition/patient"]


@each_version
def test_statement_names_no_patients_where_they_are_no_resources(version: str) -> None:
    found = fhir_capabilities.capability_statement(
        VERSIONS[version], "https://gateway.example.org/fhir", "2026-01-01", has_patients=False
    )
    (rest,) = found["rest"]
    assert [one["type"] for one in rest["resource"]] == ["ImagingStudy", "Endpoint"]
    assert rest["resource"][0]["searchInclude"] == ["ImagingStudy:endpoint"]
    assert "compartment" not in rest
    fhir_oracles.validate(found, version)


PAGE = Path(__file__).parents[2] / "docs" / "fhir.md"


def table(*rows: Sequence[str]) -> str:
    head, *others = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join(["", head, "|---" * len(rows[0]) + "|", *others, ""])


def called(version: Version, name: str) -> str:
    (parameter,) = (p for p in PARAMETERS if p.name == name)
    if name in version.absent:
        return "-"
    return f"`{version.name(parameter)}` {version.kind(parameter).value}"


def parameter_table() -> str:
    shown = [VERSIONS[v] for v in ("r4", "r5", "r6")]
    rows = [
        (
            *(called(v, p.name) for v in shown),
            p.documentation.format(name=p.name).replace("|", "\\|"),
        )
        for p in PARAMETERS
    ]
    return table(("R4, R4B", "R5", "R6", "Notes"), *rows)


def chain_table() -> str:
    rows = [(f"`{c.name}`", c.kind.value) for c in CHAINS]
    return table(("Chain", "Type"), *rows)


def patient_table() -> str:
    rows = [(f"`{p.name}`", p.kind.value) for p in fhir_patient.PARAMETERS]
    return table(("Parameter of Patient", "Type"), *rows)


@pytest.mark.parametrize(
    ("mark", "expected"),
    [
        ("parameters", parameter_table()),
        ("chains", chain_table()),
        ("patient-parameters", patient_table()),
    ],
)
def test_page_for_people_has_the_tables_of_the_code(mark: str, expected: str) -> None:
    """WRITE_DOCS=1 writes them into it."""
    text = PAGE.read_text()
    before, _, rest = text.partition(f"<!-- {mark} -->")
    written, _, after = rest.partition(f"<!-- /{mark} -->")
    if "WRITE_DOCS" in os.environ:
        PAGE.write_text(f"{before}<!-- {mark} -->{expected}<!-- /{mark} -->{after}")
        return
    assert written == expected


def test_page_for_people_names_every_include_and_sort() -> None:
    text = PAGE.read_text()
    bringing = IMAGING_STUDIES.includes | PATIENTS.reverse_includes
    for name in bringing | IMAGING_STUDIES.empty_reverse_includes:
        assert f"`{name}`" in text
    (sorts,) = (line for line in text.splitlines() if line.startswith("| `_sort`"))
    assert {word.strip("`,;") for word in sorts.split()} >= IMAGING_STUDIES.sorts
