"""An ImagingStudy of somebody else as QIDO rows: what it says exactly, and nothing more."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Origin
from gateway.rules import dicom_json as dj
from gateway.rules import foreign_rows, records

CT = {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "CT"}
LEFT = {"system": "http://snomed.info/sct", "code": "7771000"}
LIVER = {"system": "http://snomed.info/sct", "code": "10200004", "display": "Liver"}


def resource(**elements: Any) -> dict[str, Any]:
    return {"resourceType": "ImagingStudy", "subject": {}} | elements


def rows(study: dict[str, Any], patient: Any = None, system: str | None = None) -> Any:
    return foreign_rows.study(study, "1.2.3", patient, system)


@pytest.mark.parametrize(
    ("started", "wanted"),
    [
        ("2020-05-01T10:11:12.5+02:00", ("20200501", "101112.5", "+0200")),
        ("2020-05-01T10:11:12Z", ("20200501", "101112", "+0000")),
        ("2020-05-01", ("20200501", None, None)),
        ("2020-05", (None, None, None)),
        ("yesterday", (None, None, None)),
        (20200501, (None, None, None)),
    ],
)
def test_when_it_started_is_told_as_exactly_as_it_is_known(
    started: object, wanted: tuple[str | None, ...]
) -> None:
    row = rows(resource(started=started)).row
    tags = (dj.STUDY_DATE, dj.STUDY_TIME, dj.TIMEZONE_OFFSET)
    assert tuple(dj.text(row, t) for t in tags) == wanted


def test_the_accession_is_the_identifier_of_that_type_wherever_it_stands() -> None:
    accession = {
        "type": {"coding": [{"code": "ACSN"}]},
        "system": "urn:oid:2.999.2",
        "value": "A1",
    }
    other = {"value": "not an accession"}
    for study in (
        resource(identifier=[other, accession]),
        resource(basedOn=[{"identifier": other}, {"identifier": accession}]),
    ):
        record = records.study(Origin(archive="south"), rows(study).row)
        assert record is not None
        assert record.accession is not None
        assert (record.accession.value, record.accession.system) == ("A1", "urn:oid:2.999.2")


def test_the_patient_is_the_one_of_the_archives_own_system() -> None:
    record_number = {"type": {"coding": [{"code": "MR"}]}, "system": "urn:oid:9", "value": "M"}
    own = {"system": "https://south.example/patients", "value": "P"}
    patient = {
        "resourceType": "Patient",
        "identifier": [{"value": "first"}, record_number, own],
        "name": [{"family": "Doe", "given": ["Jane", "Q."], "prefix": ["Dr."]}],
        "birthDate": "1970-02-03",
        "gender": "female",
    }
    row = rows(resource(), patient, own["system"]).row
    assert dj.text(row, dj.PATIENT_ID) == "P"
    assert dj.text(row, dj.PATIENT_NAME) == "Doe^Jane^Q.^Dr."
    assert dj.text(row, dj.PATIENT_BIRTH_DATE) == "19700203"
    assert dj.text(row, dj.PATIENT_SEX) == "F"
    assert dj.text(rows(resource(), patient).row, dj.PATIENT_ID) == "M"
    named = {"identifier": {"value": "L"}, "display": "Doe, Jane"}
    row = rows(resource(subject=named)).row
    assert (dj.text(row, dj.PATIENT_ID), dj.text(row, dj.PATIENT_NAME)) == ("L", "Doe, Jane")


R4 = {
    "uid": "1.2.3.4",
    "modality": CT,
    "bodySite": LIVER,
    "laterality": LEFT,
    "instance": [{"uid": "1.2.3.4.1", "sopClass": {"code": "urn:oid:1.2.840.1"}, "number": 7}],
}
R5 = R4 | {
    "uid": "urn:oid:1.2.3.4",
    "modality": {"coding": [CT]},
    "bodySite": {"concept": {"coding": [LIVER]}},
    "laterality": {"coding": [LEFT]},
}
R6 = {
    "uid": "1.2.3.4",
    "modality": {"coding": [CT]},
    "bodySite": {"reference": {"reference": "#b"}},
    "instance": [{"uid": "1.2.3.4.1", "sopClass": "urn:oid:1.2.840.1", "number": 7}],
}
STRUCTURE = {
    "resourceType": "BodyStructure",
    "id": "b",
    "includedStructure": [{"structure": {"coding": [LIVER]}, "laterality": {"coding": [LEFT]}}],
}


@pytest.mark.parametrize("series", [R4, R5, R6], ids=["r4", "r5", "r6"])
def test_series_and_instances_are_the_same_in_every_version(series: dict[str, Any]) -> None:
    found = rows(resource(series=[series], contained=[STRUCTURE]))
    [one] = found.series
    assert (one.uid, dj.text(one.row, dj.MODALITY)) == ("1.2.3.4", "CT")
    assert dj.text(one.row, dj.LATERALITY) == "L"
    assert dj.text(one.row, dj.NUMBER_OF_SERIES_RELATED_INSTANCES) == "1"
    [region] = one.row[dj.ANATOMIC_REGION_SEQUENCE]["Value"]
    assert dj.text(region, dj.CODE_VALUE) == "10200004"
    assert dj.text(region, dj.CODING_SCHEME_DESIGNATOR) == "SCT"
    [instance] = one.instances
    assert dj.text(instance, dj.SOP_INSTANCE_UID) == "1.2.3.4.1"
    assert dj.text(instance, dj.SOP_CLASS_UID) == "1.2.840.1"
    assert dj.text(instance, dj.INSTANCE_NUMBER) == "7"


def test_what_is_counted_is_what_is_here() -> None:
    series = [
        {"uid": "1.2.3.4", "modality": CT, "numberOfInstances": 5},
        {"uid": "1.2.3.5", "modality": CT, "instance": [{"uid": "1.2.3.5.1"}]},
        {"uid": "not a UID"},
    ]
    found = rows(resource(numberOfSeries=9, numberOfInstances=99, series=series))
    row = foreign_rows.counted(found)
    assert dj.text(row, dj.NUMBER_OF_STUDY_RELATED_SERIES) == "2"
    assert dj.text(row, dj.NUMBER_OF_STUDY_RELATED_INSTANCES) == "6"
    assert dj.texts(row, dj.MODALITIES_IN_STUDY) == ["CT"]
    assert found.series[0].instances is None


def test_a_study_told_of_twice_is_one_with_the_series_of_both() -> None:
    first = rows(resource(description="first", series=[{"uid": "1.1"}, {"uid": "1.2"}]))
    second = rows(resource(description="second", series=[{"uid": "1.2"}, {"uid": "1.3"}]))
    [united] = foreign_rows.united([first, second])
    assert [s.uid for s in united.series] == ["1.1", "1.2", "1.3"]
    assert dj.text(united.row, dj.STUDY_DESCRIPTION) == "first"


def test_a_study_that_was_withdrawn_is_none() -> None:
    assert foreign_rows.is_withdrawn(resource(status="entered-in-error"))
    assert not foreign_rows.is_withdrawn(resource(status="available"))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["coding", "code", "concept", "value", "identifier", "uid", "reference", "system"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
ELEMENTS = (
    "identifier", "basedOn", "subject", "started", "description", "procedureCode", "procedure",
    "series", "contained",
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(ELEMENTS), ANYTHING), ANYTHING)
def test_whatever_stands_in_a_resource_never_fails(study: dict[str, Any], inner: object) -> None:
    series = [{"uid": "1.2.3.4", "modality": inner, "bodySite": inner, "instance": inner}]
    found = rows({"series": series} | study, {"name": inner, "identifier": inner})
    assert records.study(Origin(archive="south"), foreign_rows.counted(found)) is not None
