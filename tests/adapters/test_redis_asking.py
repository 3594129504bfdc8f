"""Redis left alone for a while after it failed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from redis.exceptions import (
    ClusterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as Unreachable

from gateway.adapters.redis_asking import Asking, PatientAsking
from gateway.adapters.redis_client import Limits
from gateway.adapters.redis_complaints import Complaints
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


REFUSALS = (
    OutOfMemoryError(),
    ReadOnlyError(),
    NoPermissionError(),
    ResponseError("MISCONF Redis is configured to save RDB snapshots, but it cannot"),
    ResponseError("NOREPLICAS Not enough good replicas to write."),
)


@pytest.mark.parametrize("error", REFUSALS, ids=repr)
async def test_what_takes_no_writes_is_still_read(error: RedisError) -> None:
    clock = Clock()
    one = asking(clock)

    async def fail() -> str:
        raise error

    for _ in range(10):
        assert await one.asked(fail, is_write=True) is None
        assert await one.asked(answer) == "answer"
        assert not one.takes_writes
    clock.seconds += LIMITS.full_pause_seconds
    assert one.takes_writes


async def test_reads_do_not_hide_that_writes_hang() -> None:
    clock = Clock()
    one = asking(clock)

    async def hang() -> str:
        raise TimeoutError

    for _ in range(LIMITS.max_failures):
        assert one.takes_writes
        await one.asked(hang, is_write=True)
        assert await one.asked(answer) == "answer"
    assert not one.takes_writes
    clock.seconds += LIMITS.pause_seconds
    assert await one.asked(answer, is_write=True) == "answer"
    await one.asked(hang, is_write=True)
    assert one.takes_writes


async def test_node_that_is_down_says_nothing_of_other_nodes() -> None:
    one = asking(Clock())

    async def fail() -> str:
        raise ClusterDownError("CLUSTERDOWN Hash slot not served")

    assert await one.asked(fail, is_write=True) is None
    assert one.takes_writes


@pytest.mark.parametrize("error", [TypeError(), ValueError(), AttributeError()], ids=repr)
async def test_whatever_is_raised_is_trouble_with_redis(error: Exception) -> None:
    one = asking(Clock())

    async def fail() -> str:
        raise error

    for _ in range(LIMITS.max_failures):
        assert await one.asked(fail) is None
    assert await one.asked(answer) is None


QUICK = Limits(connect_seconds=0.01, operation_seconds=0.01)


@pytest.fixture
async def patient() -> AsyncIterator[PatientAsking]:
    clock = Clock()
    one = PatientAsking(QUICK, clock, Complaints(Telemetry(), QUICK, clock))
    yield one
    await one.close()


async def test_that_what_is_late_goes_on_without_whoever_asked(patient: PatientAsking) -> None:
    gate, ended = asyncio.Event(), asyncio.Event()

    async def late() -> str:
        await gate.wait()
        ended.set()
        return "answer"

    assert await patient.asked(late) is None
    assert not patient.takes_writes
    gate.set()
    await ended.wait()


async def test_that_who_is_cancelled_leaves_the_question_to_its_end(patient: PatientAsking) -> None:
    begun, gate, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def asked() -> str:
        begun.set()
        await gate.wait()
        ended.set()
        return "answer"

    caller = asyncio.ensure_future(patient.asked(asked))
    await begun.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert patient.takes_writes
    gate.set()
    await ended.wait()


async def test_that_an_answer_is_not_late_when_this_process_was(patient: PatientAsking) -> None:
    loop = asyncio.get_running_loop()
    come = loop.create_future()

    async def answered() -> str:
        await asyncio.sleep(0)
        return str(await come)

    def be_busy() -> None:
        time.sleep(2 * QUICK.total_seconds)
        loop.call_soon(come.set_result, "answer")

    loop.call_later(QUICK.total_seconds / 2, be_busy)
    assert await patient.asked(answered) == "answer"
    assert patient.takes_writes


async def test_that_nothing_is_asked_any_more_after_the_end(patient: PatientAsking) -> None:
    hanging = asyncio.Event()

    async def hang() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            hanging.set()
        return ""

    assert await patient.asked(hang) is None
    await patient.close()
    assert hanging.is_set()
