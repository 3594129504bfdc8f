"""Body parts to codes."""

from __future__ import annotations

import re

import pytest

from gateway.model import Code
from gateway.rules import body_sites


@pytest.mark.parametrize(
    ("body_part", "code"),
    [
        ("CHEST", "43799004"),
        ("chest ", "43799004"),
        ("C SPINE", "122494005"),
        ("Whole Body", "38266002"),
    ],
)
def test_body_part_is_known_whatever_its_case_and_spaces(body_part: str, code: str) -> None:
    found = body_sites.body_site(body_part)
    assert found is not None
    assert (found.value, found.scheme) == (code, "SCT")


def test_body_part_that_annex_l_does_not_know_keeps_its_words() -> None:
    assert body_sites.body_site("left  big toe") == Code(meaning="LEFT BIG TOE")


@pytest.mark.parametrize("body_part", [None, "", "  "])
def test_no_body_part_has_no_code(body_part: str | None) -> None:
    assert body_sites.body_site(body_part) is None


def test_terms_are_code_strings_with_codes_of_snomed_ct() -> None:
    for term, (code, meaning) in body_sites.BODY_PARTS.items():
        assert re.fullmatch(r"[A-Z0-9]{1,16}", term)
        assert re.fullmatch(r"[1-9]\d{5,17}", code)
        assert meaning.strip() == meaning
        assert "structure" not in meaning
