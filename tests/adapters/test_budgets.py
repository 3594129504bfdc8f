from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapters import budgets
from gateway.adapters.budgets import COST, HELD, MOST_WAITING, AtOnce, Budget, Budgets, Cost
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


async def test_the_requests_of_one_wait_for_each_other_and_those_of_others_do_not() -> None:
    at_once = AtOnce(2)
    first, _ = await at_once.place("greedy"), await at_once.place("greedy")
    order: list[str] = []

    async def ask(consumer: str) -> None:
        place = await at_once.place(consumer)
        order.append(consumer)
        place.leave()

    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(ask("greedy"))
        await asyncio.sleep(0)
        await ask("modest")
        assert order == ["modest"]
        first.leave()
        first.leave()
    assert order == ["modest", "greedy"]


async def test_who_waits_too_long_a_line_is_refused_and_who_leaves_it_makes_room() -> None:
    at_once = AtOnce(1)
    place = await at_once.place("greedy")
    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(at_once.place("greedy")) for _ in range(MOST_WAITING)]
        await asyncio.sleep(0)
        with pytest.raises(TooMany):
            await at_once.place("greedy")
        for one in waiting:
            one.cancel()
    place.leave()
    assert not at_once._lines


async def test_a_place_is_given_at_once_only_if_there_is_one() -> None:
    at_once = AtOnce(1)
    first = at_once.place_now("greedy")
    assert first is not None
    assert at_once.place_now("greedy") is None
    assert at_once.place_now("modest") is not None
    first.leave()
    assert at_once.place_now("greedy") is not None
    assert AtOnce(None).place_now("greedy") is not None


async def test_one_who_is_let_in_and_gone_at_the_same_time_keeps_no_place() -> None:
    at_once = AtOnce(1)
    first = await at_once.place("greedy")
    async with asyncio.TaskGroup() as tasks:
        gone = tasks.create_task(at_once.place("greedy"))
        next_one = tasks.create_task(at_once.place("greedy"))
        await asyncio.sleep(0)
        first.leave()
        gone.cancel()
    assert gone.cancelled()
    assert at_once.place_now("greedy") is None
    next_one.result().leave()
    assert not at_once._lines


def test_what_is_given_back_can_be_spent_again() -> None:
    both = Budgets(Budget(1, Clock()), Budget(None), AtOnce(None))
    for _ in range(3):
        both.check("one")
        both.give_back("one")
    both.check("one")
    with pytest.raises(TooMany):
        both.check("one")


async def test_a_place_that_a_request_has_is_its_place_if_it_is_of_the_same_consumer() -> None:
    at_once = AtOnce(1)
    bounds = Budgets(requests=Budget(None), archive_requests=Budget(None), at_once=at_once)
    held = at_once.place_now("a")
    token = HELD.set(held)
    try:
        assert await bounds.place("a") is held
        other = await bounds.place("b")
    finally:
        HELD.reset(token)
    assert at_once.place_now("a") is not None
    assert at_once.place_now("b") is None
    other.leave()
    assert await bounds.place("b") is not other
