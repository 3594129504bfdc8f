"""Tokens, references and lists as clients write them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules import fhir_values
from gateway.rules.fhir_values import ReferenceValue, Token
from gateway.rules.fhir_versions import base_pattern

BASE = base_pattern("https://gateway.example.org")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a,b", ["a", "b"]),
        (r"a\,b,c", [r"a\,b", "c"]),
        ("a,,b,", ["a", "b"]),
        (",", []),
        ("a\\", ["a\\"]),
        ("\\\\,b", ["\\\\", "b"]),
    ],
)
def test_commas_separate_unless_they_are_escaped(text: str, parts: list[str]) -> None:
    assert fhir_values.listed(text) == parts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CT", Token(code="CT")),
        ("http://s|CT", Token(system="http://s", code="CT")),
        ("|CT", Token(system="", code="CT")),
        ("http://s|", Token(system="http://s")),
        ("|", None),
        (r"a\|b", Token(code="a|b")),
        ("s|a|b", Token(system="s", code="a|b")),
        (r"a\\b", Token(code="a\\b")),
    ],
)
def test_tokens_are_code_and_system(text: str, expected: Token | None) -> None:
    assert fhir_values.token(text) == expected


@pytest.mark.parametrize(
    ("value", "found", "expected"),
    [
        (Token(code="CT"), Token(system="s", code="CT"), True),
        (Token(code="C"), Token(system="s", code="CT"), False),
        (Token(code="ct"), Token(system="s", code="CT"), False),
        (Token(system="s"), Token(system="s", code="CT"), True),
        (Token(system="", code="CT"), Token(system="s", code="CT"), False),
        (Token(system="", code="CT"), Token(code="CT"), True),
        (Token(system="t", code="CT"), Token(system="s", code="CT"), False),
    ],
)
def test_tokens_match_exactly(*, value: Token, found: Token, expected: bool) -> None:
    assert value.fits(found) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Patient/1", ReferenceValue(type="Patient", id="1")),
        ("1", ReferenceValue(type="Patient", id="1")),
        ("Patient/1/_history/2", ReferenceValue(type="Patient", id="1")),
        (
            "https://gateway.example.org/fhir/r4/Patient/1",
            ReferenceValue(type="Patient", id="1"),
        ),
        ("https://gateway.example.org/fhir/Patient/1", ReferenceValue(type="Patient", id="1")),
        (
            "https://ehr.example.org/fhir/Patient/1",
            ReferenceValue(url="https://ehr.example.org/fhir/Patient/1"),
        ),
        ("urn:uuid:1", ReferenceValue(url="urn:uuid:1")),
    ],
)
def test_references_are_types_and_ids_or_foreign_urls(text: str, expected: ReferenceValue) -> None:
    assert fhir_values.reference(text, ("Patient",), BASE) == expected


def test_reference_to_another_type_is_none() -> None:
    assert fhir_values.reference("Device/x", ("Patient", "Group"), BASE) is None
    assert fhir_values.reference("Patient/x", ("Device",), BASE) is None


@pytest.mark.parametrize(
    ("value", "found", "expected"),
    [
        (ReferenceValue(type="Endpoint", id="x"), {"reference": "Endpoint/x"}, True),
        (ReferenceValue(id="x"), {"reference": "Endpoint/x"}, True),
        (ReferenceValue(type="Patient", id="x"), {"reference": "Endpoint/x"}, False),
        (ReferenceValue(id="x"), {"reference": "#x"}, False),
        (ReferenceValue(id="x"), {"identifier": {"value": "x"}}, False),
        (ReferenceValue(url="urn:uuid:1"), {"reference": "urn:uuid:1"}, True),
    ],
)
def test_references_find_what_has_their_type_and_id(
    *, value: ReferenceValue, found: dict[str, Any], expected: bool
) -> None:
    assert value.fits(found) is expected


@given(parts=st.lists(st.text(min_size=1), min_size=1, max_size=4))
def test_escaped_values_come_back_whole(parts: list[str]) -> None:
    for separator in ",|$":
        escape = str.maketrans({c: f"\\{c}" for c in ",|$\\"})
        written = separator.join(part.translate(escape) for part in parts)
        assert [fhir_values.unescaped(p) for p in fhir_values.split(written, separator)] == parts


@given(text=st.text())
def test_any_text_is_read(text: str) -> None:
    fhir_values.token(text)
    fhir_values.listed(text)
    fhir_values.reference(text, (), BASE)
