"""Resources whole and in part."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.rules import fhir_subsets
from gateway.rules.fhir_results import Wanted
from gateway.rules.fhir_versions import VERSIONS
from gateway.rules.imaging_study import imaging_study
from tests import fhir_oracles
from tests.rules.test_imaging_study import CARRIED, ENDPOINT
from tests.study_records import SIDED, WHOLE

SUBSETTED = {"tag": [fhir_subsets.SUBSETTED]}
each_version = pytest.mark.parametrize("version", VERSIONS)


def served(wanted: Wanted, version: str = "r5") -> dict[str, Any]:
    resource = imaging_study(WHOLE, VERSIONS[version].shape, CARRIED)
    return fhir_subsets.served(resource, wanted, VERSIONS[version].number)


@each_version
@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(),
        Wanted(summary="true"),
        Wanted(summary="text"),
        Wanted(summary="data"),
        Wanted(elements=frozenset({"started"})),
        Wanted(elements=frozenset({"series", "referrer"})),
    ],
    ids=["whole", "summary", "text", "data", "started", "series"],
)
def test_subsets_are_valid_resources(wanted: Wanted, version: str) -> None:
    resource = served(wanted, version)
    fhir_oracles.validate(resource, version)
    assert not fhir_oracles.dangling(resource)
    assert not list(fhir_oracles.empties(resource))


def test_summary_has_everything_but_instances_and_contained_resources() -> None:
    whole, summary = served(Wanted()), served(Wanted(summary="true"))
    assert whole.keys() - summary.keys() == {"contained"}
    assert not [series for series in summary["series"] if "instance" in series]
    assert summary["referrer"] == {
        "type": "Practitioner",
        "identifier": {"value": "4711", "assigner": {"display": "99HOSP"}},
        "display": "Dr Marie Salomea Curie MD",
    }
    assert summary["endpoint"] == whole["endpoint"]
    assert summary["meta"] == SUBSETTED


def test_time_is_no_content_and_stays_in_every_part() -> None:
    shape, time = VERSIONS["r5"].shape, {"lastUpdated": "2024-05-14T10:00:00.000Z"}
    resource = imaging_study(replace(WHOLE, last_updated=time["lastUpdated"]), shape, CARRIED)
    whole = fhir_subsets.served(resource, Wanted(), "5.0")
    assert whole["meta"] == served(Wanted())["meta"] | time
    assert list(whole)[:3] == ["resourceType", "id", "meta"]
    for wanted in (Wanted(summary="true"), Wanted(elements=frozenset({"started"}))):
        assert fhir_subsets.served(resource, wanted, "5.0")["meta"] == SUBSETTED | time


def test_elements_keep_what_they_refer_to() -> None:
    resource = served(Wanted(elements=frozenset({"referrer"})))
    assert resource.keys() == {
        "resourceType",
        "id",
        "meta",
        "contained",
        "status",
        "subject",
        "referrer",
    }
    assert [one["resourceType"] for one in resource["contained"]] == ["Practitioner"]
    assert resource["meta"] == SUBSETTED


@each_version
def test_series_keep_the_uid_of_their_study(version: str) -> None:
    resource = imaging_study(WHOLE, VERSIONS[version].shape, CARRIED)
    part = fhir_subsets.served(resource, Wanted(elements=frozenset({"series"})), "5.0")
    assert part["identifier"] == resource["identifier"]
    assert not fhir_oracles.broken_invariants(part, version)


@each_version
def test_subset_of_an_endpoint_keeps_what_must_be_there(version: str) -> None:
    resource = VERSIONS[version].endpoint(ENDPOINT)
    part = fhir_subsets.served(resource, Wanted(elements=frozenset({"name"})), "5.0")
    assert part["address"] == resource["address"]
    fhir_oracles.validate(part, version)


def test_text_has_the_mandatory_elements_only() -> None:
    resource = served(Wanted(summary="text"))
    assert resource.keys() == {"resourceType", "id", "meta", "status", "subject"}


def test_version_changes_with_the_content_and_with_the_fhir_version() -> None:
    tags = set()
    for version in VERSIONS.values():
        for study in (WHOLE, SIDED, replace(WHOLE, description="changed")):
            resource = imaging_study(study, version.shape, CARRIED)
            tags.add(
                fhir_subsets.entity_tag(fhir_subsets.served(resource, Wanted(), version.number))
            )
    assert len(tags) == 12


def test_subset_has_no_version() -> None:
    assert fhir_subsets.entity_tag(served(Wanted(summary="true"))) is None
