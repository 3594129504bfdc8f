"""Which version a request is answered in."""

from __future__ import annotations

import pytest

from gateway.errors import NotAcceptable
from gateway.rules import fhir_media
from gateway.rules.fhir_versions import R4, R5, VERSIONS


def version(accept: str | None, format_: str | None = None, base: str | None = None) -> str:
    fields = [] if accept is None else [accept]
    found = fhir_media.version(fields, format_, VERSIONS.get(base or ""), R4)
    return found.id


@pytest.mark.parametrize(
    ("accept", "format_", "base", "expected"),
    [
        (None, None, None, "r4"),
        (None, "", None, "r4"),
        ("*/*", None, "r5", "r5"),
        ("application/json", None, "r6", "r6"),
        ("text/html, */*;q=0.1", None, None, "r4"),
        ("application/fhir+json; fhirVersion=5.0", None, None, "r5"),
        ("application/fhir+json; fhirversion=4.3", None, None, "r4b"),
        ("application/fhir+json;fhirVersion=5.0", None, "r5", "r5"),
        ("application/fhir+json; fhirVersion=4.0.1", None, None, "r4"),
        (
            "application/fhir+json; fhirVersion=3.0, application/fhir+json; fhirVersion=6.0;q=0.5",
            None,
            None,
            "r6",
        ),
        ("application/fhir+xml", "json", None, "r4"),
        ("application/fhir+xml", "application/fhir+json", None, "r4"),
        (None, "application/fhir json", None, "r4"),
        (None, "application/fhir+json; fhirVersion=5.0", None, "r5"),
        ("application/fhir+json; fhirVersion=5.0", "json", None, "r5"),
        ("application/*", "text/json", "r4b", "r4b"),
    ],
)
def test_version_is_the_one_of_the_base_of_accept_or_the_default(
    accept: str | None, format_: str | None, base: str | None, expected: str
) -> None:
    assert version(accept, format_, base) == expected


@pytest.mark.parametrize(
    ("accept", "format_", "base"),
    [
        ("application/fhir+xml", None, None),
        ("text/html", None, None),
        ("application/fhir+json; fhirVersion=5.0", None, "r4"),
        ("application/fhir+json; fhirVersion=3.0", None, None),
        ("application/fhir+json", "xml", None),
        (None, "html/xml", None),
        (None, "yaml", None),
        (None, "application/fhir+json; fhirVersion=5.0", "r4"),
        ("application/fhir+json; fhirVersion=4.0", "application/json; fhirVersion=5.0", None),
    ],
)
def test_what_cannot_be_answered_is_not_acceptable(
    accept: str | None, format_: str | None, base: str | None
) -> None:
    with pytest.raises(NotAcceptable):
        version(accept, format_, base)


def test_content_type_names_the_version() -> None:
    assert R5.content_type == "application/fhir+json; fhirVersion=5.0"
