"""Room is given in the order of asking, and never more than there is."""

from __future__ import annotations

import asyncio

import pytest

from gateway.adapters.room import Room


async def turn() -> None:
    """Lets everybody go on who can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_finds_no_room_waits_for_what_others_give_back() -> None:
    room = Room(10)
    first = await room.share(8, 1)
    waiting = asyncio.ensure_future(room.share(6, 1))
    small = asyncio.ensure_future(room.share(1, 1))
    await turn()
    assert not waiting.done()
    assert not small.done()  # it came later
    first.give_back()
    (await waiting).give_back()
    (await small).give_back()
    assert room.free == 10


async def test_what_is_held_grows_while_there_is_room() -> None:
    room = Room(10)
    share = await room.share(4, 1)
    assert share.grown(9)
    assert share.grown(5)
    assert not share.grown(11)
    assert room.free == 1
    share.give_back()
    share.give_back()
    assert room.free == 10


async def test_who_waited_too_long_keeps_nobody_waiting() -> None:
    room = Room(10)
    first = await room.share(6, 1)
    large = asyncio.ensure_future(room.share(8, 0.01))
    small = asyncio.ensure_future(room.share(4, 1))
    with pytest.raises(TimeoutError):
        await large
    second = await small
    assert room.free == 0
    first.give_back()
    second.give_back()
    assert room.free == 10


async def test_room_that_comes_as_its_waiter_leaves_goes_to_the_next() -> None:
    room = Room(10)
    first = await room.share(10, 1)
    leaving = asyncio.ensure_future(room.share(10, 1))
    next_one = asyncio.ensure_future(room.share(10, 1))
    await turn()
    first.give_back()
    leaving.cancel()
    (await next_one).give_back()
    assert leaving.cancelled()
    assert room.free == 10
