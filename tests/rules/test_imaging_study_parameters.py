"""The table of what an ImagingStudy can be searched by."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.model import Level
from gateway.rules.fhir_search import Kind, Parameter
from gateway.rules.fhir_versions import VERSIONS
from gateway.rules.imaging_study import imaging_study
from gateway.rules.imaging_study_parameters import PARAMETERS
from tests.rules.test_imaging_study import CARRIED
from tests.study_records import EMPTY, SERIES_LEVEL, SIDED, STUDY_LEVEL, WHOLE

LEVELS = {Level.STUDY: STUDY_LEVEL, Level.SERIES: SERIES_LEVEL, Level.INSTANCE: WHOLE}
NEVER_HELD = {"_profile", "_security", "_tag", "reason-reference"}
"""What no resource of ours has."""
by_name = pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda p: p.name)


@pytest.mark.parametrize("version", VERSIONS)
@by_name
def test_parameter_sees_what_it_looks_for_at_the_level_it_names(
    parameter: Parameter, version: str
) -> None:
    if parameter.name in NEVER_HELD | VERSIONS[version].absent:
        return
    if (parameter.name, version) == ("body-structure", "r5"):
        return  # the side has an element of its own
    study = LEVELS[parameter.level]
    if parameter.name == "body-structure":
        study = SIDED
    loaded = replace(study, last_updated="2024-05-14T10:00:00.000Z")
    resource = imaging_study(loaded, VERSIONS[version].shape, CARRIED)
    assert list(parameter.found(resource))


@by_name
def test_parameter_finds_nothing_where_there_is_nothing(parameter: Parameter) -> None:
    resource = imaging_study(EMPTY, VERSIONS["r5"].shape, CARRIED)
    always = {"_id", "identifier", "status", "endpoint"}
    assert bool(list(parameter.found(resource))) is (parameter.name in always)


def test_references_name_what_they_can_refer_to() -> None:
    assert all(bool(p.targets) is (p.kind is Kind.REFERENCE) for p in PARAMETERS)
