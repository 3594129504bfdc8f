"""ImagingStudy as a whole: golden files, invariants, other people's definitions."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings

from gateway.config import Fhir
from gateway.model import Code, Endpoint, Identifier, Patient, PersonName, Specimen, Study
from gateway.rules.endpoints import Carried
from gateway.rules.fhir_versions import VERSIONS
from gateway.rules.imaging_study import imaging_study
from gateway.rules.imaging_study import oddities as imaging_study_oddities
from gateway.rules.patient_ids import ByIdentity
from tests import fhir_oracles, fhir_structures, study_records
from tests.study_records import ODD, REQUESTED, SERIES_LEVEL, SIDED, STUDY_LEVEL, TELLING, WHOLE

GOLDEN = Path(__file__).parent / "golden"
ENDPOINT = Endpoint(
    id="gateway-dicom-wado-rs",
    address="https://gateway.example.org/dicom-web",
    connection_types=("dicom-wado-rs",),
)
SOUTH = replace(ENDPOINT, id="south-dicom-wado-rs")
CARRIED = Carried(study=(ENDPOINT,), series={"1.2.826.3.2": (SOUTH,)})
PATIENTS = ByIdentity(plain=("urn:oid:1.2.3.4", None))

each_version = pytest.mark.parametrize("version", VERSIONS)


def written(study: Study, version: str) -> dict[str, Any]:
    return imaging_study(study, VERSIONS[version].shape, CARRIED, patients=PATIENTS)


@each_version
@pytest.mark.parametrize("name", TELLING)
def test_telling_studies_are_written_as_their_golden_files_say(name: str, version: str) -> None:
    found = orjson.dumps(written(TELLING[name], version), option=orjson.OPT_INDENT_2) + b"\n"
    golden = GOLDEN / f"imaging_study_{name}.{version}.json"
    if "WRITE_GOLDEN" in os.environ:
        golden.write_bytes(found)
    assert found == golden.read_bytes()


@each_version
@pytest.mark.parametrize("name", TELLING)
def test_telling_studies_are_valid(name: str, version: str) -> None:
    resource = written(TELLING[name], version)
    fhir_oracles.validate(resource, version)
    assert not fhir_oracles.broken_invariants(resource, version)
    assert not list(fhir_oracles.empties(resource))
    assert not fhir_oracles.dangling(resource)


if fhir_oracles.has_official_schema():

    @each_version
    @pytest.mark.parametrize("name", TELLING)
    def test_telling_studies_fit_the_official_schema(name: str, version: str) -> None:
        resource = written(TELLING[name], version)
        if version == "r6":  # ballot2's procedure is a CodeableReference, the project's is not
            resource.pop("procedure", None)
        assert not fhir_oracles.schema_errors(resource, version)

    @each_version
    @pytest.mark.parametrize("name", TELLING)
    def test_telling_studies_fit_the_structure_definitions(name: str, version: str) -> None:
        assert not fhir_structures.errors(written(TELLING[name], version), version)

    @each_version
    @given(study=study_records.studies)
    @settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
    def test_any_record_fits_the_structure_definitions(study: Study, version: str) -> None:
        assert not fhir_structures.errors(written(study, version), version)


@each_version
@given(study=study_records.studies)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_any_record_gives_a_resource_that_holds_all_invariants(study: Study, version: str) -> None:
    resource = written(study, version)
    assert resource == written(study, version)
    assert not fhir_oracles.broken_invariants(resource, version)
    assert not list(fhir_oracles.empties(resource))
    assert not fhir_oracles.dangling(resource)
    fhir_oracles.validate(resource, version)


@pytest.mark.parametrize(
    ("study", "status"),
    [
        pytest.param(WHOLE, "available", id="instances loaded"),
        pytest.param(SERIES_LEVEL, "available", id="instances counted"),
        pytest.param(STUDY_LEVEL, "available", id="study counted"),
        pytest.param(study_records.EMPTY, "registered", id="no instance"),
        pytest.param(replace(STUDY_LEVEL, number_of_instances=0), "registered", id="counted none"),
        pytest.param(replace(WHOLE, availability="NEARLINE"), "available", id="nearline"),
        pytest.param(replace(WHOLE, availability="UNAVAILABLE"), "unknown", id="unavailable"),
        pytest.param(
            replace(STUDY_LEVEL, number_of_instances=None, number_of_series=None),
            "unknown",
            id="nothing counted",
        ),
    ],
)
def test_status_tells_whether_there_are_instances(study: Study, status: str) -> None:
    assert written(study, "r4")["status"] == status


def test_unavailable_study_is_inactive_in_r6() -> None:
    study = replace(WHOLE, availability="UNAVAILABLE")
    assert written(study, "r6")["status"] == "inactive"
    options = Fhir(unavailable_status="unknown")
    assert imaging_study(study, VERSIONS["r6"].shape, CARRIED, options)["status"] == "unknown"


@each_version
def test_private_codes_have_the_configured_system(version: str) -> None:
    options = Fhir(code_systems={"99HOSP": "https://codes.example.org"})
    resource = imaging_study(REQUESTED, VERSIONS[version].shape, CARRIED, options)
    assert '"system":"https://codes.example.org","code":"CT02"' in orjson.dumps(resource).decode()
    assert not fhir_oracles.dangling(resource)


@each_version
def test_requests_carry_accessions_and_order_numbers(version: str) -> None:
    resource = written(REQUESTED, version)
    contained = {f"#{r['id']}": r for r in resource["contained"]}
    told = [
        (r["identifier"]["value"], [i["value"] for i in contained[r["reference"]]["identifier"]])
        for r in resource["basedOn"]
    ]
    assert told == [
        ("A-9", ["A-9", "PL-1", "FI-1"]),
        ("A-10", ["A-10", "PL-2"]),
        ("A-9", ["A-9", "FI-1"]),
    ]


@each_version
def test_performed_location_is_r4s_alone(version: str) -> None:
    told = written(REQUESTED, version).get("location")
    assert told == ({"type": "Location", "display": "ROOM 7"} if version in {"r4", "r4b"} else None)


@pytest.mark.parametrize(
    ("date", "time", "offset", "started"),
    [
        ("2020-05-14", "10:20:30.5", "+02:00", "2020-05-14T10:20:30.5+02:00"),
        ("2020-05-14", "10:20:30", None, "2020-05-14"),
        ("2020-05-14", None, "+02:00", "2020-05-14"),
        (None, "10:20:30", "+02:00", None),
    ],
    ids=["zone known", "no zone", "no time", "no date"],
)
def test_started_has_a_time_only_with_its_zone(
    date: str | None, time: str | None, offset: str | None, started: str | None
) -> None:
    study = replace(WHOLE, date=date, time=time, utc_offset=offset)
    assert written(study, "r5").get("started") == started


@pytest.mark.parametrize(
    ("patient", "subject"),
    [
        pytest.param(
            Patient(
                id=Identifier(value="P", system="urn:oid:1.2"),
                name=PersonName(alphabetic="Doe^Jane^M^Dr^PhD"),
            ),
            {
                "type": "Patient",
                "identifier": {"system": "urn:oid:1.2", "value": "P"},
                "display": "Dr Jane M Doe PhD",
            },
            id="id and name",
        ),
        pytest.param(
            Patient(id=Identifier(value="P", assigner="HOSP-A")),
            {"type": "Patient", "identifier": {"value": "P", "assigner": {"display": "HOSP-A"}}},
            id="issuer without a system",
        ),
        pytest.param(
            Patient(name=PersonName(ideographic="王^小东")),
            {"type": "Patient", "display": "小东 王"},
            id="ideographic name only",
        ),
        pytest.param(
            Patient(name=PersonName(alphabetic="^^^^")),
            {
                "extension": [
                    {
                        "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
                        "valueCode": "unknown",
                    }
                ]
            },
            id="nobody",
        ),
    ],
)
def test_subject_is_known_by_identifier_or_name_or_said_to_be_unknown(
    patient: Patient, subject: dict[str, Any]
) -> None:
    resource = imaging_study(replace(WHOLE, patient=patient), VERSIONS["r4"].shape, CARRIED)
    assert resource["subject"] == subject


def test_accession_of_the_study_stands_for_those_of_its_series() -> None:
    of_study = [r["identifier"]["value"] for r in written(WHOLE, "r4")["basedOn"]]
    of_series = [r["identifier"]["value"] for r in written(SIDED, "r4")["basedOn"]]
    assert (of_study, of_series) == (["A-77"], ["A-1", "A-2"])


def test_what_is_odd_is_told_in_words() -> None:
    assert imaging_study_oddities(WHOLE) == []
    assert imaging_study_oddities(replace(ODD, warnings=("two patients",))) == [
        "two patients",
        "1 series without a modality",
        "1 UIDs that are no OIDs, such as those with leading zeros",
    ]
    zeros = replace(WHOLE, uid="1.02.3")
    assert "1 UIDs that are no OIDs" in imaging_study_oddities(zeros)[0]


@each_version
def test_modalities_of_series_left_out_are_left_out(version: str) -> None:
    assert WHOLE.series is not None
    without_sr = replace(WHOLE, series=WHOLE.series[:1])
    assert "SR" not in orjson.dumps(written(without_sr, version)["modality"]).decode()


def test_counts_stand_in_all_series_or_in_none() -> None:
    assert SERIES_LEVEL.series is not None
    first, second = SERIES_LEVEL.series
    study = replace(SERIES_LEVEL, series=(first, replace(second, number_of_instances=None)))
    resource = written(study, "r5")
    assert "numberOfInstances" not in resource
    assert not [s for s in resource["series"] if "numberOfInstances" in s]


def test_r6_total_stands_only_beside_the_instances_themselves() -> None:
    assert "numberOfInstances" not in written(SERIES_LEVEL, "r6")
    assert written(SERIES_LEVEL, "r5")["numberOfInstances"] == 3
    assert written(WHOLE, "r6")["numberOfInstances"] == 3


def test_who_read_the_images_is_told_until_r4b_only() -> None:
    assert [r["display"] for r in written(WHOLE, "r4b")["interpreter"]] == [
        "Dr Marie Salomea Curie MD",
        "Roentgen",
    ]
    assert "interpreter" not in written(WHOLE, "r5")


def test_r6_side_is_told_by_a_contained_body_structure() -> None:
    resource = written(SIDED, "r6")
    knee, unknown = (s["bodySite"] for s in resource["series"])
    assert knee["concept"]["coding"][0]["code"] == "72696002"
    assert knee["reference"]["display"] == "Right Knee"
    assert "concept" not in unknown
    sides = [
        one["includedStructure"][0]["laterality"]["coding"][0]["code"]
        for one in resource["contained"]
        if one["resourceType"] == "BodyStructure"
    ]
    assert sides == ["24028007", "24028007"]


def test_location_is_left_out_when_series_disagree() -> None:
    assert WHOLE.series is not None
    first, second = WHOLE.series
    assert written(WHOLE, "r4")["location"] == {"type": "Location", "display": "Radiology"}
    divided = replace(WHOLE, series=(first, replace(second, department_name="Cardiology")))
    assert "location" not in written(divided, "r4")


@each_version
def test_department_with_a_type_is_a_contained_location(version: str) -> None:
    assert WHOLE.series is not None
    kind = Code(value="225728007", scheme="SCT", meaning="Accident and Emergency department")
    typed = tuple(replace(s, department_type=kind, department_name="ER") for s in WHOLE.series)
    resource = written(replace(WHOLE, series=typed), version)
    (place,) = (c for c in resource["contained"] if c["resourceType"] == "Location")
    assert resource["location"]["reference"] == f"#{place['id']}"
    assert place["name"] == "ER"
    assert place["type"][0]["coding"][0]["code"] == "225728007"
    fhir_oracles.validate(resource, version)


@each_version
def test_specimens_are_contained_by_their_identifiers(version: str) -> None:
    assert WHOLE.series is not None
    first, second = WHOLE.series
    specimen = Specimen(id=Identifier(value="S20-1-A", system="urn:oid:1.2.9"), uid="1.2.3.9")
    study = replace(WHOLE, series=(replace(first, specimens=(specimen, specimen)), second))
    resource = written(study, version)
    (reference,) = resource["series"][0]["specimen"]
    (contained,) = (c for c in resource["contained"] if c["resourceType"] == "Specimen")
    assert reference["reference"] == f"#{contained['id']}"
    assert [i["value"] for i in contained["identifier"]] == ["S20-1-A", "urn:oid:1.2.3.9"]
    fhir_oracles.validate(resource, version)
    assert not fhir_oracles.dangling(resource)


def test_configuration_says_how_identifiers_are_written() -> None:
    options = Fhir(accession_as_identifier=True, patient_identifier_type="MR")
    resource = imaging_study(WHOLE, VERSIONS["r4"].shape, CARRIED, options)
    kinds = [i.get("type", {}).get("coding", [{}])[0].get("code") for i in resource["identifier"]]
    assert kinds == [None, None, "ACSN"]
    assert resource["subject"]["identifier"]["type"]["coding"][0]["code"] == "MR"
    fhir_oracles.validate(resource, "r4")


@each_version
def test_subject_refers_to_the_patient_where_that_is_a_resource(version: str) -> None:
    told = {
        "type": "Patient",
        "identifier": {"system": "urn:oid:1.2.3.4", "value": "P-1"},
        "display": "Tarou Yamada",
    }
    assert written(WHOLE, version)["subject"] == {"reference": "Patient/P-1"} | told
    alone = imaging_study(WHOLE, VERSIONS[version].shape, CARRIED)
    assert alone["subject"] == told
    assert "reference" not in written(SIDED, version)["subject"]


def test_series_of_another_archive_refers_to_its_own_endpoint() -> None:
    resource = written(SIDED, "r4")
    assert resource["endpoint"] == [{"reference": "Endpoint/gateway-dicom-wado-rs"}]
    assert "endpoint" not in resource["series"][0]
    assert resource["series"][1]["endpoint"] == [{"reference": "Endpoint/south-dicom-wado-rs"}]
