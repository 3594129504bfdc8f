"""Searches as they are asked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.errors import BadRequest
from gateway.rules import fhir_requests
from gateway.rules.fhir_requests import Search, Sizes
from gateway.rules.fhir_results import IMAGING_STUDIES
from tests.rules.test_fhir_search import NAMES, READING

SIZES = Sizes(usual=20, largest=100)


def read(*pairs: tuple[str, str], strict: bool = False) -> Search:
    reading = replace(READING, strict=strict)
    return fhir_requests.read(pairs, NAMES, IMAGING_STUDIES, reading, SIZES)


def test_unknown_parameters_are_ignored_and_left_out_of_what_was_used() -> None:
    search = read(("modality", "CT"), ("colour", "red"), ("started", ""), ("_filter", "x"))
    assert search.used == (("modality", "CT"),)
    assert search.ignored == ("colour", "started", "_filter")


def test_unknown_elements_are_told_and_left_out_of_what_was_used() -> None:
    search = read(("_elements", "started, colour ,series"))
    assert search.used == (("_elements", "started,series"),)
    assert search.ignored == ("_elements",)
    assert read(("_elements", "started,series")).ignored == ()


@pytest.mark.parametrize(
    "pair", [("colour", "red"), ("started", ""), ("_filter", "x"), ("_count", "")]
)
def test_strict_handling_refuses_what_lenient_handling_ignores(pair: tuple[str, str]) -> None:
    assert read(pair).ignored == (pair[0],)
    with pytest.raises(BadRequest):
        read(pair, strict=True)


def test_unknown_parameter_is_refused_as_not_supported() -> None:
    with pytest.raises(BadRequest) as raised:
        read(("colour", "red"), strict=True)
    assert raised.value.code == "not-supported"


def test_names_are_repeated_as_the_client_wrote_them() -> None:
    assert read(("based-on:identifier", "A"), ("bodysite", "1")).used == (
        ("based-on:identifier", "A"),
        ("bodysite", "1"),
    )


@pytest.mark.parametrize(("asked", "applies"), [(None, 20), ("7", 7), ("1000", 100), ("0", 0)])
def test_page_size_has_a_default_and_a_maximum(asked: str | None, applies: int) -> None:
    search = read(*([("_count", asked)] if asked else []))
    assert search.wanted.count == applies
    assert search.used == ((("_count", str(applies)),) if asked else ())


def test_page_token_is_not_a_part_of_the_search() -> None:
    search = read(("modality", "CT"), ("_page", "abc"))
    assert search.used == (("modality", "CT"),)
    assert search.wanted.page == "abc"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (["handling=strict"], True),
        (["respond-async, handling=strict"], True),
        (["return=minimal", "handling = strict"], True),
        (['handling="strict"; foo=1'], True),
        (["handling=lenient"], False),
        (["strict"], False),
        ([], False),
    ],
)
def test_strict_handling_is_a_preference(*, fields: list[str], expected: bool) -> None:
    assert fhir_requests.is_strict(fields) is expected
