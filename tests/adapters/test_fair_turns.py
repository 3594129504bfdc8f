"""Whoever waits is let in lane by lane, and no subject on trial takes more than one turn."""

from __future__ import annotations

import asyncio

import pytest

from gateway.adapters.fair_turns import MOST_PROVEN, FairTurns

LONG = 30.0


class Room:
    """What has turns: who is in it, and in which order they came."""

    def __init__(self, turns: FairTurns) -> None:
        self.turns = turns
        self.came: list[str] = []
        self.inside: dict[str, asyncio.Event] = {}

    async def visit(self, name: str, subject: str, lane: str) -> None:
        self.inside[name] = asyncio.Event()
        await self.turns.take(subject, lane, LONG)
        self.came.append(name)
        await self.inside[name].wait()
        self.turns.give_back(subject, lane)

    async def leave(self, name: str) -> None:
        self.inside[name].set()
        await settled()


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_lanes_take_turns_however_many_wait_in_one() -> None:
    room = Room(FairTurns(1))
    async with asyncio.TaskGroup() as tasks:
        for name in ("a1", "a2", "a3", "a4", "b1", "b2"):
            tasks.create_task(room.visit(name, name, name[0]))
        await settled()
        for name in ("a1", "a2", "b1", "a3", "b2", "a4"):
            await room.leave(name)

    assert room.came == ["a1", "a2", "b1", "a3", "b2", "a4"]


async def test_a_subject_on_trial_gets_one_turn_and_a_proven_one_several() -> None:
    room = Room(FairTurns(2))
    async with asyncio.TaskGroup() as tasks:
        for name in ("first", "second"):
            tasks.create_task(room.visit(name, "unknown", "lane"))
        tasks.create_task(room.visit("other", "other", "lane"))
        await settled()
        on_trial = list(room.came)
        room.turns.prove("unknown")
        await room.leave("other")
        proven = list(room.came)
        for name in ("first", "second"):
            await room.leave(name)

    assert on_trial == ["first", "other"]
    assert proven == ["first", "other", "second"]


async def test_a_narrow_lane_gets_one_turn_at_a_time() -> None:
    room = Room(FairTurns(3, lambda lane: lane == "bad"))
    async with asyncio.TaskGroup() as tasks:
        for name, lane in (("a", "bad"), ("b", "bad"), ("c", "good"), ("d", "good")):
            tasks.create_task(room.visit(name, name, lane))
        await settled()
        first = list(room.came)
        for name in ("a", "c", "d", "b"):
            await room.leave(name)

    assert first == ["a", "c", "d"]


async def test_who_waits_too_long_or_leaves_takes_no_turn() -> None:
    turns = FairTurns(1)
    await turns.take("a", "lane", LONG)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(turns.take("b", "lane", 0.0), LONG)
    gone = asyncio.ensure_future(turns.take("c", "lane", LONG))
    await settled()
    gone.cancel()
    await settled()
    turns.give_back("a", "lane")

    assert gone.cancelled()
    await turns.take("d", "lane", 0.0)


async def test_a_turn_that_came_as_its_caller_left_is_given_on() -> None:
    turns = FairTurns(1)
    await turns.take("a", "lane", LONG)
    waiting = asyncio.ensure_future(turns.take("b", "lane", LONG))
    await settled()
    turns.give_back("a", "lane")
    waiting.cancel()
    await settled()

    assert waiting.cancelled()
    await turns.take("c", "lane", 0.0)


async def test_of_those_who_did_well_the_last_are_remembered() -> None:
    turns = FairTurns(2)
    for number in range(MOST_PROVEN + 1):
        turns.prove(str(number))

    await turns.take("0", "lane", LONG)
    with pytest.raises(TimeoutError):
        await turns.take("0", "lane", 0.0)
    turns.give_back("0", "lane")
    for _ in range(2):
        await turns.take("1", "lane", 0.0)
