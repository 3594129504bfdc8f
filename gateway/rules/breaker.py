"""Whether an archive that failed again and again is asked: not for a while, then by one question.

Closed, everything is asked. It opens after five failures in a row, or when half of at least twenty
questions within ten seconds failed. Open, nothing is asked for five seconds, then one question;
an answer closes it, a failure opens it for twice as long, up to a minute. An archive that says when
to come back is left alone until then, up to a minute.
"""

from __future__ import annotations

import math
from typing import NamedTuple

FAILURES_IN_A_ROW = 5
WINDOW_SECONDS = 10
LEAST_IN_WINDOW = 20
FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 60.0
JITTER = 0.25
"""By how much of itself a pause is shortened at the most, so that replicas do not ask in step."""


class Ticket(NamedTuple):
    """The leave to ask one question, in one period between an opening and a closing."""

    period: int
    is_probe: bool


class _Second(NamedTuple):
    """How many questions came to their end in a second of the clock, and how many failed."""

    number: int
    ended: int
    failed: int


class Breaker(NamedTuple):
    """What is known of one archive. `now` is always a clock's seconds that never go back.

    `openings`: how often it opened since it was last closed; 0: it is closed.
    """

    period: int = 0
    in_a_row: int = 0
    seconds: tuple[_Second, ...] = ()
    openings: int = 0
    until: float = 0.0
    is_probed: bool = False

    @property
    def is_open(self) -> bool:
        """Whether the archive is left alone, but for one question in a while."""
        return self.openings > 0

    def admitted(self, now: float) -> tuple[Breaker, Ticket | None]:
        """The leave to ask now; None: it is not given. A ticket is given back, whatever happens."""
        if not self.is_open:
            return self, Ticket(period=self.period, is_probe=False)
        if self.is_probed or now < self.until:
            return self, None
        return self._replace(is_probed=True), Ticket(period=self.period, is_probe=True)

    def retry_after_seconds(self, now: float) -> int:
        """After how many whole seconds it is worth asking again."""
        return max(1, math.ceil(self.until - now))

    def answered(self, ticket: Ticket, now: float, times: int = 1) -> Breaker:
        """The archive answered, be it that there is nothing, or that the question is no good.

        `times`: so often within the second of `now`.
        """
        if ticket.period != self.period:
            return self
        if ticket.is_probe:
            return Breaker(period=self.period + 1)
        return Breaker(
            period=self.period,
            openings=self.openings,
            seconds=self._counted(now, ended=times, failed=0),
        )

    def failed(self, ticket: Ticket, now: float, jitter: float, told_seconds: float = 0) -> Breaker:
        """The archive did not answer, or told of a failure of its own. `jitter`: from 0 to 1.

        `told_seconds`: when it wants to be asked again (Retry-After, RFC 9110 §10.2.3).
        """
        if ticket.period != self.period:
            return self
        seconds = self._counted(now, ended=1, failed=1)
        more = self._replace(in_a_row=self.in_a_row + 1, seconds=seconds)
        is_opened = ticket.is_probe or more._is_too_much
        return more._opened(now, jitter, told_seconds) if is_opened else more

    def released(self, ticket: Ticket) -> Breaker:
        """It is not known how the archive fares: the question was not asked, or nobody waited."""
        is_mine = ticket.is_probe and ticket.period == self.period
        return self._replace(is_probed=False) if is_mine else self

    @property
    def _is_too_much(self) -> bool:
        ended = sum(second.ended for second in self.seconds)
        failed = sum(second.failed for second in self.seconds)
        is_half = ended >= LEAST_IN_WINDOW and 2 * failed >= ended
        return is_half or self.in_a_row >= FAILURES_IN_A_ROW

    def _opened(self, now: float, jitter: float, told_seconds: float) -> Breaker:
        pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(self.openings, 10))
        told = min(LONGEST_PAUSE_SECONDS, told_seconds)
        return Breaker(
            period=self.period + 1,
            openings=self.openings + 1,
            until=now + max(told, pause * (1 - JITTER * jitter)),
        )

    def _counted(self, now: float, ended: int, failed: int) -> tuple[_Second, ...]:
        """The seconds of the window with so many more, in whole seconds of the clock."""
        number = math.floor(now)
        if self.seconds and self.seconds[-1].number == number:
            last = self.seconds[-1]
            more = _Second(number, last.ended + ended, last.failed + failed)
            return (*self.seconds[:-1], more)
        kept = [s for s in self.seconds if number - WINDOW_SECONDS < s.number]
        return (*kept, _Second(number, ended, failed))
