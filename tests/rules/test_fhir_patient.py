"""Patient out of what archives say."""

from __future__ import annotations

import pytest

from gateway.model import Identifier, Patient
from gateway.rules.fhir_patient import patient
from gateway.rules.fhir_versions import VERSIONS
from tests import fhir_oracles
from tests.study_records import WHOLE


@pytest.mark.parametrize("version", VERSIONS)
def test_patient_is_valid_in_every_version(version: str) -> None:
    found = patient(WHOLE.patient, "patient", "MR")
    fhir_oracles.validate(found, version)
    assert (found["gender"], found["birthDate"]) == ("male", "1970-01-31")
    assert [name["family"] for name in found["name"]] == ["Yamada", "山田", "やまだ"]
    assert found["identifier"][0]["type"]["coding"][0]["code"] == "MR"


def test_what_is_not_known_is_left_out() -> None:
    assert patient(Patient(sex="X"), "p") == {"resourceType": "Patient", "id": "p"}
    named = patient(Patient(id=Identifier(value="1", assigner="WARD")), "p")
    assert named["identifier"] == [{"value": "1", "assigner": {"display": "WARD"}}]
