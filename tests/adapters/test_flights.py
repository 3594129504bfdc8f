"""Work that is shared while it is under way."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from gateway.adapters.flights import Flights
from gateway.errors import ArchiveTimeout, Unavailable
from tests.adapters.caches import settled


async def test_those_who_ask_meanwhile_share_one_run() -> None:
    flights: Flights[int] = Flights()
    gate, runs = asyncio.Event(), []

    async def work() -> int:
        runs.append(1)
        await gate.wait()
        return len(runs)

    waiting = [asyncio.ensure_future(flights.join("a", work)) for _ in range(3)]
    await asyncio.sleep(0)
    assert flights.is_under_way("a")
    gate.set()
    assert await asyncio.gather(*waiting) == [1, 1, 1]
    assert not flights.is_under_way("a")


async def test_one_who_asks_while_a_deserted_run_ends_gets_a_run_of_their_own() -> None:
    flights: Flights[str] = Flights()
    started = asyncio.Event()

    async def deserted() -> str:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
        return "deserted"

    async def own() -> str:
        return "own"

    leaver = asyncio.ensure_future(flights.join("a", deserted))
    await started.wait()
    leaver.cancel()
    await asyncio.wait([leaver])
    assert await flights.join("a", own) == "own"
    await flights.close()


async def test_run_in_the_background_goes_on_when_its_last_waiter_leaves() -> None:
    flights: Flights[str] = Flights()
    started, gate, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work() -> str:
        started.set()
        await gate.wait()
        ended.set()
        return "done"

    flights.launch("a", work)
    flights.launch("a", work)
    waiter = asyncio.ensure_future(flights.join("a", work))
    await started.wait()
    waiter.cancel()
    await asyncio.wait([waiter])
    gate.set()
    async with asyncio.timeout(5):
        await ended.wait()


@pytest.mark.parametrize(
    ("error", "logged"),
    [(ArchiveTimeout("no answer", archive="north"), 0), (KeyError("a bug"), 1)],
    ids=["foreseen", "unforeseen"],
)
async def test_unforeseen_error_in_the_background_is_logged(error: Exception, logged: int) -> None:
    flights: Flights[str] = Flights()

    async def work() -> str:
        raise error

    with capture_logs() as logs:
        flights.launch("a", work)
        await settled()
    assert len(logs) == logged


async def test_nothing_starts_after_closing() -> None:
    flights: Flights[str] = Flights()
    await flights.close()

    async def work() -> str:
        raise AssertionError

    flights.launch("a", work)
    with pytest.raises(Unavailable):
        await flights.join("a", work)
