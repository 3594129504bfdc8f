"""Criteria, and which resources meet them, in every version."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest
from gateway.model import Level
from gateway.rules import fhir_search
from gateway.rules.fhir_dates import moment
from gateway.rules.fhir_search import Criterion, Reading
from gateway.rules.fhir_versions import VERSIONS, base_pattern
from gateway.rules.imaging_study import imaging_study
from gateway.rules.imaging_study_chains import CHAINS, searchable
from gateway.rules.imaging_study_parameters import PARAMETERS
from tests.rules.test_imaging_study import CARRIED
from tests.study_records import EMPTY, SIDED, WHOLE

NOW = moment("2026-01-01T00:00:00Z") or pytest.fail("a date")
READING = Reading(base=base_pattern("https://gateway.example.org"), now=NOW)
NAMES = fhir_search.by_name((*PARAMETERS, *CHAINS))
DCM = "http://dicom.nema.org/resources/ontology/DCM"


def criterion(name: str, text: str) -> Criterion:
    found = fhir_search.criterion(name, text, NAMES, READING)
    assert found is not None
    return found


def is_met(name: str, text: str, version: str = "r5") -> bool:
    resource = imaging_study(WHOLE, VERSIONS[version].shape, CARRIED)
    whole = searchable(resource, WHOLE.patient)
    return fhir_search.meets(whole, [criterion(name, text)], 0, NOW)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("_id", "1.2.826.1", True),
        ("_id", "1.2.826", False),
        ("_id", "x,1.2.826.1", True),
        ("identifier", "urn:dicom:uid|urn:oid:1.2.826.1", True),
        ("identifier", "urn:dicom:uid|1.2.826.1", True),
        ("identifier", "urn:oid:1.2.826.1", True),
        ("identifier", "1.2.826.1", True),
        ("identifier", "http://other|1.2.826.1", False),
        ("identifier", "|S1", True),
        ("identifier", "S1", True),
        ("identifier", "*", False),
        ("patient.identifier", "urn:oid:1.2.3.4|P-1", True),
        ("patient:identifier", "P-1", True),
        ("subject.identifier", "urn:oid:1.2.3.4|P-1", True),
        ("subject:Patient.identifier", "P-1", True),
        ("patient:identifier", "urn:oid:9|P-1", False),
        ("patient:identifier", "p-1", False),
        ("patient", "Patient/P-1", False),
        ("subject:Patient", "P-1", False),
        ("status", "available", True),
        ("status", "cancelled", False),
        ("status:not", "cancelled", True),
        ("modality", "CT", True),
        ("modality", "ct", True),
        ("modality", f"{DCM}|SR", True),
        ("modality", "http://other|CT", False),
        ("modality", "|CT", False),
        ("modality", "*", False),
        ("modality", "C", False),
        ("modality", "MR,CT", True),
        ("modality:not", "CT", False),
        ("modality:not", "MR", True),
        ("modality:missing", "false", True),
        ("modality:missing", "true", False),
        ("started", "2020-05-14", True),
        ("started", "2020-05-14T08:20:30.5Z", True),
        ("started", "lt2020-05-14", False),
        ("started:missing", "false", True),
        ("series", "1.2.826.1.1", True),
        ("series", "urn:oid:1.2.826.1.2", True),
        ("series", "1.2.826.1", False),
        ("instance", "1.2.826.1.2.1", True),
        ("instance", "urn:oid:1.2.826.1.2.9", False),
        ("dicom-class", "urn:oid:1.2.840.10008.5.1.4.1.1.2", True),
        ("dicom-class", "urn:ietf:rfc:3986|urn:oid:1.2.840.10008.5.1.4.1.1.2", True),
        ("dicom-class", "1.2.840.10008.5.1.4.1.1.2", True),
        ("dicom-class", "1.2.840.10008.5.1.4.1.1.4", False),
        ("basedon:identifier", "urn:oid:1.2.3.5|A-77", True),
        ("based-on.identifier", "A-77", True),
        ("based-on:identifier", "urn:oid:1|A-77", False),
        ("bodysite", "818981001", True),
        ("body-site", "http://snomed.info/sct|818981001", True),
        ("body-site", "43799004", False),
        ("endpoint", "Endpoint/gateway-dicom-wado-rs", True),
        ("endpoint", "gateway-dicom-wado-rs", True),
        ("endpoint", "https://gateway.example.org/fhir/r5/Endpoint/gateway-dicom-wado-rs", True),
        ("endpoint", "Endpoint/other", False),
        ("reason", "21522001", True),
        ("reason-concept", "http://snomed.info/sct|21522001", True),
        ("encounter:identifier", "V-9", True),
        ("referrer:identifier", "4711", True),
        ("performer:identifier", "4711", True),
        ("performer:missing", "true", False),
    ],
)
def test_parameters_find_exactly_what_the_resource_says(
    *, name: str, text: str, expected: bool, version: str
) -> None:
    assert is_met(name, text, version) is expected


def test_values_are_alternatives_and_criteria_all_hold() -> None:
    resource = imaging_study(WHOLE, VERSIONS["r5"].shape, CARRIED)
    ct, sr, mr = (criterion("modality", code) for code in ("CT", "SR", "MR"))
    assert fhir_search.meets(resource, [ct, sr], 0, NOW)
    assert not fhir_search.meets(resource, [ct, mr], 0, NOW)


@pytest.mark.parametrize(
    ("value", "is_found"),
    [
        ("2024-05-14", True),
        ("2024-05-14T23:30:00", True),
        ("2024-05-15T01:30:00+02:00", True),
        ("gt2024-05-14T23:30:00.000Z", True),
        ("gt2024-05-14T23:30:00.125Z", False),
        ("ge2024-05-14T23:30:00.125Z", True),
        ("lt2024-05-14T23:30:00.125Z", False),
        ("2024-05-15", False),
    ],
)
def test_time_of_the_last_change_is_in_utc_wherever_the_archive_is(
    value: str, *, is_found: bool
) -> None:
    study = replace(WHOLE, last_updated="2024-05-14T23:30:00.125Z")
    resource = imaging_study(study, VERSIONS["r5"].shape, CARRIED)
    asked = criterion("_lastUpdated", value)
    assert fhir_search.meets(resource, [asked], 540, NOW) is is_found


def test_study_without_a_date_is_found_as_such_only() -> None:
    resource = imaging_study(EMPTY, VERSIONS["r5"].shape, CARRIED)
    for text in ("2020", "ne2020", "le2030"):
        assert not fhir_search.meets(resource, [criterion("started", text)], 0, NOW)
    assert fhir_search.meets(resource, [criterion("started:missing", "true")], 0, NOW)


def test_patient_known_by_name_alone_has_no_identifier() -> None:
    resource = imaging_study(SIDED, VERSIONS["r5"].shape, CARRIED)
    assert not fhir_search.meets(resource, [criterion("patient:identifier", "x")], 0, NOW)
    assert fhir_search.meets(resource, [criterion("patient:missing", "false")], 0, NOW)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("modality:text", "CT"),
        ("modality:in", "CT"),
        ("identifier:of-type", "a|b|c"),
        ("status:exact", "available"),
        ("started:not", "2020"),
        ("patient.phone", "1"),
        ("patient.identifier:not", "1"),
        ("patient:Group", "1"),
        ("started", "2020-13"),
        ("started", "zz2020"),
        ("started:missing", "maybe"),
        ("modality:", "CT"),
    ],
)
@pytest.mark.parametrize("strict", [False, True], ids=["lenient", "strict"])
def test_what_would_widen_the_search_is_never_ignored(
    *, name: str, text: str, strict: bool
) -> None:
    with pytest.raises(BadRequest) as raised:
        fhir_search.criterion(name, text, NAMES, replace(READING, strict=strict))
    assert raised.value.parameter == name


def test_empty_value_is_ignored_unless_handling_is_strict() -> None:
    assert fhir_search.criterion("modality", "", NAMES, READING) is None
    with pytest.raises(BadRequest):
        fhir_search.criterion("modality", ",", NAMES, replace(READING, strict=True))


@pytest.mark.parametrize(
    ("name", "text", "level"),
    [
        ("_id", "1", Level.STUDY),
        ("started", "2020-05-14", Level.STUDY),
        ("started", "2020-05-14T10:00", Level.SERIES),
        ("modality", "CT", Level.SERIES),
        ("instance", "1", Level.INSTANCE),
    ],
)
def test_records_are_loaded_only_as_deep_as_criteria_look(
    name: str, text: str, level: Level
) -> None:
    assert fhir_search.level([criterion("_id", "1"), criterion(name, text)]) is level


@given(name=st.sampled_from(sorted(NAMES)), modifier=st.text(max_size=5), text=st.text())
def test_any_value_is_read_or_refused(name: str, modifier: str, text: str) -> None:
    resource = imaging_study(WHOLE, VERSIONS["r6"].shape, CARRIED)
    try:
        found = fhir_search.criterion(f"{name}{modifier}", text, NAMES, READING)
    except BadRequest:
        return
    if found is not None:
        fhir_search.meets(resource, [found], 0, NOW)
