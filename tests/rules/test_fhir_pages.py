"""Page tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest
from gateway.rules import fhir_pages
from gateway.rules.fhir_pages import Page, Position

numbers = st.integers(0, 10**6)
positions = st.builds(Position, offset=numbers, limit=numbers, skip=numbers)


@given(steps=st.lists(st.tuples(positions, numbers), min_size=1, max_size=5), seal=st.text())
def test_token_stands_for_its_page(steps: list[tuple[Position, int]], seal: str) -> None:
    page = Page()
    for start, matched in steps:
        page = page.next(start, matched)
    assert fhir_pages.page(fhir_pages.token(page, seal), seal) == page
    assert page.start == steps[-1][0]
    assert page.matched_before == sum(matched for _, matched in steps)


def test_token_of_another_search_or_caller_is_refused() -> None:
    token = fhir_pages.token(Page().next(Position(offset=20, limit=20), 20), "mine")
    with pytest.raises(BadRequest):
        fhir_pages.page(token, "yours")


@given(text=st.text())
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        fhir_pages.page(text, "mine")


def test_pages_lead_back_to_the_first() -> None:
    second = Page().next(Position(offset=2, limit=2), 2)
    third = second.next(Position(offset=4, limit=2), 1)
    assert third.previous() == second
    assert second.previous() == Page()
    assert second.previous().start is None


def test_positions_go_on_within_a_slice_and_behind_it() -> None:
    start = Position(offset=10, limit=5, skip=1)
    assert start.after(2) == Position(offset=10, limit=5, skip=3)
    assert start.following(20) == Position(offset=15, limit=20)
