"""Body parts to codes and back."""

from __future__ import annotations

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


@pytest.mark.parametrize("term", body_sites.BODY_PARTS)
def test_every_term_is_found_by_its_code(term: str) -> None:
    found = body_sites.body_site(term)
    assert found is not None
    assert found.value is not None
    assert term in body_sites.body_parts(found.value)


def test_unknown_code_means_no_body_part() -> None:
    assert body_sites.body_parts("1") == ()
