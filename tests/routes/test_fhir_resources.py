"""How records are written for one consumer in one version."""

from __future__ import annotations

import pytest

from gateway.config import Fhir, Settings
from gateway.model import Consumer, Patient
from gateway.routes.fhir_resources import Resources
from gateway.rules import patient_ids
from gateway.rules.fhir_results import Wanted
from gateway.rules.fhir_versions import VERSIONS
from tests.study_records import SIDED, WHOLE


def resources(version: str = "r5", **fhir: object) -> Resources:
    settings = Settings(fhir=Fhir.model_validate(fhir))
    return Resources(
        settings=settings,
        patients=patient_ids.of(settings),
        consumer=Consumer(id="anybody"),
        version=VERSIONS[version],
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_subject_of_a_study_is_the_patient_that_is_written(version: str) -> None:
    writer = resources(version, patient_identifier_type="MR")
    patient = writer.patient(WHOLE)
    assert patient is not None
    subject = writer.imaging_study(WHOLE)["subject"]
    assert subject["reference"] == f"Patient/{patient['id']}"
    assert [subject["identifier"]] == patient["identifier"]


def test_patient_without_an_id_is_no_resource() -> None:
    assert SIDED.patient == Patient(name=SIDED.patient.name)
    assert resources().patient(SIDED) is None
    assert resources(patients={"by": "none"}).patient(WHOLE) is None


def test_what_is_served_whole_has_a_version_and_a_part_has_none() -> None:
    writer = resources()
    study = writer.imaging_study(WHOLE)
    assert writer.served(study)["meta"]["versionId"]
    part = writer.served(study, Wanted(summary="true"))
    assert "versionId" not in part["meta"]
    assert writer.served(study) != resources("r4").served(study)
