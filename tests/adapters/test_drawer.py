"""One drawing process: how its answers come together, what makes none, and its end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest

from gateway.adapters.drawer import SENSELESS, Drawer
from gateway.adapters.picture_process import LENGTH, message
from tests import worker_processes

LONG = 30.0
ORDER = {
    "work": "draw", "syntax": None, "window": None, "cpu_seconds": 10, "sizes": [7],
    "width": 32, "height": 32, "media_type": "image/png",
}  # fmt: skip
STDOUT = 1


@pytest.fixture
async def drawer() -> AsyncIterator[Drawer]:
    made = await Drawer.started()
    yield made
    await made.end()


async def halted(drawer: Drawer) -> asyncio.Task[object]:
    """An order to a process that says nothing: its answers are those of the test."""
    (process,) = worker_processes.started()
    worker_processes.end(process, signal.SIGSTOP)
    asking = asyncio.ensure_future(drawer.answered(dict(ORDER), LONG))
    await asyncio.sleep(0)
    return asking


async def test_it_is_ready_when_it_has_told_what_it_gave_up(drawer: Drawer) -> None:
    assert "descriptors" in drawer.given_up
    assert not drawer.has_ended


async def test_orders_are_answered_one_after_the_other(drawer: Drawer) -> None:
    for _ in range(3):
        await drawer.desk.lay((b"garbage",))
        answer, body = await drawer.answered(dict(ORDER), LONG)
        assert "error" in answer
        assert body == b""


async def test_answer_may_come_in_any_pieces(drawer: Drawer) -> None:
    asking = await halted(drawer)
    for byte in message({"width": 1, "size": 4}) + b"body":
        assert not asking.done()
        drawer.pipe_data_received(STDOUT, bytes((byte,)))

    assert await asking == ({"width": 1, "size": 4}, b"body")


@pytest.mark.parametrize(
    "senseless",
    [
        b"\xff\xff\xff\xff",
        LENGTH.pack(4) + b"nope",
        message({"no": "size"}),
        message({"size": -1}),
        message({"size": 2**40}),
        message({"size": "large"}),
    ],
)
async def test_what_makes_no_answer_is_not_waited_for(drawer: Drawer, senseless: bytes) -> None:
    asking = await halted(drawer)
    drawer.pipe_data_received(STDOUT, senseless)

    with pytest.raises(SENSELESS):
        await asking


async def test_what_ends_while_nobody_waits_has_ended(drawer: Drawer) -> None:
    (process,) = worker_processes.started()
    worker_processes.end(process, signal.SIGKILL)

    assert await drawer.fate() == -signal.SIGKILL
    assert drawer.has_ended
    with pytest.raises(SENSELESS):
        await drawer.answered(dict(ORDER), LONG)


async def test_it_may_be_ended_twice(drawer: Drawer) -> None:
    await drawer.end()
    await drawer.end()

    assert worker_processes.started() == set()
