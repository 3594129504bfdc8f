"""Tasks end, also those that miss that they are to."""

from __future__ import annotations

import asyncio
import contextlib

from gateway.adapters.ended import ended


async def test_task_that_misses_its_cancellation_is_told_again() -> None:
    started, missed = asyncio.Event(), []

    async def work() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            missed.append(True)
        await asyncio.Event().wait()

    task = asyncio.ensure_future(work())
    await started.wait()
    await ended([task])
    assert task.cancelled()
    assert missed == [True]


async def test_last_words_are_waited_for() -> None:
    said = []

    async def work() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        said.append("last")

    task = asyncio.ensure_future(work())
    await asyncio.sleep(0)
    await ended([task])
    assert said == ["last"]


async def test_what_has_ended_is_left_alone() -> None:
    async def work() -> int:
        return 1

    task = asyncio.ensure_future(work())
    await task
    await ended([task])
    await ended([])
    assert task.result() == 1
