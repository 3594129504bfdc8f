"""Archives asked at once: their answers, their silence, and who is asked first."""

from __future__ import annotations

import asyncio

import pytest

from gateway.errors import ArchiveTimeout, ArchiveUnreachable, NoAnswerInTime, Unavailable
from gateway.fan_out import (
    AILING_SECONDS,
    LATE_IN_A_ROW,
    PAUSE_SECONDS,
    Archive,
    FanOut,
    unavailable,
)
from gateway.model import Level
from gateway.rules.qido import Query
from tests.assembled import over
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
            await asyncio.wait_for(double.server.requests[0].ended.wait(), 1)


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


async def test_archive_that_is_late_again_and_again_is_not_waited_for_by_everyone() -> None:
    async with over([ONE], timeout_seconds=0.1) as assembled:
        double, fan_out, clock = assembled.doubles[0], assembled.fan_out, assembled.clock
        double.server.on("*", Answer(stall=True))
        for _ in range(5):
            await ids_of(fan_out)
        seen = len(double.server.requests)
        assert seen == LATE_IN_A_ROW
        clock.now += PAUSE_SECONDS + 1
        for _ in range(3):
            await ids_of(fan_out)
        assert len(double.server.requests) == seen + 1
