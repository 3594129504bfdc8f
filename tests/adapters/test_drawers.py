"""Processes are started when needed, replaced when lost, and not lost twice over one object."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest

from gateway.adapters.drawers import (
    CRASHED_SECONDS,
    LATE_SECONDS,
    CannotDraw,
    DecoderLost,
    Drawers,
    OutOfTime,
    Subject,
    WorkersBusy,
)
from tests import hostile_files, worker_processes

CONTENT = (Path(pydicom.__file__).parent / "data/test_files/CT_small.dcm").read_bytes()
ONE = Subject(object="one", study="study")
ORDER = {
    "work": "draw", "syntax": None, "window": None,
    "width": 32, "height": 32, "media_type": "image/png",
}  # fmt: skip
READING = {"work": "read", "syntax": None, "media_types": ["text/plain"]}


class Ground:
    """Drawers by a clock that stands still, and what they told of lost processes."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.lost: list[str] = []
        self.drawers = Drawers(2, 5.0, self.lost.append, lambda: self.now)

    def draw(self, subject: Subject = ONE) -> Awaitable[tuple[dict[str, Any], bytes]]:
        return self.drawers.sent(dict(ORDER), (CONTENT,), subject)

    async def lose(self, number: int, subject: Subject = ONE) -> BaseException:
        """What an order ends with whose process gets a signal on the way."""
        await self.draw(Subject(object="another"))
        (process,) = worker_processes.started()
        worker_processes.end(process, signal.SIGSTOP)
        asking = asyncio.ensure_future(self.draw(subject))
        await asyncio.wait((asking,), timeout=0.05)
        worker_processes.end(process, number)
        worker_processes.end(process, signal.SIGCONT)
        with pytest.raises(CannotDraw) as raised:
            await asking
        return raised.value


@pytest.fixture
async def ground() -> AsyncIterator[Ground]:
    made = Ground()
    yield made
    await made.drawers.close()


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGXCPU])
async def test_what_crashes_a_process_is_left_alone_for_an_hour(
    ground: Ground, number: int
) -> None:
    assert type(await ground.lose(number)) is DecoderLost

    with pytest.raises(DecoderLost, match="before"):
        await ground.draw()
    assert worker_processes.started() == set()
    await ground.draw(Subject(object="another", study="study"))
    ground.now += CRASHED_SECONDS
    await ground.draw()
    assert ground.lost == ["crash"]


async def test_what_uses_up_its_processor_time_is_left_alone_as_well(ground: Ground) -> None:
    spinning = (hostile_files.many_items(400_000),)
    with pytest.raises(DecoderLost) as raised:
        await ground.drawers.sent(dict(READING), spinning, Subject(object="one", cpu_seconds=1))

    assert type(raised.value) is DecoderLost
    assert ground.lost == ["crash"]


async def test_what_took_too_long_is_left_alone_for_a_while(ground: Ground) -> None:
    with pytest.raises(OutOfTime):
        await ground.draw(Subject(object="one", wall_seconds=0.0))
    with pytest.raises(DecoderLost, match="before"):
        await ground.draw()
    assert ground.lost == ["late"]


async def test_what_costs_much_and_comes_to_nothing_is_left_alone_for_a_while(
    ground: Ground,
) -> None:
    spinning = (hostile_files.many_items(300_000),)
    with pytest.raises(CannotDraw) as raised:
        await ground.drawers.sent(dict(READING), spinning, replace(ONE, wall_seconds=50))
    assert type(raised.value) is CannotDraw

    with pytest.raises(DecoderLost, match="before"):
        await ground.draw()
    await ground.draw(Subject(object="another", study="study"))
    ground.now += LATE_SECONDS
    await ground.draw()
    assert ground.lost == []


async def test_what_is_refused_at_once_may_come_again(ground: Ground) -> None:
    cut = (CONTENT[:-1000],)
    for _ in range(2):
        with pytest.raises(CannotDraw) as raised:
            await ground.drawers.sent(dict(ORDER), cut, ONE)
        assert type(raised.value) is CannotDraw


async def test_a_process_that_is_ended_from_outside_says_nothing_of_its_object(
    ground: Ground,
) -> None:
    assert isinstance(await ground.lose(signal.SIGKILL), WorkersBusy)

    await ground.draw()
    assert ground.lost == ["killed"]


async def test_processes_that_end_again_and_again_are_started_after_a_pause(
    ground: Ground,
) -> None:
    for _ in range(2):
        starting = asyncio.ensure_future(ground.draw())
        while not (found := worker_processes.started()):
            await asyncio.wait((starting,), timeout=0.01)
        for process in found:
            worker_processes.end(process, signal.SIGKILL)
        with pytest.raises(WorkersBusy):
            await starting

    with pytest.raises(WorkersBusy, match="again"):
        await ground.draw()
    assert worker_processes.started() == set()
    ground.now += 1
    await ground.draw()
    assert ground.lost == ["start", "start"]


async def test_nothing_is_drawn_once_all_is_closed(ground: Ground) -> None:
    await ground.drawers.close()

    with pytest.raises(WorkersBusy, match="shutting down"):
        await ground.draw()
