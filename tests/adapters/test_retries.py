"""How many questions are asked twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.adapters.retries import AT_FIRST, COST, MOST_SAVED, Retries


@given(st.lists(st.booleans(), max_size=500))
def test_at_most_one_in_five_is_asked_twice(failing: list[bool]) -> None:
    retries = Retries()
    taken = 0
    for asked, has_failed in enumerate(failing, 1):
        retries.asked()
        taken += has_failed and retries.taken()
        assert (taken - AT_FIRST) * COST <= asked


def test_long_peace_saves_for_a_bounded_storm() -> None:
    retries = Retries()
    for _ in range(10_000):
        retries.asked()
    assert [retries.taken() for _ in range(MOST_SAVED + 5)] == [True] * MOST_SAVED + [False] * 5
