from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapters import budgets
from gateway.adapters.budgets import COST, Budget, Cost
from gateway.errors import TooMany
from tests.assembled import Clock


def test_a_minute_s_worth_may_be_used_at_once_and_comes_back() -> None:
    clock = Clock()
    budget = Budget(60, clock)
    for _ in range(60):
        budget.check("a")
        budget.take("a", 1)
    with pytest.raises(TooMany) as refused:
        budget.check("a")
    assert refused.value.retry_after_seconds == 1
    budget.check("b")
    clock.now += 1
    budget.check("a")


def test_what_was_costly_is_paid_off_before_the_next() -> None:
    clock = Clock()
    budget = Budget(60, clock)
    budget.check("a")
    budget.take("a", 90)
    with pytest.raises(TooMany) as refused:
        budget.check("a")
    assert refused.value.retry_after_seconds == 31
    clock.now += 31
    budget.check("a")


def test_without_a_number_anything_goes() -> None:
    budget = Budget(None)
    budget.take("a", 10**9)
    budget.check("a")


@given(st.lists(st.tuples(st.integers(0, 100), st.floats(0, 30)), max_size=50))
def test_never_more_than_the_rate_allows(steps: list[tuple[int, float]]) -> None:
    clock = Clock()
    budget, taken = Budget(60, clock), 0
    begun = clock.now
    for units, seconds in steps:
        clock.now += seconds
        try:
            budget.check("a")
        except TooMany:
            continue
        budget.take("a", units)
        taken += units
        assert taken <= 60 + (clock.now - begun) + 100


def test_who_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "MAX_CONSUMERS", 2)
    budget = Budget(1)
    for name in "abc":
        budget.take(name, 5)
    budget.check("a")


def test_requests_to_archives_are_counted_for_the_request() -> None:
    budgets.asked_an_archive()
    cost = Cost()
    context = COST.set(cost)
    budgets.asked_an_archive()
    budgets.asked_an_archive()
    COST.reset(context)
    assert cost.archive_requests == 2
