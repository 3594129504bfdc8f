"""How archives fared of late: who is asked last for what others hold too, and who not at all."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import Token
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple, Protocol

import structlog

from gateway.adapters.budgets import COST
from gateway.adapters.questions import ONE_BY_ONE
from gateway.errors import (
    ArchiveBusy,
    ArchiveError,
    ArchiveRefused,
    ArchiveTimeout,
    ArchiveUnreachable,
    NotAcceptable,
    NotFound,
)
from gateway.rules.breaker import Breaker, Ticket

AILING_SECONDS = 30
"""How long an archive that failed is the last one to be asked for what others hold too."""
_TELLING = (ArchiveError, NotFound, NotAcceptable)
"""The errors that an archive's answer, or its silence, becomes."""
_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Named(Protocol):
    """What has the id of an archive."""

    id: str


class _Heard(NamedTuple):
    """When an archive was last heard of, and whether it had failed."""

    at: float
    is_failure: bool


@dataclass(slots=True)
class _Streak:
    """Answers to questions that were asked ahead in one second, not told to the breaker yet."""

    leave: Ticket
    at: float = 0.0
    count: int = 0


class Faring:
    """How each of some archives fared, in this process."""

    def __init__(
        self,
        ids: Iterable[str],
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._clock = clock
        self._jitter = jitter
        self._heard: dict[str, _Heard] = {}
        self._breakers = dict.fromkeys(ids, Breaker())
        self._streaks: dict[str, _Streak] = {}

    def is_well(self, archive: str, seconds: float) -> bool:
        """Whether the archive answered within the last `seconds`."""
        self._end_streak(archive)
        heard = self._heard.get(archive)
        return heard is not None and not heard.is_failure and self._clock() - heard.at < seconds

    def is_ailing(self, archive: str) -> bool:
        """Whether it failed a short while ago, or is left alone."""
        self._end_streak(archive)
        if self._breakers[archive].is_open:
            return True
        heard = self._heard.get(archive)
        if heard is None or not heard.is_failure:
            return False
        return self._clock() - heard.at < AILING_SECONDS

    def is_doubted(self, archive: str) -> bool:
        """Whether it failed at the last question, or is left alone."""
        breaker = self._breakers[archive]
        return breaker.is_open or breaker.in_a_row > 0

    def heard(self, archive: Named) -> AbstractContextManager[None]:
        """Around a question to the archive itself: notes whether it answered or failed.

        ArchiveBusy at once where the archive failed again and again just now (`rules.breaker`). One
        that failed at the last question is asked `ONE_BY_ONE`, so that no more than one request
        finds out whether it is back.
        """
        return _Question(self, archive.id)

    @contextmanager
    def heard_in_time(self, archive: Named) -> Iterator[None]:
        """The same for what is asked to find something out.

        ArchiveTimeout at once where the archive has let its time pass over this very request: who
        waits has waited once.
        """
        cost = COST.get()
        if cost is not None and archive.id in cost.late:
            raise ArchiveTimeout("it was late just now", archive=archive.id)
        try:
            with self.heard(archive):
                yield
        except ArchiveTimeout:
            if cost is not None:
                cost.late |= {archive.id}
            raise

    def leave_to_ask(self, archive: str) -> Ticket | None:
        """The leave to ask an archive that fares well; None: it does not."""
        streak = self._streaks.get(archive)
        if streak is not None:  # it was an answer that was heard last
            return streak.leave
        if self.is_ailing(archive):
            return None
        return Ticket(period=self._breakers[archive].period, is_probe=False)

    def answered_ahead(self, archive: str, ticket: Ticket) -> None:
        """A question for which leave was given came to its end, by an answer.

        That neither opens nor closes anything.
        """
        now = self._clock()
        streak = self._streaks.get(archive)
        if streak is None or streak.leave != ticket or int(streak.at) != int(now):
            self._end_streak(archive)
            if ticket.period != self._breakers[archive].period or self._breakers[archive].is_open:
                self._heard[archive] = _Heard(at=now, is_failure=False)
                return
            streak = self._streaks[archive] = _Streak(ticket)
        streak.at = now
        streak.count += 1

    def _end_streak(self, archive: str) -> None:
        """Tells the breaker what was counted, before it is told anything else."""
        streak = self._streaks.pop(archive, None)
        if streak is None:
            return
        self._heard[archive] = _Heard(at=streak.at, is_failure=False)
        before = self._breakers[archive]
        self._breakers[archive] = before.answered(streak.leave, streak.at, streak.count)

    def admitted(self, archive: str) -> Ticket:
        """The leave to ask an archive; ArchiveBusy where it is left alone."""
        now = self._clock()
        self._end_streak(archive)
        self._breakers[archive], ticket = self._breakers[archive].admitted(now)
        if ticket is not None:
            return ticket
        busy = ArchiveBusy("it is left alone for a while, since it failed", archive=archive)
        busy.retry_after_seconds = self._breakers[archive].retry_after_seconds(now)
        raise busy

    def ended(self, archive: str, ticket: Ticket, error: BaseException | None) -> None:
        """A question came to its end, by an answer or by an error."""
        self._end_streak(archive)
        before, now = self._breakers[archive], self._clock()
        has_answered = _has_answered(error)
        if error is None or isinstance(error, _TELLING):
            is_failure = isinstance(error, ArchiveError)
            self._heard[archive] = _Heard(at=now, is_failure=is_failure)
        if has_answered is None:
            after = before.released(ticket)
        elif has_answered:
            after = before.answered(ticket, now)
        else:
            after = before.failed(ticket, now, self._jitter(), _told_seconds(error))
        self._breakers[archive] = after
        if after.is_open and after.period != before.period:
            seconds = after.retry_after_seconds(now)
            _log.warning("archive left alone", archive=archive, seconds=seconds)
        elif before.is_open and not after.is_open:
            _log.info("archive answers again", archive=archive)


class _Question(AbstractContextManager[None]):
    """A question to an archive itself, from its leave to its end."""

    __slots__ = ("_archive", "_of", "_one_by_one", "_ticket")

    def __init__(self, of: Faring, archive: str) -> None:
        self._of = of
        self._archive = archive
        self._one_by_one: Token[bool] | None = None

    def __enter__(self) -> None:
        self._ticket = self._of.admitted(self._archive)
        if self._of.is_doubted(self._archive):
            self._one_by_one = ONE_BY_ONE.set(True)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._one_by_one is not None:
            ONE_BY_ONE.reset(self._one_by_one)
        self._of.ended(self._archive, self._ticket, error)


def _has_answered(error: BaseException | None) -> bool | None:
    """Whether an archive that gave this error, or none, is alive; None where that is not known.

    Where the error is of our own making, or nobody waited for the end. 4xx is an answer, and so is
    what cannot be understood; 501 tells of what it cannot do.
    """
    if error is None:
        return True
    if not isinstance(error, _TELLING):
        return None
    if isinstance(error, ArchiveTimeout | ArchiveUnreachable):
        return False
    answered = error.answered if isinstance(error, ArchiveError) else None
    if answered is None and isinstance(error, ArchiveBusy | ArchiveRefused):
        return None
    return answered is None or answered < 500 or answered == 501


def _told_seconds(error: BaseException | None) -> float:
    """When an archive wants to be asked again, by its own answer; 0: it does not say."""
    if not isinstance(error, ArchiveBusy) or error.answered is None:
        return 0
    return error.retry_after_seconds or 0
