"""Records loaded before anybody asks for them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from gateway import warming
from gateway.errors import BadRequest, Unavailable
from gateway.model import Level
from gateway.rules import qido
from gateway.rules.qido import Query
from gateway.warming import MOST_IN_A_ROW, PAGE_ROWS, Pace, State, Tally, warm
from tests.assembled import Assembled, over
from tests.doubles import Held
from tests.fault_archive import Answer

ALL = Query(level=Level.STUDY)
NOTHING_KEPT = State(None, "")


def held(number: int) -> Held:
    uid = f"1.2.{number}"
    return Held(study=uid, series=f"{uid}.1", instance=f"{uid}.1.1")


async def warmed(
    assembled: Assembled, query: Query = ALL, state: State = NOTHING_KEPT, rate: float = 0
) -> Tally:
    pace = Pace(per_second=rate)
    return await warm(assembled.catalog, query, pace, state, lambda tally: None)


async def test_what_was_warmed_is_not_asked_for_again() -> None:
    async with over(
        [held(n) for n in range(10)], [held(n) for n in range(5, 12)], absent_seconds=60
    ) as assembled:
        tally = await warmed(assembled)
        assert (tally.found, tally.loaded, tally.instances) == (12, 12, 12)
        asked = assembled.asked
        for number in range(12):
            await assembled.archives.record(f"1.2.{number}", Level.INSTANCE)
        assert assembled.asked == asked


async def test_all_pages_are_found() -> None:
    async with over([held(n) for n in range(2 * PAGE_ROWS + 7)]) as assembled:
        assert (await warmed(assembled)).loaded == 2 * PAGE_ROWS + 7


async def test_limit_and_keys_are_those_of_the_query() -> None:
    async with over([held(n) for n in range(10)]) as assembled:
        for text, count in ((("limit", "3"), 3), (("StudyInstanceUID", "1.2.4"), 1)):
            query = qido.parse(Level.STUDY, [text])
            assert (await warmed(assembled, query)).found == count


async def test_later_run_goes_on_where_the_first_was_ended(tmp_path: Path) -> None:
    path = tmp_path / "state"
    async with over([held(n) for n in range(10)]) as assembled:
        double = assembled.doubles[0]
        double.held = [held(n) for n in range(6)]
        assert (await warmed(assembled, state=State(path, "q"))).loaded == 6
        assert "1.2.3" not in path.read_text()
        double.held = [held(n) for n in range(10)]
        tally = await warmed(assembled, state=State(path, "q"))
        assert (tally.skipped, tally.loaded) == (6, 4)
    with pytest.raises(ValueError, match="another search"):
        State(path, "other")
    State(path, "q").remove()
    assert not path.exists()


async def test_study_of_a_silent_archive_is_tried_again_and_not_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warming, "LONGEST_PAUSE_SECONDS", 0.01)
    state = State(tmp_path / "state", "q")
    async with over([held(1)], [held(1)]) as assembled:
        assembled.doubles[1].server.on("*/series", Answer(status=500))
        tally = await warmed(assembled, state=state)
        assert (tally.loaded, tally.partial, tally.silent) == (0, 1, {"south"})
        assert not tally.is_whole
        assembled.doubles[1].server.on("*/series", assembled.doubles[1].answer)
        tally = await warmed(assembled, state=State(tmp_path / "state", "q"))
        assert (tally.loaded, tally.failed) == (1, 0)


async def test_search_that_fails_is_told() -> None:
    async with over([held(1)]) as assembled:
        assembled.doubles[0].server.on("*", Answer(status=500))
        with pytest.raises(Unavailable):
            await warmed(assembled)
        with pytest.raises(BadRequest):
            await warmed(assembled, qido.parse(Level.STUDY, [("StudyDate", "yesterday")]))


async def test_archives_are_asked_no_faster_than_wished_and_not_waited_for_at_the_end() -> None:
    async with over([held(n) for n in range(3)]) as assembled:
        started = time.monotonic()
        await warmed(assembled, rate=2)
        assert time.monotonic() - started >= 1
        started = time.monotonic()
        await warmed(assembled, qido.parse(Level.STUDY, [("limit", "1")]), rate=0.1)
        assert time.monotonic() - started < 5


async def test_archive_that_goes_down_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warming, "LONGEST_PAUSE_SECONDS", 0.01)
    path = tmp_path / "state"
    async with over([held(n) for n in range(50)]) as assembled:
        server = assembled.doubles[0].server

        def tell(tally: Tally) -> None:
            if tally.loaded == 7:
                server.on("*", Answer(status=503))

        pace = Pace(at_once=1)
        tally = await warm(assembled.catalog, ALL, pace, State(path, "q"), tell)
        assert (tally.loaded, tally.failed) == (7, MOST_IN_A_ROW)
        assert tally.is_given_up
        assert not tally.is_whole
        assert len(path.read_text().splitlines()) == 1 + 7


@pytest.mark.parametrize("dies", ["before", "after"])
async def test_what_other_archives_hold_is_loaded_though_one_is_dead(
    monkeypatch: pytest.MonkeyPatch, dies: str
) -> None:
    """Whether it died before the search, or after it: then nobody gives its own studies."""
    monkeypatch.setattr(warming, "LONGEST_PAUSE_SECONDS", 0.01)
    async with over(
        [held(n) for n in range(20)], [held(n) for n in range(15, 40)], absent_seconds=60
    ) as assembled:
        server = assembled.doubles[0].server

        def die() -> None:
            server.on("*", Answer(status=500))

        if dies == "before":
            die()
        pace = Pace(at_once=1)
        tally = await warm(assembled.catalog, ALL, pace, NOTHING_KEPT, lambda tally: die())
        lost = 0 if dies == "before" else 15
        assert (tally.partial, tally.failed, tally.loaded) == (25, lost, 0)
        assert (tally.silent, tally.is_given_up, tally.is_whole) == ({"north"}, False, False)
        asked = len(assembled.doubles[1].server.requests)
        for number in range(15, 40):
            loaded = await assembled.archives.record(f"1.2.{number}", Level.INSTANCE)
            assert loaded.silent == ("north",)
        assert len(assembled.doubles[1].server.requests) == asked


async def test_what_was_lost_since_is_loaded_again(tmp_path: Path) -> None:
    """The file of an earlier run outlives what that run loaded."""
    path = tmp_path / "state"
    async with over([held(n) for n in range(6)]) as assembled:
        assert (await warmed(assembled, state=State(path, "q"))).loaded == 6
        for number in (2, 3):
            await assembled.archives.forget(f"1.2.{number}")
        tally = await warmed(assembled, state=State(path, "q"))
        assert (tally.skipped, tally.loaded) == (4, 2)


async def test_study_that_fails_among_others_does_not_end_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(warming, "LONGEST_PAUSE_SECONDS", 0.01)
    async with over([held(n) for n in range(30)]) as assembled:
        for number in range(0, 30, 3):
            assembled.doubles[0].server.on(f"/studies/1.2.{number}/*", Answer(body=b"no JSON"))
        tally = await warm(
            assembled.catalog, ALL, Pace(at_once=1), NOTHING_KEPT, lambda tally: None
        )
        assert (tally.loaded, tally.failed, tally.is_given_up) == (20, 10, False)
