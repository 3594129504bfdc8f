"""How archives fared; most of it is in `test_fan_out`, over real servers."""

from __future__ import annotations

import contextvars
from dataclasses import dataclass

import pytest

from gateway.adapters.budgets import COST, Cost
from gateway.adapters.questions import ONE_BY_ONE
from gateway.errors import ArchiveBusy, ArchiveError, ArchiveTimeout, ArchiveUnreachable, NotFound
from gateway.faring import AILING_SECONDS, Faring
from gateway.rules.breaker import FAILURES_IN_A_ROW, FIRST_PAUSE_SECONDS
from tests.assembled import Clock


@dataclass
class North:
    id: str = "north"


def fail(faring: Faring, error: Exception) -> None:
    with pytest.raises(type(error)), faring.heard(North()):
        raise error


@pytest.mark.parametrize("kind", [ArchiveTimeout, ArchiveUnreachable])
def test_exactly_one_question_is_let_through_after_the_pause(kind: type[ArchiveError]) -> None:
    clock = Clock()
    faring = Faring(["north"], clock, lambda: 0.0)
    for _ in range(FAILURES_IN_A_ROW):
        fail(faring, kind("no answer", archive="north"))
    with pytest.raises(ArchiveBusy), faring.heard(North()):
        pass
    clock.now += FIRST_PAUSE_SECONDS
    with faring.heard(North()):
        for _ in range(100):
            with pytest.raises(ArchiveBusy), faring.heard(North()):
                pass
    with faring.heard(North()), faring.heard(North()):
        pass


def test_an_archive_that_failed_is_asked_one_thing_after_the_other_until_it_answers() -> None:
    clock = Clock()
    faring = Faring(["north"], clock, lambda: 0.0)

    def is_one_by_one() -> bool:
        with faring.heard(North()):
            return ONE_BY_ONE.get()

    assert not is_one_by_one()
    for _ in range(FAILURES_IN_A_ROW):
        fail(faring, ArchiveTimeout("no answer", archive="north"))
    clock.now += FIRST_PAUSE_SECONDS
    assert is_one_by_one()
    assert not is_one_by_one()
    fail(faring, ArchiveTimeout("no answer", archive="north"))
    assert is_one_by_one()
    assert not ONE_BY_ONE.get()


def test_one_who_leaves_tells_nothing_and_the_next_one_may_ask() -> None:
    clock = Clock()
    faring = Faring(["north"], clock, lambda: 0.0)
    for _ in range(100):
        fail(faring, KeyError("of our own"))
    for _ in range(FAILURES_IN_A_ROW):
        fail(faring, ArchiveTimeout("no answer", archive="north"))
    clock.now += FIRST_PAUSE_SECONDS
    for _ in range(10):
        fail(faring, KeyError("of our own"))
    with faring.heard(North()):
        pass


def test_an_archive_that_was_late_is_not_waited_for_again_in_the_same_request() -> None:
    faring = Faring(["north"], Clock(), lambda: 0.0)

    def asked() -> str:
        with faring.heard_in_time(North()):
            raise ArchiveTimeout("no answer in time", archive="north")

    def in_a_request() -> None:
        COST.set(Cost())
        for reason in ("no answer in time", "it was late just now", "it was late just now"):
            with pytest.raises(ArchiveTimeout, match=reason):
                asked()
        fail(faring, NotFound("objects are asked for all the same"))

    for _ in range(2):
        contextvars.copy_context().run(in_a_request)
    with pytest.raises(ArchiveTimeout, match="no answer in time"):
        asked()


def test_absence_is_an_answer_and_failure_is_remembered_for_a_while() -> None:
    clock = Clock()
    faring = Faring(["north"], clock, lambda: 0.0)
    assert not faring.is_well("north", 5)
    fail(faring, NotFound("no such study"))
    assert faring.is_well("north", 5)
    fail(faring, ArchiveTimeout("no answer", archive="north"))
    assert not faring.is_well("north", 5)
    assert faring.is_ailing("north")
    clock.now += AILING_SECONDS
    assert not faring.is_ailing("north")


def test_only_one_that_fares_well_may_be_asked_ahead() -> None:
    clock = Clock()
    faring = Faring(["north"], clock, lambda: 0.0)
    leave = faring.leave_to_ask("north")
    assert leave is not None
    fail(faring, ArchiveTimeout("no answer", archive="north"))
    assert faring.leave_to_ask("north") is None
    faring.answered_ahead("north", leave)
    assert faring.leave_to_ask("north") is not None
    assert faring.is_well("north", 1)


def test_an_answer_from_before_does_not_end_the_time_it_is_left_alone() -> None:
    faring = Faring(["north"], Clock(), lambda: 0.0)
    leave = faring.leave_to_ask("north")
    assert leave is not None
    for _ in range(FAILURES_IN_A_ROW):
        fail(faring, ArchiveTimeout("no answer", archive="north"))
    faring.answered_ahead("north", leave)
    assert faring.leave_to_ask("north") is None
    with pytest.raises(ArchiveBusy), faring.heard(North()):
        pass


def test_answers_to_what_was_asked_ahead_count_as_much_as_others() -> None:
    faring = Faring(["north"], Clock(), lambda: 0.0)
    leave = faring.leave_to_ask("north")
    assert leave is not None
    for outcome in "ffff....ffff....fff":
        if outcome == ".":
            faring.answered_ahead("north", leave)
        else:
            fail(faring, ArchiveTimeout("no answer", archive="north"))
    assert not faring._breakers["north"].is_open
    fail(faring, ArchiveTimeout("no answer", archive="north"))
    assert faring._breakers["north"].is_open  # by half of twenty


def test_each_second_of_answers_to_what_was_asked_ahead_is_counted_by_itself() -> None:
    clock = Clock()
    faring = Faring(["north"], clock, lambda: 0.0)
    leave = faring.leave_to_ask("north")
    assert leave is not None
    for _ in range(3):
        for _ in range(10):
            faring.answered_ahead("north", leave)
        clock.now += 1
    assert faring.is_well("north", 1.5)
    assert not faring.is_well("north", 0.5)
    assert [(s.ended, s.failed) for s in faring._breakers["north"].seconds] == [(10, 0)] * 3
