"""When an archive is left alone, and when it is asked again."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from gateway.rules.breaker import (
    FAILURES_IN_A_ROW,
    FIRST_PAUSE_SECONDS,
    JITTER,
    LEAST_IN_WINDOW,
    LONGEST_PAUSE_SECONDS,
    WINDOW_SECONDS,
    Breaker,
    Ticket,
)


def asked(breaker: Breaker, now: float) -> tuple[Breaker, Ticket]:
    breaker, ticket = breaker.admitted(now)
    assert ticket is not None
    return breaker, ticket


def failing(breaker: Breaker, now: float, times: int = 1, jitter: float = 0) -> Breaker:
    for _ in range(times):
        breaker, ticket = asked(breaker, now)
        breaker = breaker.failed(ticket, now, jitter)
    return breaker


def answering(breaker: Breaker, now: float, times: int = 1) -> Breaker:
    for _ in range(times):
        breaker, ticket = asked(breaker, now)
        breaker = breaker.answered(ticket, now)
    return breaker


def test_it_opens_after_failures_in_a_row() -> None:
    breaker = failing(Breaker(), 0, FAILURES_IN_A_ROW - 1)
    assert not breaker.is_open
    assert not failing(answering(breaker, 0), 0, FAILURES_IN_A_ROW - 1).is_open
    assert failing(breaker, 0).is_open


def test_it_opens_when_half_of_many_fail() -> None:
    breaker = Breaker()
    for number in range(LEAST_IN_WINDOW - 2):
        breaker = answering(breaker, 0) if number % 2 else failing(breaker, 0)
    breaker = answering(breaker, 0)
    assert not breaker.is_open
    assert failing(breaker, 0).is_open


def test_failures_of_long_ago_do_not_count() -> None:
    breaker = Breaker()
    for number in range(LEAST_IN_WINDOW * 3):
        second = number * WINDOW_SECONDS / (LEAST_IN_WINDOW / 2)
        breaker = answering(breaker, second) if number % 2 else failing(breaker, second)
    assert not breaker.is_open
    assert len(breaker.seconds) <= WINDOW_SECONDS


def test_pauses_double_up_to_a_minute_and_start_anew_after_an_answer() -> None:
    breaker, now, pauses = failing(Breaker(), 0, FAILURES_IN_A_ROW), 0.0, []
    for _ in range(7):
        pauses.append(breaker.until - now)
        now = breaker.until
        breaker = failing(breaker, now)
    assert pauses == [5, 10, 20, 40, 60, 60, 60]
    breaker = answering(breaker, breaker.until)
    assert not breaker.is_open
    assert failing(breaker, 1000, FAILURES_IN_A_ROW).until == 1000 + FIRST_PAUSE_SECONDS


@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
def test_pauses_are_of_different_length(jitter: float) -> None:
    breaker = failing(Breaker(), 0, FAILURES_IN_A_ROW, jitter)
    assert breaker.until == FIRST_PAUSE_SECONDS * (1 - JITTER * jitter)


def test_question_that_was_asked_before_does_not_tell_of_now() -> None:
    breaker, early = asked(Breaker(), 0)
    opened = failing(breaker, 0, FAILURES_IN_A_ROW)
    assert opened.answered(early, 1) == opened
    assert opened.failed(early, 1, 0) == opened
    assert opened.released(early) == opened


class Asking(RuleBasedStateMachine):
    """Whatever is asked and comes of it, in any order, against a model that is simpler."""

    tickets = Bundle("tickets")

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker()
        self.now = 0.0
        self.since_closed: deque[tuple[float, bool]] = deque()
        self.probes = 0

    @rule(seconds=st.floats(0, 30))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=tickets)
    def ask(self) -> Ticket:
        was_open = self.breaker.is_open
        may = not was_open or (self.now >= self.breaker.until and not self.probes)
        self.breaker, ticket = self.breaker.admitted(self.now)
        assert (ticket is not None) == may
        if ticket is None:
            return Ticket(period=-1, is_probe=False)
        assert ticket.is_probe == was_open
        self.probes += ticket.is_probe
        return ticket

    @rule(ticket=consumes(tickets))
    def answer(self, ticket: Ticket) -> None:
        is_present = ticket.period == self.breaker.period
        self.breaker = self.breaker.answered(ticket, self.now)
        if is_present:
            self._after(ticket, is_failure=False)

    @rule(ticket=consumes(tickets), jitter=st.floats(0, 1))
    def fail(self, ticket: Ticket, jitter: float) -> None:
        is_present = ticket.period == self.breaker.period
        self.breaker = self.breaker.failed(ticket, self.now, jitter)
        if is_present:
            self._after(ticket, is_failure=True)

    @rule(ticket=consumes(tickets))
    def leave(self, ticket: Ticket) -> None:
        was = self.breaker
        self.breaker = was.released(ticket)
        if ticket.is_probe and ticket.period == was.period:
            self.probes = 0
        else:
            assert self.breaker == was

    def _after(self, ticket: Ticket, *, is_failure: bool) -> None:
        if ticket.is_probe:
            assert self.breaker.is_open == is_failure
            self.probes = 0
            self.since_closed.clear()
            return
        self.since_closed.append((self.now, is_failure))
        latest = list(self.since_closed)[-FAILURES_IN_A_ROW:]
        must = len(latest) == FAILURES_IN_A_ROW and all(failed for _, failed in latest)
        recent = [failed for at, failed in self.since_closed if at > self.now - WINDOW_SECONDS]
        may = must or (len(recent) >= LEAST_IN_WINDOW and 2 * sum(recent) >= len(recent))
        surely = [failed for at, failed in self.since_closed if at > self.now - WINDOW_SECONDS + 1]
        if must:
            assert self.breaker.is_open
        if self.breaker.is_open:
            assert may or len(surely) >= LEAST_IN_WINDOW / 2
            self.since_closed.clear()

    @invariant()
    def there_is_one_probe_at_the_most(self) -> None:
        assert self.probes <= 1
        assert self.breaker.is_probed == bool(self.probes)

    @invariant()
    def it_is_asked_again_within_a_minute(self) -> None:
        if self.breaker.is_open:
            assert self.breaker.until - self.now <= LONGEST_PAUSE_SECONDS
            assert self.breaker.retry_after_seconds(self.now) >= 1


TestAsking = Asking.TestCase


@pytest.mark.parametrize(("told", "pause"), [(0, 5), (3, 5), (30, 30), (3600, 60)])
def test_archive_that_says_when_to_come_back_is_left_alone_so_long(
    told: float, pause: float
) -> None:
    breaker = Breaker()
    for _ in range(FAILURES_IN_A_ROW):
        breaker, ticket = breaker.admitted(100)
        assert ticket is not None
        breaker = breaker.failed(ticket, 100, 0, told)
    assert breaker.until == 100 + pause
