"""Searches that follow a reference."""

from __future__ import annotations

import pytest

from gateway.rules.fhir_versions import VERSIONS
from gateway.rules.imaging_study import imaging_study
from gateway.rules.imaging_study_chains import CHAINS, searchable
from gateway.rules.imaging_study_parameters import PARAMETERS
from tests.rules.test_fhir_search import is_met
from tests.rules.test_imaging_study import CARRIED
from tests.study_records import EMPTY, WHOLE


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("patient.name", "yama", True),
        ("patient.name", "Tarou Yamada", True),
        ("patient.name", "amada", False),
        ("patient.name:contains", "amada", True),
        ("patient.name:exact", "Yamada", True),
        ("patient.name:exact", "yamada", False),
        ("patient.family", "山田", True),
        ("patient.given", "山田", False),
        ("subject:Patient.given", "taro", True),
        ("patient.birthdate", "1970", True),
        ("patient.birthdate", "gt1970", False),
        ("patient.gender", "male", True),
        ("patient.gender", "http://hl7.org/fhir/administrative-gender|male", True),
        ("patient.gender", "female", False),
        ("referrer.name", "curie", True),
        ("referrer.name", "MARIE", True),
        ("performer.name", "roentgen", True),
        ("performer.name", "metro", True),
        ("performer:Practitioner.name", "metro", False),
        ("performer:Organization.name", "metro", True),
    ],
)
def test_chain_finds_what_the_reference_leads_to(
    name: str, text: str, expected: object, version: str
) -> None:
    assert is_met(name, text, version) is expected


def test_reader_is_found_by_name_where_the_version_tells_one() -> None:
    assert is_met("interpreter.name", "roentgen", "r4")
    assert not is_met("interpreter.name", "roentgen", "r5")


@pytest.mark.parametrize("version", VERSIONS)
def test_chains_start_at_references_and_find_nothing_where_nothing_is(version: str) -> None:
    references = {p.name: p for p in PARAMETERS if p.targets}
    resource = searchable(imaging_study(EMPTY, VERSIONS[version].shape, CARRIED), EMPTY.patient)
    for chain in CHAINS:
        head = chain.name.partition(".")[0].partition(":")[0]
        assert set(chain.targets) <= set(references[head].targets)
        assert chain.level is references[head].level
        assert not list(chain.found(resource))


def test_resource_itself_is_left_as_it_is() -> None:
    resource = imaging_study(WHOLE, VERSIONS["r5"].shape, CARRIED)
    before = len(resource["contained"])
    assert len(searchable(resource, WHOLE.patient)["contained"]) == before + 1
    assert len(resource["contained"]) == before
