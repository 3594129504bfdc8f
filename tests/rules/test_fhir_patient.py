"""Patient out of what archives say."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from gateway.model import Identifier, Patient
from gateway.rules.fhir_patient import PARAMETERS, patient, telling
from gateway.rules.fhir_search import Parameter
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


def test_latest_study_with_a_name_tells_the_patient() -> None:
    old = replace(WHOLE, uid="1.1", date="2019-01-01", time="23:00:00")
    new = replace(WHOLE, uid="1.2", date="2020-01-01", time="08:00:00")
    later = replace(new, uid="1.3", time="09:00:00")
    same = replace(later, uid="1.0")
    undated = replace(WHOLE, uid="1.9", date=None, time=None)
    nameless = replace(later, uid="1.4", patient=Patient(id=WHOLE.patient.id), date="2024-01-01")
    studies = [old, new, later, same, undated, nameless]
    for some in itertools.permutations(studies, 3):
        named = [s for s in some if s is not nameless]
        assert telling(some) is max(named, key=lambda s: (s.date or "", s.time or "", s.uid))
    assert telling([nameless]) is nameless


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda p: p.name)
def test_parameter_sees_what_it_looks_for(parameter: Parameter) -> None:
    meta = {"profile": ["x"], "security": [{"code": "x"}], "tag": [{"code": "x"}]}
    whole = patient(WHOLE.patient, "p") | {"meta": meta}
    assert list(parameter.found(whole))
    nobody = patient(Patient(), "p")
    assert bool(list(parameter.found(nobody))) is (parameter.name == "_id")
