"""Redis left alone for a while after it failed."""

from __future__ import annotations

import pytest
from redis.exceptions import ConnectionError as Unreachable
from redis.exceptions import OutOfMemoryError, ReadOnlyError, RedisError

from gateway.adapters.redis_asking import Asking
from gateway.adapters.redis_client import Complaints, Limits
from gateway.adapters.telemetry import Telemetry
from tests.adapters.caches import Clock

LIMITS = Limits()


def asking(clock: Clock) -> Asking:
    return Asking(LIMITS, clock, Complaints(Telemetry(), LIMITS, clock))


async def answer() -> str:
    return "answer"


async def test_one_asks_again_after_a_while_and_all_once_it_is_answered() -> None:
    clock, asked = Clock(), 0
    one = asking(clock)

    async def fail() -> str:
        nonlocal asked
        asked += 1
        raise Unreachable

    for _ in range(LIMITS.max_failures + 5):
        assert await one.asked(fail) is None
    assert asked == LIMITS.max_failures
    assert not one.takes_writes
    clock.seconds += LIMITS.pause_seconds
    for _ in range(5):
        assert await one.asked(fail) is None
    assert asked == LIMITS.max_failures + 1
    clock.seconds += LIMITS.pause_seconds
    assert [await one.asked(answer) for _ in range(5)] == ["answer"] * 5
    assert one.takes_writes


@pytest.mark.parametrize("error", [OutOfMemoryError(), ReadOnlyError()], ids=["full", "read-only"])
async def test_what_takes_no_writes_is_still_read(error: RedisError) -> None:
    clock = Clock()
    one = asking(clock)

    async def fail() -> str:
        raise error

    for _ in range(10):
        assert await one.asked(fail) is None
    assert not one.takes_writes
    assert await one.asked(answer) == "answer"
    clock.seconds += LIMITS.full_pause_seconds
    assert one.takes_writes
