"""Archives asked at once: their answers, their silence, and who is asked first."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses

import pytest

from gateway.errors import (
    ArchiveBusy,
    ArchiveRefused,
    ArchiveTimeout,
    ArchiveUnreachable,
    NoAnswerInTime,
    NotFound,
    Unavailable,
)
from gateway.fan_out import Archive, FanOut, unavailable
from gateway.faring import AILING_SECONDS
from gateway.model import Level, Target
from gateway.rules.breaker import FAILURES_IN_A_ROW, FIRST_PAUSE_SECONDS
from gateway.rules.qido import Query
from tests.assembled import ANYONE, Assembled, over
from tests.doubles import Held
from tests.fault_archive import Answer

ONE = Held(study="1.2.3", series="1.2.3.1", instance="1.2.3.1.1")
ALL = Query(level=Level.STUDY)


async def ids_of(fan_out: FanOut) -> tuple[list[str], list[str]]:
    answers, failures = await fan_out.ask(lambda a: fan_out.search(a, ALL, 1))
    return [a.id for a, _ in answers], [f.archive for f in failures]


async def test_one_archive_never_fails_the_rest() -> None:
    async with over([ONE], [ONE], [ONE]) as assembled:
        assembled.doubles[1].server.on("*", Answer(status=500))
        assert await ids_of(assembled.fan_out) == (["north", "east"], ["south"])


async def test_an_error_of_our_own_over_one_archives_answer_costs_that_answer_only() -> None:
    async with over([ONE], [ONE]) as assembled:
        fan_out = assembled.fan_out

        async def fragile(archive: Archive) -> str:
            if archive.id == "north":
                raise KeyError("what nobody foresaw")
            return archive.id

        answers, [failure] = await fan_out.ask(fragile)
        assert [found for _, found in answers] == ["south"]
        assert failure.archive == "north"
        assert "nobody" not in str(failure)


async def test_what_is_no_archives_failure_is_raised_as_it_is() -> None:
    async with over([ONE], [ONE]) as assembled:

        async def stopping(archive: Archive) -> None:
            raise Unavailable("the gateway is stopping")

        with pytest.raises(Unavailable, match="stopping"):
            await assembled.fan_out.ask(stopping)


async def test_archives_are_asked_at_the_same_time() -> None:
    async with over([ONE], [ONE], [ONE]) as assembled:
        for double in assembled.doubles:
            double.server.on("*", Answer(stall=True))
        asking = asyncio.ensure_future(ids_of(assembled.fan_out))
        for double in assembled.doubles:
            await double.server.wait_for(1)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        for double in assembled.doubles:
            await asyncio.wait_for(double.server.requests[0].ended.wait(), 10)


async def test_an_archive_that_failed_is_asked_last_for_a_while() -> None:
    async with over([ONE], [ONE]) as assembled:
        fan_out = assembled.fan_out
        assert [a.id for a in fan_out.named(["south", "north"])] == ["north", "south"]
        assembled.doubles[0].server.on("*", Answer(status=500))
        await ids_of(fan_out)
        assert [a.id for a in fan_out.named(["south", "north"])] == ["south", "north"]
        assert [a.id for a in fan_out.configured(["south", "north"])] == ["north", "south"]
        assembled.clock.now += AILING_SECONDS + 1
        assert [a.id for a in fan_out.named(["south", "north"])] == ["north", "south"]


async def test_an_archive_that_answers_again_is_first_again() -> None:
    async with over([ONE], [ONE]) as assembled:
        fan_out = assembled.fan_out
        assembled.doubles[0].server.on("/studies", Answer(status=500), Answer(status=204))
        await ids_of(fan_out)
        assert not fan_out.is_well("north", 5)
        await ids_of(fan_out)
        assert fan_out.is_well("north", 5)
        assert [a.id for a in fan_out.named(["south", "north"])] == ["north", "south"]


async def test_whether_an_archive_is_back_is_found_out_by_one_request() -> None:
    """A study is told by two: the second follows once the first was answered."""
    async with over([ONE]) as assembled:
        fan_out, server = assembled.fan_out, assembled.doubles[0].server

        async def told(archive: Archive) -> None:
            with fan_out.heard(archive):
                await archive.study("1.2.3")

        server.on("*", Answer(status=500))
        for _ in range(FAILURES_IN_A_ROW + 3):
            assert not (await fan_out.ask(told))[0]
        assert len(server.requests) <= FAILURES_IN_A_ROW + 1
        assembled.clock.now += FIRST_PAUSE_SECONDS
        server.requests.clear()
        server.on("*", Answer(stall=True))
        asking = [asyncio.ensure_future(fan_out.ask(told)) for _ in range(20)]
        await server.wait_for(1)
        _, waiting = await asyncio.wait(asking, timeout=0.3)
        assert (len(waiting), len(server.requests)) == (1, 1)
        server.on("*", Answer(status=204))
        server.release()
        await asyncio.wait_for(asyncio.gather(*asking), 10)
        assert len((await fan_out.ask(told))[0]) == 1


async def test_health_tells_who_answers_within_the_time() -> None:
    async with over([ONE], [ONE], [ONE], timeout_seconds=30) as assembled:
        assembled.doubles[1].server.on("*", Answer(status=500))
        assembled.doubles[2].server.on("*", Answer(stall=True))
        found = await assembled.archives.health(0.3)
        assert [(h.archive, h.problem is None) for h in found] == [
            ("north", True),
            ("south", False),
            ("east", False),
        ]


def test_lateness_of_all_is_told_from_other_silence() -> None:
    late = ArchiveTimeout("no answer in time", archive="north")
    gone = ArchiveUnreachable("no connection", archive="south")
    assert isinstance(unavailable([late, late]), NoAnswerInTime)
    assert unavailable([late]).status == 504
    assert unavailable([late, gone]).status == 503
    assert "north, south" in str(unavailable([late, gone, late]))
    assert unavailable([late]).retry_after_seconds


def test_refusal_by_all_is_told_from_silence_and_not_worth_another_try() -> None:
    refused = ArchiveRefused("it refuses the gateway (401)", archive="north", answered=401)
    gone = ArchiveUnreachable("no connection", archive="south")
    told = unavailable([refused, refused])
    assert (told.status, told.code, told.retry_after_seconds) == (502, "security", None)
    assert told.archives == ("north",)
    assert unavailable([refused, gone]).status == 503
    assert unavailable([refused, gone]).retry_after_seconds


async def fail_until_left_alone(assembled: Assembled, fan_out: FanOut) -> None:
    for _ in range(FAILURES_IN_A_ROW):
        await ids_of(fan_out)
    assert len(assembled.doubles[0].server.requests) == FAILURES_IN_A_ROW


@pytest.mark.parametrize(
    "answer",
    [Answer(stall=True), Answer(status=500), Answer(status=503), Answer(status=504)],
    ids=["silent", "500", "503", "504"],
)
async def test_archive_that_fails_again_and_again_is_left_alone(answer: Answer) -> None:
    async with over([ONE], [ONE], timeout_seconds=0.1) as assembled:
        double, fan_out, clock = assembled.doubles[0], assembled.fan_out, assembled.clock
        double.server.on("*", answer)
        await fail_until_left_alone(assembled, fan_out)
        _, [failure] = await fan_out.ask(lambda a: fan_out.search(a, ALL, 1))
        assert isinstance(failure, ArchiveBusy)
        assert failure.retry_after_seconds == FIRST_PAUSE_SECONDS
        assert unavailable([failure]).retry_after_seconds == FIRST_PAUSE_SECONDS
        assert [a.id for a in fan_out.named(["north", "south"])] == ["south", "north"]
        assert len(double.server.requests) == FAILURES_IN_A_ROW
        clock.now += FIRST_PAUSE_SECONDS
        await asyncio.gather(*(ids_of(fan_out) for _ in range(10)))
        assert len(double.server.requests) == FAILURES_IN_A_ROW + 1
        double.server.on("*", double.answer)
        clock.now += 2 * FIRST_PAUSE_SECONDS
        for _ in range(3):
            assert await ids_of(fan_out) == (["north", "south"], [])


async def test_archive_that_says_when_to_come_back_is_left_alone_until_then() -> None:
    async with over([ONE]) as assembled:
        double, fan_out, clock = assembled.doubles[0], assembled.fan_out, assembled.clock
        double.server.on("*", Answer(status=503, headers={"Retry-After": "30"}))
        await fail_until_left_alone(assembled, fan_out)
        for seconds in (FIRST_PAUSE_SECONDS, 24):
            clock.now += seconds
            _, [failure] = await fan_out.ask(lambda a: fan_out.search(a, ALL, 1))
            assert failure.retry_after_seconds == 30 - (clock.now - 1000)
            assert len(double.server.requests) == FAILURES_IN_A_ROW
        double.server.on("*", double.answer)
        clock.now += 1
        assert await ids_of(fan_out) == (["north"], [])
        assert len(double.server.requests) == FAILURES_IN_A_ROW + 1


@pytest.mark.parametrize("status", [400, 401, 404, 410, 429, 501])
async def test_refusals_never_count(status: int) -> None:
    async with over([ONE]) as assembled:
        fan_out = assembled.fan_out
        assembled.doubles[0].server.on("*", Answer(status=status))
        for number in range(30):
            with contextlib.suppress(NotFound):
                await ids_of(fan_out)
            assert len(assembled.doubles[0].server.requests) == number + 1


async def test_callers_who_leave_never_count_and_let_the_next_one_ask() -> None:
    async with over([ONE], timeout_seconds=5) as assembled:
        double, fan_out = assembled.doubles[0], assembled.fan_out
        double.server.on("*", Answer(status=500))
        await fail_until_left_alone(assembled, fan_out)
        double.server.on("*", Answer(stall=True))
        assembled.clock.now += FIRST_PAUSE_SECONDS
        for number in range(FAILURES_IN_A_ROW + 1):
            asking = asyncio.ensure_future(ids_of(fan_out))
            await double.server.wait_for(FAILURES_IN_A_ROW + number + 1)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        double.server.on("*", double.answer)
        assert await ids_of(fan_out) == (["north"], [])


async def test_archive_that_cannot_draw_is_not_left_alone() -> None:
    held = [dataclasses.replace(ONE, instance=f"1.2.3.1.{n}") for n in range(8)]
    async with over(held) as assembled:
        double = assembled.doubles[0]
        for path in ("*/thumbnail", "*/rendered"):
            double.server.on(path, Answer(status=500))
        for one in held:
            target = Target(study_uid=one.study, series_uid=one.series, instance_uid=one.instance)
            await assembled.pictures.thumbnail(ANYONE, target, 64, 64, "image/png")
        assert (await assembled.archives.health(5))[0].problem is None


TURNS = 20
"""Of the event loop: too few for a word from anybody else."""


async def test_what_is_remembered_is_served_at_once_while_its_archive_hangs() -> None:
    async with over([ONE], timeout_seconds=0.1, stale_seconds=1e6) as assembled:
        double = assembled.doubles[0]
        await assembled.archives.record("1.2.3", Level.INSTANCE)
        double.server.on("*", Answer(stall=True))
        for _ in range(50):
            assembled.clock.now += 100
            asking = asyncio.ensure_future(assembled.archives.record("1.2.3", Level.INSTANCE))
            for _ in range(TURNS):
                await asyncio.sleep(0)
            assert asking.done()
            assert asking.result().silent == ()
            await asyncio.sleep(0.02)
