"""The table of versions."""

from __future__ import annotations

import re

import pytest

from gateway.rules.fhir_search import by_name
from gateway.rules.fhir_versions import VERSIONS, base_pattern
from gateway.rules.imaging_study_parameters import PARAMETERS


@pytest.mark.parametrize(
    ("parameter", "names"),
    [
        ("based-on", ["basedon", "basedon", "based-on", "based-on"]),
        ("body-site", ["bodysite", "bodysite", "body-site", "body-site"]),
        ("reason", ["reason", "reason", "reason", "reason-concept"]),
        ("modality", ["modality"] * 4),
    ],
)
def test_each_version_has_its_own_names(parameter: str, names: list[str]) -> None:
    found = by_name(PARAMETERS)[parameter]
    assert [version.name(found) for version in VERSIONS.values()] == names


def test_every_name_of_every_version_is_accepted_in_all() -> None:
    known = by_name(PARAMETERS)
    for version in VERSIONS.values():
        assert {version.name(p) for p in PARAMETERS} <= known.keys()


def test_sop_class_is_searched_for_as_a_uri_in_r6() -> None:
    found = by_name(PARAMETERS)["dicom-class"]
    kinds = [version.kind(found).value for version in VERSIONS.values()]
    assert kinds == ["token", "token", "token", "uri"]


@pytest.mark.parametrize("base", ["fhir", "fhir/r4", "fhir/r4b", "fhir/r6"])
def test_every_base_is_the_gateway_s_own(base: str) -> None:
    pattern = base_pattern("https://gateway.example.org")
    assert re.sub(pattern, "", f"https://gateway.example.org/{base}/Endpoint/1") == "Endpoint/1"
    assert re.sub(pattern, "", f"https://gatewayXexample.org/{base}/Endpoint/1").startswith("https")
