"""What searches want of their results."""

from __future__ import annotations

import pytest

from gateway.errors import BadRequest
from gateway.model import Level
from gateway.rules import fhir_results
from gateway.rules.fhir_results import IMAGING_STUDIES, Sort, Wanted


def understood(name: str, text: str, *, strict: bool = False) -> Wanted | None:
    return fhir_results.understood(Wanted(), name, text, IMAGING_STUDIES, strict=strict)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("_count", "7", Wanted(count=7)),
        ("_count", "0", Wanted(count=0)),
        ("_summary", "true", Wanted(summary="true")),
        ("_total", "accurate", Wanted(total="accurate")),
        (
            "_include",
            "ImagingStudy:endpoint",
            Wanted(includes=frozenset({"ImagingStudy:endpoint"})),
        ),
        (
            "_include",
            "ImagingStudy:endpoint:Endpoint",
            Wanted(includes=frozenset({"ImagingStudy:endpoint"})),
        ),
        ("_include", "*", Wanted(includes=IMAGING_STUDIES.includes)),
        (
            "_include",
            "ImagingStudy:patient:Patient",
            Wanted(includes=frozenset({"ImagingStudy:patient"})),
        ),
        (
            "_sort",
            "-started,_id",
            Wanted(sort=(Sort(name="started", is_descending=True), Sort(name="_id"))),
        ),
        ("_contained", "false", Wanted()),
        ("_format", "json", Wanted()),
    ],
)
def test_what_is_offered_is_understood(name: str, text: str, expected: Wanted) -> None:
    assert understood(name, text) == expected
    assert understood(name, text, strict=True) == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("_include", "ImagingStudy:colour"),
        ("_sort", "description"),
        ("_revinclude", "Observation:subject"),
        ("_filter", "status eq available"),
        ("_query", "x"),
        ("_list", "x"),
        ("_elements", "colour"),
    ],
)
def test_what_is_not_offered_is_ignored_unless_handling_is_strict(name: str, text: str) -> None:
    assert fhir_results.is_known(name)
    assert understood(name, text) is None
    with pytest.raises(BadRequest):
        understood(name, text, strict=True)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("_count", "-1"),
        ("_count", "many"),
        ("_count", "\u0661"),
        ("_count", "1.0"),
        ("_summary", "maybe"),
        ("_total", "roughly"),
        ("_has:Observation:patient:code", "1"),
        ("_contained", "true"),
        ("_containedType", "container"),
        ("_include:recurse", "ImagingStudy:endpoint"),
    ],
)
def test_what_is_malformed_or_would_change_the_result_is_never_ignored(
    name: str, text: str
) -> None:
    with pytest.raises(BadRequest) as raised:
        understood(name, text)
    assert raised.value.parameter == name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("_include", "ImagingStudy:basedon"),
        ("_include", "ImagingStudy:based-on"),
        ("_revinclude", "Provenance:target"),
        ("_revinclude", "DiagnosticReport:study"),
        ("_revinclude", "*"),
    ],
)
def test_includes_that_nothing_can_be_found_by_are_understood(name: str, text: str) -> None:
    assert understood(name, text, strict=True) == Wanted()


def test_patients_are_included_only_where_they_are_resources() -> None:
    for name in ("ImagingStudy:patient", "ImagingStudy:subject"):
        alone = fhir_results.understood(
            Wanted(), "_include", name, fhir_results.IMAGING_STUDIES_ALONE, strict=True
        )
        assert alone == Wanted()


def test_studies_are_included_beside_the_patients_they_are_about() -> None:
    for text, expected in (
        ("ImagingStudy:patient", {"ImagingStudy:patient"}),
        ("*", {"ImagingStudy:patient", "ImagingStudy:subject"}),
    ):
        found = fhir_results.understood(
            Wanted(), "_revinclude", text, fhir_results.PATIENTS, strict=True
        )
        assert found == Wanted(reverse_includes=frozenset(expected))


def test_elements_that_are_unknown_are_dropped() -> None:
    found = understood("_elements", "started, colour")
    assert found is not None
    assert found.elements == {"started"}
    with pytest.raises(BadRequest):
        understood("_elements", "started,colour", strict=True)


@pytest.mark.parametrize(
    ("wanted", "level"),
    [
        (Wanted(), Level.INSTANCE),
        (Wanted(summary="data"), Level.INSTANCE),
        (Wanted(summary="true"), Level.SERIES),
        (Wanted(summary="text"), Level.SERIES),
        (Wanted(elements=frozenset({"id", "started"})), Level.SERIES),
        (Wanted(elements=frozenset({"id", "series"})), Level.INSTANCE),
    ],
)
def test_levels_that_are_not_written_are_not_loaded(wanted: Wanted, level: Level) -> None:
    assert wanted.level is level


def test_total_alone_is_wanted_by_count_or_summary() -> None:
    assert Wanted(count=0).only_total
    assert Wanted(summary="count").only_total
    assert not Wanted(count=1).only_total


def test_what_is_not_for_the_caller_is_not_included() -> None:
    studies = fhir_results.without(fhir_results.IMAGING_STUDIES, ["Patient"])
    patients = fhir_results.without(fhir_results.PATIENTS, ["ImagingStudy", "Endpoint"])

    found = fhir_results.understood(Wanted(), "_include", "*", studies, strict=True)
    assert found is not None
    assert found.includes == {"ImagingStudy:endpoint"}
    named = fhir_results.understood(
        Wanted(), "_revinclude", "ImagingStudy:patient", patients, strict=True
    )
    assert named is not None
    assert not named.reverse_includes
    everything = fhir_results.without(fhir_results.IMAGING_STUDIES, [])
    assert everything == fhir_results.IMAGING_STUDIES
