"""The budget of one archive: who gets a turn, who waits, who is sent away."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from gateway.adapters.turns import Turns
from gateway.errors import ArchiveBusy


def turns(most: int, *, queue_seconds: float = 5, max_waiting: int = 10) -> Turns:
    return Turns("north", most, queue_seconds=queue_seconds, max_waiting=max_waiting)


async def test_a_turn_that_is_given_back_is_taken_by_the_next() -> None:
    budget = turns(1)
    order: list[str] = []
    is_taken, may_go = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with budget.taken(is_stream=True):
            is_taken.set()
            await may_go.wait()
            order.append("first")

    async def second() -> None:
        await is_taken.wait()
        may_go.set()
        async with budget.taken(is_stream=True):
            order.append("second")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(first())
        tasks.create_task(second())
    assert order == ["first", "second"]


async def test_streams_leave_turns_for_what_is_soon_over() -> None:
    budget = turns(4, queue_seconds=0.05)
    async with AsyncExitStack() as held:
        for _ in range(3):
            await held.enter_async_context(budget.taken(is_stream=True))

        with pytest.raises(ArchiveBusy):
            await held.enter_async_context(budget.taken(is_stream=True))
        await held.enter_async_context(budget.taken(is_stream=False))


async def test_a_budget_of_one_serves_streams_too() -> None:
    async with turns(1).taken(is_stream=True):
        pass


async def test_too_long_a_wait_is_said_by_a_busy_archive() -> None:
    budget = turns(1, queue_seconds=0.05)
    async with budget.taken(is_stream=False):
        with pytest.raises(ArchiveBusy, match="archive north") as raised:
            await budget.taken(is_stream=False).__aenter__()
    assert raised.value.retry_after_seconds
    async with budget.taken(is_stream=False):
        pass


async def test_too_long_a_queue_is_not_joined_at_all() -> None:
    budget = turns(1, queue_seconds=5, max_waiting=1)
    async with budget.taken(is_stream=False):
        waiting = asyncio.ensure_future(budget.taken(is_stream=False).__aenter__())
        await asyncio.sleep(0)
        with pytest.raises(ArchiveBusy, match="wait"):
            await budget.taken(is_stream=False).__aenter__()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def test_callers_who_leave_the_queue_leak_no_turn() -> None:
    budget = turns(2)

    async def use() -> None:
        async with budget.taken(is_stream=True):
            await asyncio.sleep(0)

    for leave_after in range(6):
        tasks = [asyncio.ensure_future(use()) for _ in range(8)]
        for _ in range(leave_after):
            await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async with AsyncExitStack() as held:  # all turns are there again
        await held.enter_async_context(budget.taken(is_stream=True))
        await held.enter_async_context(budget.taken(is_stream=True))


async def test_a_turn_is_taken_at_once_only_if_one_is_free() -> None:
    budget = turns(4)
    assert [budget.take_now(is_stream=True) for _ in range(4)] == [True] * 3 + [False]
    assert [budget.take_now(is_stream=False) for _ in range(2)] == [True, False]
    budget.give_back(is_stream=True)
    assert budget.take_now(is_stream=True)
