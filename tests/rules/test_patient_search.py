"""What archives are asked when patients are searched for."""

from __future__ import annotations

import pytest

from gateway.rules import fhir_search, patient_search, qido_upstream
from gateway.rules.fhir_patient import PARAMETERS
from gateway.rules.fhir_search import Criterion, Reading
from gateway.rules.imaging_study_keys import Options
from gateway.rules.patient_ids import ByIdentity
from tests.rules.test_fhir_search import NOW

OPTIONS = Options(patients=ByIdentity(plain=(None, None)))


def criterion(name: str, text: str) -> Criterion:
    named = fhir_search.by_name(PARAMETERS)
    found = fhir_search.criterion(name, text, named, Reading(base="^x/", now=NOW))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ((("_id", "P1"),), [{"PatientID": "P1"}]),
        ((("_id", "P1,P2"),), [{"PatientID": "P1"}, {"PatientID": "P2"}]),
        ((("_id", "a_b"),), []),
        ((("_id", "http://x|P1"),), []),
        ((("identifier", "urn:oid:1.2|P1"),), [{"PatientID": "P1"}]),
        ((("identifier", "urn:oid:1.2|"),), [{}]),
        ((("identifier:not", "P1"),), [{}]),
        ((("family", "Curie"),), [{"PatientName": "curie", "fuzzymatching": "true"}]),
        ((("name:contains", "uri"),), [{}]),
        (
            (("given", "Marie"), ("birthdate", "1970-01-31"), ("gender", "female")),
            [
                {
                    "PatientName": "marie",
                    "PatientBirthDate": "19700131",
                    "PatientSex": "F",
                    "fuzzymatching": "true",
                }
            ],
        ),
        ((("_tag", "x"),), []),
        ((), [{}]),
    ],
)
def test_archives_are_asked_for_studies_of_the_patients(
    pairs: tuple[tuple[str, str], ...], expected: list[dict[str, str]]
) -> None:
    plan = patient_search.plan([criterion(*pair) for pair in pairs], NOW, OPTIONS)
    assert not plan.probes
    assert [dict(qido_upstream.parameters(query)) for query in plan.queries] == expected
