"""The keys of one criterion: a superset, in values that are safe to send."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest
from gateway.model import Level, Patient, PersonName
from gateway.rules import fhir_search, matching
from gateway.rules.fhir_patient import patient
from gateway.rules.imaging_study_keys import Options, choice
from gateway.rules.imaging_study_search import plan
from tests.rules.rows import name, row
from tests.rules.test_fhir_search import NAMES, NOW, READING, criterion

OPTIONS = Options(series_accessions=True, accession_as_identifier=True)
names = st.text(st.sampled_from("aàÁbCcé山田 -'.ß"), min_size=1, max_size=6)


@given(parameter=st.sampled_from(sorted(NAMES)), text=st.text(max_size=300))
def test_values_that_are_sent_hold_no_wildcard_and_no_list_of_the_caller(
    parameter: str, text: str
) -> None:
    try:
        found = fhir_search.criterion(parameter, text, NAMES, READING)
    except BadRequest:
        return
    one = choice(found, NOW, OPTIONS) if found is not None else None
    if one is None:
        return
    for key in one.keys:
        value = re.sub(r"^\*([\u4e00-\u9fff]+)\*$", r"\1", key.value)
        assert "*" not in value
        assert "\\" not in value
        assert len(value) <= 256 or key.vr in {"UI", "CS"}


@given(family=names, given_name=names, ideographic=st.none() | names, asked=names)
def test_whoever_has_the_name_is_among_those_that_archives_find(
    family: str, given_name: str, ideographic: str | None, asked: str
) -> None:
    written = PersonName(alphabetic=f"{family}^{given_name}", ideographic=ideographic)
    wanted = criterion("patient.name", asked.replace(",", ""))
    resource = {"contained": [patient(Patient(name=written), "p")], "id": "1"}
    if not fhir_search.meets(resource, [wanted], 0, NOW):
        return
    found = row(PATIENT_NAME=name(written.alphabetic, Ideographic=ideographic))
    for query in plan([wanted], NOW).queries:
        assert matching.matches(replace(query, level=Level.STUDY), found)


@pytest.mark.parametrize("name", ["_id", "identifier", "patient.identifier"])
def test_any_value_of_a_system_is_no_key(name: str) -> None:
    assert choice(criterion(name, "urn:oid:1.2|,CT"), NOW, Options()) is None
