"""What archives are asked when Patients are searched for: studies of theirs, as a superset.

A Patient is what one of its studies tells, so each criterion is one for that study.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from gateway.rules import imaging_study_search
from gateway.rules.fhir_dates import Moment
from gateway.rules.fhir_search import Criterion, Parameter
from gateway.rules.fhir_values import ReferenceValue, Token
from gateway.rules.imaging_study_chains import CHAINS
from gateway.rules.imaging_study_keys import Options
from gateway.rules.imaging_study_parameters import PATIENT
from gateway.rules.imaging_study_search import Plan

_CHAINED = {c.name.removeprefix("patient."): c for c in CHAINS if c.name.startswith("patient.")}


def plan(criteria: Iterable[Criterion], now: Moment, options: Options) -> Plan:
    """The queries for a search for patients with these criteria."""
    return imaging_study_search.plan(map(of_study, criteria), now, options)


def of_study(wanted: Criterion) -> Criterion:
    """What a criterion for a Patient asks of a study of that patient."""
    if wanted.parameter.name == "_id":
        return replace(wanted, parameter=PATIENT, values=tuple(_references(wanted)))
    if wanted.parameter.name == "identifier":
        return replace(wanted, parameter=PATIENT, modifier=wanted.modifier or "identifier")
    parameter: Parameter = _CHAINED.get(wanted.parameter.name, wanted.parameter)
    return replace(wanted, parameter=parameter)


def _references(wanted: Criterion) -> Iterable[ReferenceValue]:
    for value in wanted.values:
        if isinstance(value, Token) and not value.system and value.code is not None:
            yield ReferenceValue(type="Patient", id=value.code)
